"""The network of a choice with the supernet's weights: a student before any training of its own.

Between the layers of two chosen cells stand the exit of the first and the entry of the second, together one linear map
(and a constant) of the first cell's width to that which the second cell's first layer was built for. Into a first layer
that begins with a 1x1 convolution before a batch norm, and has no shortcut, the map folds exactly; where fewer channels
come in than it was built for, an inverted residual then keeps its most important hidden channels. Before any other
layer the map is kept as a 1x1 convolution of the cell (``Cell.enter``), or left out (``adapters="drop"``), so that the
network stays the choice's and within its budget.

The supernet's batch norms have no running statistics; the student's are measured on ``batches``, one after the other,
each with those before it as they then are: over all images, so that they are the mean of the batches' variances and the
variance of their means. The head is new; its classifier is a ridge regression of the labels.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from distilnas.blocks import absorb
from distilnas.errors import UsageError
from distilnas.networks import StudentNet
from distilnas.runtime.seeds import derive_seed
from distilnas.space import Architecture, Cell, Choice
from distilnas.supernet.supernet import SuperCell, Supernet

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
_RIDGE = 1e-2  # of the mean square of a feature


@dataclass(frozen=True, kw_only=True, eq=False)
class Assembled:
    """``model``: the student, in eval mode. By block, from the second on: maps folded into its first layer, kept as a
    convolution, left out (there the weights are not those that were trained together)."""

    model: StudentNet
    folded: int
    kept: int
    dropped: int


@torch.no_grad()
def assemble(
    supernet: Supernet,
    choice: Choice,
    batches: Batches,
    *,
    num_classes: int,
    seed: int,
    adapters: Literal["keep", "drop"] = "keep",
) -> Assembled:
    """The student of ``choice``; ``batches()`` gives images (B, C, R, R) and labels (B,), the same every time.

    Raises ``UsageError`` for a supernet without adapters: its cells read and emit the teacher's widths.
    """
    if any(record["kind"] == "absorb" for record in supernet.adapters):
        raise UsageError(
            "a student with the supernet's weights needs cells of their own widths; distil with "
            "distill.adapters=linear or project."
        )
    plain = supernet.space.architecture(choice)
    firsts = [_first(supernet, choice, plain, b) for b in range(1, len(plain.body))]
    keeps = adapters == "keep"
    enters = [first.built_for if keeps and first.layer is None else 0 for first in firsts]
    cells = [replace(cell, enter=width) for cell, width in zip(_cells(plain)[1:], enters, strict=True)]
    architecture = Architecture(blocks=(plain.blocks[0], *cells, plain.blocks[-1]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, 12))
        model = StudentNet(architecture, num_classes=num_classes)
    _fill(model, supernet, choice, firsts, keeps=keeps)
    settle(model, batches)
    _fit_classifier(model, batches)
    folded = sum(first.layer is not None for first in firsts)
    kept = sum(map(bool, enters))
    return Assembled(model=model.eval(), folded=folded, kept=kept, dropped=len(firsts) - folded - kept)


@dataclass(frozen=True, kw_only=True, eq=False)
class _First:
    """What stands before a cell's first layer: ``matrix`` (built_for, width before) and ``shift``; ``layer``: the first
    layer with the matrix folded in, None where it does not fold."""

    matrix: Tensor
    shift: Tensor
    layer: nn.Module | None

    @property
    def built_for(self) -> int:
        return len(self.matrix)


def _cells(architecture: Architecture) -> list[Cell]:
    """The body's blocks, of which a supernet knows cells alone."""
    return [block for block in architecture.body if isinstance(block, Cell)]


def _first(supernet: Supernet, choice: Choice, architecture: Architecture, b: int) -> _First:
    before, cell = _cells(architecture)[b - 1 : b + 1]
    block: Any = supernet.blocks[b]
    own: SuperCell = block.cells[choice[b].cell]
    previous: Any = supernet.blocks[b - 1]
    weight, bias = _linear(previous.cells[choice[b - 1].cell].exit, before.width)
    entry, _ = _linear(block.entry, len(weight))
    matrix, shift = entry @ weight, entry @ bias
    first: Any = own.layers[0]
    layer = first[choice[b].path[0]]
    as_built = torch.equal(matrix, torch.eye(*matrix.shape)) and not shift.any()
    found = layer if as_built else absorb(cell.ops[0], layer, matrix, cell.width, cell.stride)
    return _First(matrix=matrix, shift=shift, layer=found)


def _linear(module: nn.Module, width: int) -> tuple[Tensor, Tensor]:
    """(out, in) matrix and (out,) bias of a 1x1 convolution or nothing at all."""
    if not isinstance(module, nn.Conv2d):
        return torch.eye(width), torch.zeros(width)
    weight = module.weight[:, :, 0, 0].cpu()
    return weight, torch.zeros(len(weight)) if module.bias is None else module.bias.cpu()


def _fill(model: StudentNet, supernet: Supernet, choice: Choice, firsts: Sequence[_First], *, keeps: bool) -> None:
    """Load all layers' weights into the student's."""
    stages: list[Any] = list(model.blocks)
    stem: Any = supernet.blocks[0].entry
    load_layer(model.conv_stem, stem[0])
    load_layer(model.bn1, stem[1])
    if len(stages) > len(firsts) + 1:
        for mine, theirs in zip(stages.pop(0), stem[2:], strict=True):
            load_layer(mine, theirs)
    for b, stage in enumerate(stages):
        block: Any = supernet.blocks[b]
        layers = [options[op] for options, op in zip(block.cells[choice[b].cell].layers, choice[b].path, strict=True)]
        own = list(stage)
        if b and firsts[b - 1].layer is not None:
            layers[0] = firsts[b - 1].layer
        elif b and keeps:
            adapter: Any = own.pop(0)
            adapter.weight.copy_(firsts[b - 1].matrix[:, :, None, None])
            adapter.bias.copy_(firsts[b - 1].shift)
        for mine, theirs in zip(own, layers, strict=True):
            load_layer(mine, theirs)


def load_layer(mine: nn.Module, theirs: nn.Module) -> None:
    """Give ``mine`` all weights of ``theirs`` but running statistics; none where the shapes are others, which only
    dropped maps leave."""
    state, own = theirs.state_dict(), mine.state_dict()
    if all(key in own and own[key].shape == value.shape for key, value in state.items()):
        mine.load_state_dict(state, strict=False)


@torch.no_grad()
def settle(model: StudentNet, batches: Batches) -> None:
    """Measure the running statistics of all batch norms, in order, on the images of ``batches``; in eval mode then."""
    model.eval()
    features = [images for images, _ in batches()]
    stages: Any = model.blocks
    head = nn.Sequential(model.conv_head, model.bn2)
    stem = nn.Sequential(model.conv_stem, model.bn1)
    measure_norms([stem, *(layer for stage in stages for layer in stage), head], features)


@torch.no_grad()
def measure_norms(parts: Sequence[nn.Module], features: Sequence[Tensor]) -> None:
    """The same for ``parts`` in a row, in eval mode, the first of which reads ``features`` batch by batch."""
    for part in parts:
        for norm in part.modules():
            if isinstance(norm, nn.BatchNorm2d):
                _measure(norm, part, features)
        features = [part(x) for x in features]


def _measure(norm: nn.BatchNorm2d, part: nn.Module, features: Sequence[Tensor]) -> None:
    """Mean and variance over all that enters ``norm`` when ``features`` pass ``part``."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    sums, number = [torch.zeros_like(norm.running_mean, dtype=torch.float64) for _ in range(2)], 0

    def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal number
        x = inputs[0].double()
        number += x.numel() // x.shape[1]
        sums[0] += x.sum((0, 2, 3))
        sums[1] += x.square().sum((0, 2, 3))

    handle = norm.register_forward_pre_hook(add)
    for x in features:
        part(x)
    handle.remove()
    mean = sums[0] / number
    norm.running_mean.copy_(mean)
    norm.running_var.copy_((sums[1] / number - mean.square()).clamp(min=0))


def _fit_classifier(model: StudentNet, batches: Batches) -> None:
    """Ridge regression of the labels (0 or 1 for each class) on the pooled features, with a constant."""
    classifier: Any = model.classifier
    pairs = [(model.forward_head(model.forward_features(x), pre_logits=True), labels) for x, labels in batches()]
    features = torch.cat([x for x, _ in pairs]).double()
    targets = nn.functional.one_hot(torch.cat([labels for _, labels in pairs]), classifier.out_features).double()
    centre, level = features.mean(0), targets.mean(0)
    centred = features - centre
    gram = centred.T @ centred
    gram.diagonal().add_(_RIDGE * centred.square().sum() / centred.shape[1] + 1e-12)
    weight = torch.linalg.solve(gram, centred.T @ (targets - level)).T
    classifier.weight.copy_(weight)
    classifier.bias.copy_(level - weight @ centre)
