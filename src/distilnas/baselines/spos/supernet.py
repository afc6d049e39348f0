"""The one-shot supernet: all networks of a space in one module, from images to logits.

Stem, head and classifier are shared by all networks, an op by all networks that have it at this layer of this cell.
Nothing stands between the layers that the network itself would not have: no adapters. Where the block before may emit
several widths, the first layer of a cell has a set of ops for each, and the width that arrives selects it; so a path
computes exactly what the network of its choice computes with the same weights.

Batch norm has no running statistics, those would mix all paths: it uses the statistics of the batch and path at hand.
"""

import torch
from timm.layers import create_classifier
from timm.models._efficientnet_builder import efficientnet_init_weights
from torch import Tensor, nn

from distilnas.blocks import head_convolution, make_layer, make_stem
from distilnas.runtime.seeds import derive_seed
from distilnas.space import CellSpec, Choice, Op, SearchSpace, frame_of
from distilnas.supernet.supernet import batch_norm

Step = tuple[int, int, int, int]
"""Where a network passes: block, cell, layer, op."""


def steps(choice: Choice) -> tuple[Step, ...]:
    """The way of a choice through the supernet, layer by layer; two choices share the work of a common beginning."""
    return tuple(
        (block, candidate.cell, layer, op)
        for block, candidate in enumerate(choice)
        for layer, op in enumerate(candidate.path)
    )


class OneShotCell(nn.Module):
    """All ops of a cell. ``first``: those of the first layer by the width that enters; ``rest``: of the others."""

    def __init__(self, spec: CellSpec, in_widths: tuple[int, ...], stride: int) -> None:
        super().__init__()
        first, *rest = spec.layers
        self.first = nn.ModuleDict({str(width): _layer(first, width, spec.width, stride) for width in in_widths})
        self.rest = nn.ModuleList(_layer(ops, spec.width, spec.width, 1) for ops in rest)

    def layer(self, index: int, op: int, x: Tensor) -> Tensor:
        """Run one op of one layer."""
        ops = self.rest[index - 1] if index else self.first[str(x.shape[1])]
        return ops[op](x)  # type: ignore[index]


class OneShot(nn.Module):
    """All networks of ``space``; built by ``build_one_shot``."""

    def __init__(self, space: SearchSpace, num_classes: int, in_chans: int) -> None:
        super().__init__()
        self.space, self.num_classes = space, num_classes
        stem, head = frame_of(space, "the one-shot supernet")
        self.stem = make_stem(stem, in_chans, norm_layer=batch_norm)
        widths = [(stem.out_width,), *map(space.in_widths, range(1, len(space.blocks)))]
        self.blocks = nn.ModuleList(
            nn.ModuleList(OneShotCell(cell, before, cell.first_stride(spec.stride)) for cell in spec.cells)
            for spec, before in zip(space.body, widths, strict=False)
        )
        self.heads = nn.ModuleDict(
            {str(width): nn.Sequential(*head_convolution(head, width, batch_norm)) for width in widths[-1]}
        )
        self.global_pool, self.classifier = create_classifier(head.width, num_classes)  # type: ignore[misc]

    def layer(self, step: Step, x: Tensor) -> Tensor:
        """Run one layer along one step."""
        block, cell, index, op = step
        return self.blocks[block][cell].layer(index, op, x)  # type: ignore[index]

    def head(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) from the last block's output."""
        return self.classifier(self.global_pool(self.heads[str(x.shape[1])](x)))

    def forward(self, images: Tensor, choice: Choice) -> Tensor:
        """Logits (B, num_classes) of one network for images (B, in_chans, R, R)."""
        x = self.stem(images)
        for step in steps(choice):
            x = self.layer(step, x)
        return self.head(x)


def build_one_shot(space: SearchSpace, num_classes: int, *, seed: int, in_chans: int = 3) -> OneShot:
    """The supernet of ``space`` with weights initialised from ``seed`` as a student's are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed))
        net = OneShot(space, num_classes, in_chans)
        efficientnet_init_weights(net)
    return net


def _layer(ops: tuple[Op, ...], in_width: int, out_width: int, stride: int) -> nn.ModuleList:
    return nn.ModuleList(make_layer(op, in_width, out_width, stride, norm_layer=batch_norm) for op in ops)
