"""The transformer of ``benchmarks.transformer_teacher`` made smaller, beside what anybody would try first.

``TIMM_FUSED_ATTN=0 python -m benchmarks.shrink_transformer DATA WEIGHTS OUT.json [--shares 60,40,25] [--epochs 0.4]``:
DATA is an image folder with train and test. Every arm is recovered by the product's own distillation with the same
images and learning rate; students that OUT has are not made again. Arms: *ours* (the choice in closed form), *depth*
(layers left out, the last of each block in turn, while more than the limit is left, then as *width*), *width* (heads
and hidden units of all layers thinner by one share, least magnitude first); the last two are not repaired.
"""

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks.rivals import free_units, least_cut, thin
from benchmarks.transformer_teacher import ARGUMENTS, MODEL
from distilnas.costing.measures import MEASURES, Part
from distilnas.data import ImageSet, Preprocessing, eval_transform, make_loader, make_splits, read_image_data
from distilnas.recovery import Lesson, RecoverySettings, recover
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.solve import Limit
from distilnas.surgery.alternatives import on_paper
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import chain_of, ends_of
from distilnas.surgery.choose import Assembled, best_choices, choose, different_choices, measure
from distilnas.surgery.library import Library
from distilnas.surgery.students import parent_of, student_net
from distilnas.teachers.units import propose_units

ARMS = ("ours", "depth", "width")
SIDE, RATE = 32, 1e-3
_STEPS = 100  # of the share that is cut
PRE = Preprocessing(resolution=SIDE, mean=(0.5,) * 3, std=(0.5,) * 3)
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shares", default="60,40,25")
    parser.add_argument("--epochs", type=float, default=0.4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = read_image_data(args.data)
    splits = make_splits(data.train, data.test, test_fraction=0.2, validation=500, rating_images=256, seed=0)
    model = timm.create_model(MODEL, num_classes=len(splits.train.classes), **ARGUMENTS)
    model.load_state_dict(load_file(args.weights))
    calibration, _ = tensors(splits.train.subset(np.arange(0, len(splits.train), len(splits.train) // 750)[:750]))
    held_out, labels = tensors(splits.rating)
    test, truth = tensors(splits.test)
    begun = time.process_time()
    units = chain_of(model, ends_of(propose_units(model, SIDE)), (3, SIDE, SIDE))
    library = build_library(units, calibration, held_out, linear=True)
    trunks = library.trunks()
    teacher = on_paper(trunks[0], library.whole())
    assert teacher is not None
    whole = {name: int(value) for name, value in teacher.solution.costs.items()}
    students = json.loads(args.out.read_text())["students"] if args.out.exists() else []
    record: Row = {
        "seconds_library": round(time.process_time() - begun, 1),
        "teacher": dict(whole),
        "students": students,
    }
    record["teacher"]["top1"] = measure(library, [unit.module for unit in units], test, truth).top1
    print(json.dumps(record), flush=True)
    for share in map(float, args.shares.split(",")):
        limit = int(share / 100 * whole["macs"])
        for name in ARMS:
            if any((row["share"], row["arm"]) == (share, name) for row in record["students"]):
                continue
            row = {"share": share, "arm": name}
            if name == "ours":
                best, seconds = ours(library, limit, calibration, held_out, labels)
                modules = best.modules
                row |= {"kept": best.chosen.choice.kept, "seconds": seconds, "held_out": best.measured.top1}
            else:
                modules = depth(library, limit) if name == "depth" else thinner(library, limit)
            row |= {"macs": macs_of(library, modules), "before": measure(library, modules, test, truth).top1}
            student = student_net(parent_of(units, (3, SIDE, SIDE), model=MODEL, num_classes=10), modules)
            begun = time.process_time()
            recovered = recovery(model, student, splits.train, splits.validation, args.epochs)
            row |= {"after": top1(recovered, test, truth), "seconds_recovery": round(time.process_time() - begun, 1)}
            record["students"].append(row)
            print(json.dumps(row), flush=True)
            args.out.write_text(json.dumps(record, indent=1) + "\n")


def ours(
    library: Library, limit: int, calibration: list[torch.Tensor], held_out: list[torch.Tensor], labels: torch.Tensor
) -> tuple[Assembled, float]:
    """The better of two solutions, as they measure on ``held_out``, and the seconds that took."""
    begun, limits = time.process_time(), [Limit(cost="macs", max=limit)]
    trunks = library.trunks()
    found = [*best_choices(trunks, limits), *different_choices(trunks, limits, 2, 2)[1:]]
    best = choose(library, found, calibration[:2], held_out, labels)[0]
    best = choose(library, [best.chosen], calibration, held_out, labels)[0]
    return best, round(time.process_time() - begun, 1)


def tensors(images: ImageSet) -> tuple[list[torch.Tensor], torch.Tensor]:
    loader = make_loader(
        images, eval_transform(PRE), batch_size=125, seed=0, epoch=0, shuffle=False, drop_last=False, workers=0
    )
    found = list(loader)
    return [x for x, _ in found], torch.cat([y for _, y in found])


def macs_of(library: Library, modules: list[nn.Module]) -> int:
    pairs = zip(modules, library.units, strict=False)
    return int(sum(MEASURES["macs"](Part(module, unit.in_shape)) for module, unit in pairs))


def thinner(library: Library, limit: int, out: frozenset[int] = frozenset()) -> list[nn.Module]:
    """Heads and hidden units fewer by the least share that keeps the limit, without the units ``out``."""
    return least_cut(
        lambda share: thin(library, share, out, multiple=1),
        lambda modules: macs_of(library, modules) <= limit,
        _STEPS,
    )


def depth(library: Library, limit: int) -> list[nn.Module]:
    """Layers left out one by one, the last of each block in turn, while more than the limit is left; then ``thin``."""
    free = [reversed(block) for block in free_units(library)]
    turns = [i for one in itertools.zip_longest(*free) for i in one if i is not None]
    out: frozenset[int] = frozenset()
    for i in turns:
        if macs_of(library, thin(library, 0.0, out | {i})) < limit:
            break
        out |= {i}
    return thinner(library, limit, out)


def recovery(
    teacher: nn.Module, student: nn.Module, images: ImageSet, validation: ImageSet, epochs: float
) -> nn.Module:
    with tempfile.TemporaryDirectory() as folder:
        lesson = Lesson(
            teacher=teacher,
            images=images,
            validation=validation,
            preprocessing=PRE,
            device=Device("cpu"),
            seed=0,
            checkpoint=Path(folder) / "checkpoint.safetensors",
            progress=SilentProgress(),
        )
        return recover(student, lesson, RecoverySettings(epochs=epochs).at(RATE)).model


@torch.no_grad()
def top1(model: nn.Module, batches: list[torch.Tensor], labels: torch.Tensor) -> float:
    logits = torch.cat([model(x) for x in batches])
    return 100 * float((logits.argmax(1) == labels).double().mean())


if __name__ == "__main__":
    main()
