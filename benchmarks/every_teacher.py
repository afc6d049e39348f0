"""Every model of docs/guide/teachers.md, and ten more drawn from timm, made smaller to 70 % of their multiply-adds.

``python -m benchmarks.every_teacher [MODEL ...] [--drawn] [--seconds 300] [--opset 18]`` (without models all of the
page, then the ten): random weights, few images, few ratios; each model in a process of its own. Of each: a library is
built, the best student within the limit assembled, saved, loaded (bit for bit), exported with parity, trained for one
step. Records go to ``results/every_teacher.json``, what fails with its reason, and into the page's column *70 %*.
"""

import argparse
import itertools
import json
import multiprocessing
import random
import re
import tempfile
import textwrap
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.identity import CLASSES, GUIDE, fill_cells, make, rows
from benchmarks.texts import fill
from distilnas.errors import DistilnasError, InfeasibleError
from distilnas.export.onnx import export_onnx
from distilnas.networks import load_student, save_student
from distilnas.solve import Limit
from distilnas.surgery.assemble import assemble
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import chain_of, ends_of, run
from distilnas.surgery.choose import Chosen, best_choices
from distilnas.surgery.library import Trunk
from distilnas.surgery.stored import load_library, save_library
from distilnas.surgery.students import parent_of, student_net
from distilnas.teachers.units import propose_units

RESULTS = Path(__file__).parent / "results" / "every_teacher.json"
SHARE, RATIOS, SEED, MORE = 0.7, (1.0, 0.5), 0, 10
_TOKENS = "### Tokens and channels-last maps"
_LETTERS = 60  # of a reason in the table
_SIDES = (64, 96, 128, 224)
VERSIONS = {name: metadata.version(name) for name in ("torch", "timm", "torch-pruning", "onnx", "onnxruntime")}
Row = tuple[str, int, dict[str, Any]]


def check(model: str, pixels: int, arguments: dict[str, Any], opset: int) -> dict[str, Any]:
    """What came of one model; raises where a step fails."""
    shape = (3, pixels, pixels)
    teacher = settled(make(model, arguments), images(16, pixels, seed=0))
    calibration, held_out = ([images(8, pixels, seed) for seed in seeds] for seeds in ((1, 2), (3, 4)))
    units = chain_of(teacher, ends_of(propose_units(teacher, pixels)), shape)
    library = build_library(units, calibration, held_out, ratios=RATIOS)
    trunks = library.trunks()
    whole = int(sum(block.cells[0].costs["macs"][0][0] for block in trunks[0].problem.blocks))
    best = best_within(trunks, Limit(cost="macs", max=int(SHARE * whole)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_library(folder / "library.npz", library)
        again = load_library(folder / "library.npz", units)
        parent = parent_of(units, shape, model=model, num_classes=CLASSES, model_kwargs=arguments)
        student = student_net(parent, assemble(again, best.choice, calibration))
        save_student(folder, student, classes=(), preprocessing={"resolution": pixels})
        loaded = load_student(folder)
        with torch.no_grad():
            same = torch.equal(loaded(held_out[0]), student(held_out[0]))
        parity = export_onnx(loaded, folder / "model.onnx", held_out[0][:4], opset=opset).relative_difference
    loss = one_step(loaded, [unit.module for unit in units], calibration[0])
    groups = [group for unit in units for group in unit.groups]
    return {
        "units": len(units),
        "groups": len(groups),
        "heads": sum(bool(group.counts) for group in groups),
        "branches": sum(group.branch is not None for group in groups),
        "macs": round(best.solution.costs["macs"] / whole, 3),
        "early": best.choice.early,
        "loaded": same,
        "parity": parity,
        "step": loss,
    }


@torch.no_grad()
def settled(network: nn.Module, x: Tensor) -> nn.Module:
    """``network`` with the statistics of ``x`` in its batch norms: with random weights maps may grow without end."""
    norms = [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    network(x)
    return network.eval()


def best_within(trunks: Sequence[Trunk], limit: Limit) -> Chosen:
    """The best whole student within ``limit``, or one with an early end where no whole one is."""
    with suppress(InfeasibleError):
        return best_choices(trunks[:1], [limit])[0]
    return best_choices(trunks, [limit])[0]


def one_step(student: nn.Module, teacher: list[nn.Module], x: Tensor) -> float:
    """The divergence's change by one small step of distillation."""
    with torch.no_grad():
        target = functional.softmax(run(teacher, x), 1)
    student.train()
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-4)
    loss = functional.cross_entropy(student(x), target)
    loss.backward()
    optimizer.step()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in student.parameters()), (
        "gradients are no numbers"
    )
    return round(loss.item(), 4)


def images(number: int, size: int, seed: int) -> Tensor:
    """Smooth random images."""
    coarse = torch.randn(number, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(coarse, size, mode="bicubic")


def drawn() -> Iterator[Row]:
    """The smallest of a few models of each of ten families of which the page has none, drawn with a fixed seed."""
    known = {_family(model) for model, _, _ in rows(GUIDE.read_text(encoding="utf-8"))}
    draw = random.Random(SEED)
    others = sorted({_family(model) for model in timm.list_models()} - known)
    number = 0
    for family in draw.sample(others, len(others)):
        names = timm.list_models(module=family)
        smallest = min(draw.sample(names, min(6, len(names))), key=_parameters)
        ours = not timm.models.model_entrypoint(smallest).__module__.startswith("timm.")
        if number < MORE and not ours and (row := _fitted(smallest)) is not None:
            number += 1
            yield row


def _family(model: str) -> str:
    return timm.models.model_entrypoint(model).__module__.rpartition(".")[2]


def _parameters(model: str) -> int:
    with torch.device("meta"):
        try:
            return sum(p.numel() for p in timm.create_model(model).parameters())
        except Exception:  # constructors that ask for values
            return 2**40


def _fitted(model: str) -> Row | None:
    """With the smallest side that its constructor or its forward takes."""
    for arguments in ({"img_size": side} for side in _SIDES):
        try:
            network = timm.create_model(model, **arguments).eval()
            network(torch.zeros(1, 3, arguments["img_size"], arguments["img_size"]))
            return model, arguments["img_size"], arguments
        except Exception:
            continue
    for side in _SIDES:
        try:
            timm.create_model(model).eval()(torch.zeros(1, 3, side, side))
            return model, side, {}
        except Exception:
            continue
    return None


def one(row: Row, seconds: int, opset: int) -> dict[str, Any]:
    """``check`` in a process of its own."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=_tell, args=(there, row, opset))
    begun = time.monotonic()
    process.start()
    there.close()
    try:
        found = here.recv() if here.poll(seconds) else {"failure": f"not done in {seconds} s"}
    except EOFError:
        found = {"failure": "its process ended"}
    process.kill()
    process.join()
    record = {"model": row[0], "pixels": row[1], "arguments": row[2], **found}
    return record | {"seconds": round(time.monotonic() - begun), "versions": VERSIONS}


def _tell(end: Connection, row: Row, opset: int) -> None:
    try:
        end.send(check(*row, opset))
    except Exception as error:  # whatever a network's code holds
        if not isinstance(error, DistilnasError):
            traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        kind = "" if isinstance(error, DistilnasError) else f"{type(error).__name__}: "
        end.send({"failure": f"{kind}{lines[0][:300]}"})


def _cell(record: dict[str, Any]) -> str:
    """The share reached, or the reason in a few words."""
    if "failure" in record:
        return "no: " + textwrap.shorten(re.split("[:.,]", record["failure"])[0], _LETTERS, placeholder=" ...")
    return f"{100 * record['macs']:.0f} %{' (early end)' if record['early'] else ''}"


def summary(records: Sequence[dict[str, Any]]) -> str:
    """How many of the page's two tables, and of the models drawn, came through."""
    text = GUIDE.read_text(encoding="utf-8")
    maps, tokens = ({model for model, _, _ in rows(part)} for part in text.split(_TOKENS))
    some = {record["model"]: record for record in records}

    def told(models: set[str]) -> str:
        tried = models & some.keys()
        early = sum(some[model].get("early", False) for model in tried)
        passed = sum("failure" not in some[model] for model in tried)
        counts = {"of them by an early end": early, "not tried": len(models - tried)}
        notes = ", ".join(f"{number} {words}" for words, number in counts.items() if number)
        return f"{passed} of {len(models)}{f' ({notes})' if notes else ''}"

    others = [record for record in records if record["model"] not in maps | tokens]
    names = ", ".join(f"`{record['model']}` {_cell(record)}" for record in others)
    passed = sum("failure" not in record for record in others)
    untried = f" ({MORE - len(others)} not tried)" if len(others) < MORE else ""
    return (
        f"Through all steps came {told(maps)} models of the first table, most of them convolutional, "
        f"{told(tokens)} of the second, most of them transformers, and "
        f"{passed} of {MORE}{untried} more, of families drawn from timm ({names or 'none yet'})."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*")
    parser.add_argument("--drawn", action="store_true", help="only the ten that are drawn")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--opset", type=int, default=18)
    args = parser.parse_args()
    torch.set_num_threads(1)
    page = [] if args.drawn else rows(GUIDE.read_text(encoding="utf-8"))
    every = itertools.chain(page, drawn())
    chosen = (row for row in every if not args.models or row[0] in args.models)
    records = {record["model"]: record for record in (json.loads(RESULTS.read_text()) if RESULTS.exists() else [])}
    for row in itertools.islice(chosen, len(args.models) or None):
        records[row[0]] = one(row, args.seconds, args.opset)
        print(json.dumps(records[row[0]]), flush=True)
        RESULTS.write_text("[\n" + ",\n".join(json.dumps(record) for record in records.values()) + "\n]\n")
    fill_cells({model: [_cell(record)] for model, record in records.items()}, at=12)
    fill(GUIDE, {"at 70 %": summary(list(records.values()))})


if __name__ == "__main__":
    main()
