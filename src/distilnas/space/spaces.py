"""Search spaces: per block several cells (width and depth), per layer of a cell several ops.

A *candidate* of a block is a cell and a path (one op index per layer); a *choice* is one candidate per block.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from distilnas.errors import UsageError
from distilnas.space.architecture import Architecture, Block, Head, Stem, stem_from_dict, stem_to_dict
from distilnas.space.kinds import parse_op
from distilnas.space.ops import Op, check_positive

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """One width-and-depth alternative: ``layers[l]`` are the ops that may stand at layer ``l``."""

    width: int
    layers: tuple[tuple[Op, ...], ...]

    def __post_init__(self) -> None:
        check_positive("cell width", self.width)
        if not self.layers or not all(self.layers):
            raise UsageError(f"a cell needs at least one layer, and one op in every layer, got {self}.")
        for ops in self.layers:
            if len(set(ops)) != len(ops):
                raise UsageError(f"a layer names an op twice: {[str(op) for op in ops]}.")

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def name(self) -> str:
        """Width x depth, e.g. ``24x3``."""
        return f"{self.width}x{self.depth}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of ops per layer: the shape of this cell's arrays in rating tables."""
        return tuple(len(ops) for ops in self.layers)

    @property
    def num_paths(self) -> int:
        """Number of paths, exact."""
        return math.prod(self.shape)

    def ops(self, path: tuple[int, ...]) -> tuple[Op, ...]:
        """The ops of a path."""
        return tuple(layer[index] for layer, index in zip(self.layers, path, strict=True))


@dataclass(frozen=True, kw_only=True)
class BlockSpec:
    """One searched block; the first layer of every cell carries ``stride``."""

    stride: int
    cells: tuple[CellSpec, ...]

    def __post_init__(self) -> None:
        check_positive("block stride", self.stride)
        if not self.cells:
            raise UsageError("a block needs at least one cell, got none.")
        if len(set(self.cells)) != len(self.cells):
            raise UsageError(f"a block names a cell twice: {[cell.name for cell in self.cells]}.")

    @property
    def num_candidates(self) -> int:
        """Paths of all cells."""
        return sum(cell.num_paths for cell in self.cells)

    @property
    def widths(self) -> tuple[int, ...]:
        """Distinct widths that the block can emit, ascending."""
        return tuple(sorted({cell.width for cell in self.cells}))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A cell (index within its block) and one op index per layer."""

    cell: int
    path: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.cell < 0 or min(self.path, default=0) < 0:
            raise UsageError(f"a candidate's cell and op indices count from 0, got {self}.")


Choice = tuple[Candidate, ...]


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Stem, searched blocks, head."""

    name: str
    stem: Stem
    blocks: tuple[BlockSpec, ...]
    head: Head

    def __post_init__(self) -> None:
        if not self.blocks:
            raise UsageError(f"search space {self.name!r} has no blocks.")

    @property
    def num_architectures(self) -> int:
        """Exact size: the product over blocks of the sum over cells of the product over layers."""
        return math.prod(block.num_candidates for block in self.blocks)

    @property
    def num_candidates(self) -> int:
        """Candidates of all blocks: what a complete rating has to rate."""
        return sum(block.num_candidates for block in self.blocks)

    @property
    def reductions(self) -> tuple[int, ...]:
        """Input resolution over output resolution after each block."""
        return tuple(
            itertools.accumulate((b.stride for b in self.blocks), lambda a, b: a * b, initial=self.stem.reduction)
        )[1:]

    def in_widths(self, block: int) -> tuple[int, ...]:
        """Widths that may enter a block: the stem's for the first, else what the previous block can emit."""
        return (self.stem.out_width,) if block == 0 else self.blocks[block - 1].widths

    def architecture(self, choice: Choice) -> Architecture:
        """The network of a choice; raises ``UsageError`` when the choice does not belong to this space."""
        try:
            blocks = tuple(
                Block(width=spec.cells[c.cell].width, stride=spec.stride, ops=spec.cells[c.cell].ops(c.path))
                for spec, c in zip(self.blocks, choice, strict=True)
            )
        except (IndexError, ValueError) as error:
            raise UsageError(f"choice {choice} is not in space {self.name!r}.") from error
        return Architecture(stem=self.stem, blocks=blocks, head=self.head)

    def choice_of(self, architecture: Architecture) -> Choice:
        """The choice that gives ``architecture``; raises ``UsageError`` naming the first part that does not fit."""
        if (architecture.stem, architecture.head) != (self.stem, self.head):
            raise UsageError(
                f"stem or head of the architecture differ from space {self.name!r}: {self.stem}; {self.head}."
            )
        if len(architecture.blocks) != len(self.blocks):
            raise UsageError(f"space {self.name!r} has {len(self.blocks)} blocks, got {len(architecture.blocks)}.")
        pairs = enumerate(zip(self.blocks, architecture.blocks, strict=True))
        return tuple(_find_candidate(i, spec, block) for i, (spec, block) in pairs)

    def contains(self, architecture: Architecture) -> bool:
        """Whether some choice gives ``architecture``."""
        try:
            self.choice_of(architecture)
        except UsageError:
            return False
        return True

    def single_cell(self) -> "SearchSpace":
        """This space with one cell a block, the widest and of those the deepest: only ops are searched."""
        blocks = tuple(replace(b, cells=(max(b.cells, key=lambda c: (c.width, c.depth)),)) for b in self.blocks)
        return replace(self, blocks=blocks)

    def choices(self) -> Iterator[Choice]:
        """All choices in lexicographic order; only for small spaces."""
        per_block = [
            [
                Candidate(cell=c, path=path)
                for c, cell in enumerate(b.cells)
                for path in itertools.product(*map(range, cell.shape))
            ]
            for b in self.blocks
        ]
        return iter(itertools.product(*per_block))

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of the SHA-256 of the JSON form without the name; tables of another space are refused."""
        data = {key: value for key, value in self.to_dict().items() if key != "name"}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``from_dict`` reads it back."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "stem": stem_to_dict(self.stem),
            "blocks": [
                {
                    "stride": b.stride,
                    "cells": [
                        {"width": c.width, "layers": [[str(op) for op in ops] for ops in c.layers]} for c in b.cells
                    ],
                }
                for b in self.blocks
            ],
            "head": {"width": self.head.width, "act": self.head.act},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SearchSpace":
        """Read the JSON form or the short form of preset files.

        Short form: ``ops`` at the top (or in a block) is the op list of every layer, and a cell is
        ``{width, depth}``; a cell with ``layers`` lists its ops layer by layer.
        """
        if data.get("schema") != SCHEMA:
            raise UsageError(f"search space schema must be {SCHEMA}, got {data.get('schema')!r}.")
        try:
            blocks = tuple(_read_block(block, data.get("ops")) for block in data["blocks"])
            return cls(name=data["name"], stem=stem_from_dict(data["stem"]), blocks=blocks, head=Head(**data["head"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"not a search space: {error}; see the presets for the form.") from error


def _read_block(block: dict[str, Any], default_ops: list[str] | None) -> BlockSpec:
    ops = block.get("ops", default_ops)
    cells: list[CellSpec] = []
    for cell in block["cells"]:
        layers = cell.get("layers") or ([ops] * cell["depth"] if ops else None)
        if not layers:
            raise UsageError(f"cell {cell} has neither layers nor a list of ops to draw from.")
        cells.append(
            CellSpec(width=cell["width"], layers=tuple(tuple(parse_op(op) for op in layer) for layer in layers))
        )
    return BlockSpec(stride=block["stride"], cells=tuple(cells))


def _find_candidate(index: int, spec: BlockSpec, block: Block) -> Candidate:
    if spec.stride == block.stride:
        for c, cell in enumerate(spec.cells):
            fits = cell.width == block.width and cell.depth == len(block.ops)
            if fits and all(op in layer for op, layer in zip(block.ops, cell.layers, strict=True)):
                path = tuple(layer.index(op) for op, layer in zip(block.ops, cell.layers, strict=True))
                return Candidate(cell=c, path=path)
    cells = ", ".join(cell.name for cell in spec.cells)
    raise UsageError(f"block {index + 1} ({block}) is none of the space's: stride {spec.stride}, cells {cells}.")
