"""The identity table of docs/guide/teachers.md: of every teacher there, all blocks kept, cut out and put in a row.

``python -m benchmarks.identity [MODEL ...]`` fills the page's columns *kept* and *units* (of the models named, or of
all). *kept* is about the page's blocks, *units* about the fine partition for making a network smaller. A network passes
if, with random weights, the chain of its kept blocks gives its output bit for bit on two inputs, has its parameters,
multiply-adds and bytes of weights, and is the same again after saving and loading.
"""

import ast
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from distilnas.costing.counters import count
from distilnas.errors import UsageError
from distilnas.networks import ChainNet, load_student, save_student
from distilnas.networks.parent import Parent
from distilnas.teachers import Partition, propose
from distilnas.teachers.units import propose_units

GUIDE = Path(__file__).parents[1] / "docs/guide/teachers.md"
_ROW = re.compile(r"^\| [^|]+ \| `(?P<model>\w+)` \| (?P<pixels>\d+) \| (?P<arguments>[^|]*) \|.*\|$", re.MULTILINE)
CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``blocks`` and ``units`` of a partition, and the first ``failure`` of its chain of kept blocks, "" if none."""

    blocks: int = 0
    units: int = 0
    failure: str = ""


def make(model: str, arguments: dict[str, Any]) -> nn.Module:
    """timm's ``model`` in eval mode with random weights; what starts at zero is random too, so that all counts."""
    torch.manual_seed(0)
    network = timm.create_model(model, num_classes=CLASSES, **arguments).eval()
    for parameter in network.parameters():
        if parameter.abs().max() < 1e-4:
            nn.init.normal_(parameter, std=0.1)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(buffer, std=0.01)
    return network


def check_kept(network: nn.Module, model: str, arguments: dict[str, Any], partition: Partition) -> str:
    """What is not as in ``network``, timm's ``model``, when its blocks of ``partition`` are put in a row, or ""."""
    parent = Parent(
        model=model,
        model_kwargs=arguments,
        num_classes=CLASSES,
        image_shape=partition.image_shape,
        borders=partition.borders,
    )
    try:
        chain = ChainNet.kept(parent, network)
        with tempfile.TemporaryDirectory() as folder:
            save_student(Path(folder), chain, classes=(), preprocessing={"resolution": partition.image_shape[1]})
            loaded = load_student(folder)
    except UsageError as error:
        return str(error)
    for batch in (1, 2):
        images = torch.randn(batch, *partition.image_shape, generator=torch.Generator().manual_seed(batch))
        expected = _run(network, images)
        for name, student in (("the chain", chain), ("the loaded chain", loaded)):
            output = _run(student, images)
            if not torch.equal(output, expected):
                return f"{name} differs by up to {(output - expected).abs().max():.1e}"
    macs = partial(_macs, shape=partition.image_shape)
    for what, measure in (("multiply-adds", macs), ("parameters", _params), ("bytes of weights", _bytes)):
        if measure(chain) != measure(network) or measure(loaded) != measure(network):
            return f"{what}: {measure(chain)}, loaded {measure(loaded)}, instead of {measure(network)}"
    return ""


def check_page(network: nn.Module, model: str, arguments: dict[str, Any], pixels: int) -> Verdict:
    """Of the page's blocks."""
    partition = propose(network, pixels)
    failure = check_kept(network, model, arguments, partition)
    return Verdict(blocks=len(partition.taps), failure=failure)


def check_units(network: nn.Module, model: str, arguments: dict[str, Any], pixels: int) -> Verdict:
    """Of the fine partition."""
    try:
        units = propose_units(network, pixels)
    except UsageError as error:
        return Verdict(failure=str(error))
    failure = check_kept(network, model, arguments, units.partition)
    return Verdict(blocks=len(units.blocks), units=sum(len(block.units) for block in units.blocks), failure=failure)


def rows(text: str) -> list[tuple[str, int, dict[str, Any]]]:
    """(model, pixels, arguments) of the page's tables."""
    found = []
    for row in _ROW.finditer(text):
        named = (argument.split("=") for argument in row["arguments"].split(", ") if argument)
        found.append((row["model"], int(row["pixels"]), {name: ast.literal_eval(value) for name, value in named}))
    return found


def fill_cells(cells: Mapping[str, list[str]], *, at: int) -> None:
    """Write ``cells`` (by model) into the page's tables, from column number ``at`` on."""

    def filled(row: re.Match[str]) -> str:
        if row["model"] not in cells:
            return row[0]
        old, new = row[0].strip("|").split("|"), [f" {cell} " for cell in cells[row["model"]]]
        return "|".join(["", *old[:at], *new, *old[at + len(new) :], ""])

    GUIDE.write_text(_ROW.sub(filled, GUIDE.read_text(encoding="utf-8")), encoding="utf-8")


@torch.no_grad()
def _run(network: nn.Module, images: Tensor) -> Tensor:
    return network(images)


def _macs(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """0 for what our counter does not count (LSTMs)."""
    try:
        return count(network, shape).macs
    except UsageError:
        return 0


def _params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _bytes(network: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def _cells(network: nn.Module, row: tuple[str, int, dict[str, Any]], say: Callable[[str], None]) -> list[str]:
    model, pixels, arguments = row
    page = check_page(network, model, arguments, pixels)
    units = check_units(network, model, arguments, pixels)
    for name, verdict in (("kept", page), ("units", units)):
        if verdict.failure:
            say(f"{model}, {name}: {verdict.failure}")
    return ["no" if page.failure else "yes", "no" if units.failure else f"{units.units} in {units.blocks}"]


def main(models: list[str]) -> None:
    """Fill the columns of ``models``, all if there are none, and print the failures with their reasons."""
    chosen = [row for row in rows(GUIDE.read_text(encoding="utf-8")) if not models or row[0] in models]
    cells = {}
    for row in chosen:
        cells[row[0]] = _cells(make(row[0], row[2]), row, print)
        print(row[0], *cells[row[0]], sep="\t", flush=True)
    fill_cells(cells, at=10)


if __name__ == "__main__":
    main(sys.argv[1:])
