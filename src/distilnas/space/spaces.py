"""Search spaces: per block several families to fill it with, of which most are cells (width and depth).

A *candidate* of a block is a family and a path (one option per axis; of a cell, one op per layer); a *choice* is one
candidate per block. The first block's families take images, the last block is the head.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distilnas.errors import UsageError
from distilnas.space.architecture import Architecture, check_place
from distilnas.space.families import CellSpec, Family, Filling, Head, Path, Stem, read_family
from distilnas.space.ops import check_positive

SCHEMA = 2
_CELLS = 1  # the schema of spaces of cells with one stem and one head, the form of the presets


@dataclass(frozen=True, kw_only=True)
class BlockSpec:
    """One block: any of ``families`` fills it, and divides the resolution by ``stride`` (in block 1 with its stem)."""

    stride: int
    families: tuple[Family, ...]

    def __post_init__(self) -> None:
        check_positive("block stride", self.stride)
        if not self.families:
            raise UsageError("a block needs at least one cell, got none.")
        if len(set(self.families)) != len(self.families):
            raise UsageError(f"a block names a cell twice: {[family.name for family in self.families]}.")
        for family in self.families:
            family.fill((0,) * len(family.shape), stride=self.stride)

    @property
    def num_candidates(self) -> int:
        """Paths of all families."""
        return sum(family.num_paths for family in self.families)

    @property
    def widths(self) -> tuple[int, ...]:
        """Distinct widths that the block can emit, ascending."""
        return tuple(sorted({family.out for family in self.families}))

    @property
    def cells(self) -> tuple[CellSpec, ...]:
        """The families, which must all be cells: for what is done layer by layer. Raises ``UsageError`` else."""
        cells = tuple(family for family in self.families if isinstance(family, CellSpec))
        if len(cells) < len(self.families):
            kinds = ", ".join(dict.fromkeys(family.kind for family in self.families))
            raise UsageError(f"a block of cells is needed here, got one with families of kinds {kinds}.")
        return cells


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """``cell``: index of a family within its block; ``path``: one option per axis of it."""

    cell: int
    path: Path

    def __post_init__(self) -> None:
        if self.cell < 0 or min(self.path, default=0) < 0:
            raise UsageError(f"a candidate's cell and op indices count from 0, got {self}.")


Choice = tuple[Candidate, ...]


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Blocks in order: those that imitate a teacher's (``body``), then the head."""

    name: str
    blocks: tuple[BlockSpec, ...]

    def __post_init__(self) -> None:
        if len(self.blocks) < 2:
            raise UsageError(f"search space {self.name!r} has no blocks.")
        for number, block in enumerate(self.blocks, start=1):
            for family in block.families:
                check_place(family, number, len(self.blocks))

    @property
    def body(self) -> tuple[BlockSpec, ...]:
        """The blocks but the head."""
        return self.blocks[:-1]

    @property
    def num_architectures(self) -> int:
        """Exact size: the product over blocks of the sum over families of the product over axes."""
        return math.prod(block.num_candidates for block in self.blocks)

    @property
    def num_candidates(self) -> int:
        """Candidates of the body's blocks: what a complete rating has to rate."""
        return sum(block.num_candidates for block in self.body)

    @property
    def reductions(self) -> tuple[int, ...]:
        """Input resolution over output resolution after each block of the body."""
        return tuple(itertools.accumulate((b.stride for b in self.body), lambda a, b: a * b))

    def in_widths(self, block: int, in_chans: int = 3) -> tuple[int, ...]:
        """Widths that may enter a block: the images' channels the first, else what the previous block can emit."""
        return (in_chans,) if block == 0 else self.blocks[block - 1].widths

    def architecture(self, choice: Choice) -> Architecture:
        """The network of a choice; raises ``UsageError`` when the choice does not belong to this space."""
        try:
            blocks = tuple(
                spec.families[c.cell].fill(c.path, stride=spec.stride)
                for spec, c in zip(self.blocks, choice, strict=True)
            )
        except (IndexError, ValueError) as error:
            raise UsageError(f"choice {choice} is not in space {self.name!r}.") from error
        return Architecture(blocks=blocks)

    def choice_of(self, architecture: Architecture) -> Choice:
        """The choice that gives ``architecture``; raises ``UsageError`` naming the first part that does not fit."""
        if len(architecture.blocks) != len(self.blocks):
            raise UsageError(f"space {self.name!r} has {len(self.body)} blocks, got {len(architecture.body)}.")
        pairs = enumerate(zip(self.blocks, architecture.blocks, strict=True), start=1)
        return tuple(_find_candidate(number, spec, block) for number, (spec, block) in pairs)

    def contains(self, architecture: Architecture) -> bool:
        """Whether some choice gives ``architecture``."""
        try:
            self.choice_of(architecture)
        except UsageError:
            return False
        return True

    def with_head(self, choice: Choice) -> Choice:
        """``choice``, which may lack the head's candidate where there is one only, as runs of schema 1 wrote it."""
        one_short = len(choice) == len(self.body) and self.blocks[-1].num_candidates == 1
        return (*choice, Candidate(cell=0, path=())) if one_short else choice

    def single_cell(self) -> "SearchSpace":
        """This space with one cell a block, the widest and of those the deepest: only ops are searched."""
        body = tuple(replace(b, families=(max(b.cells, key=lambda c: (c.width, c.depth)),)) for b in self.body)
        return replace(self, blocks=(*body, self.blocks[-1]))

    def choices(self) -> Iterator[Choice]:
        """All choices in lexicographic order; only for small spaces."""
        per_block = [
            [
                Candidate(cell=f, path=path)
                for f, family in enumerate(b.families)
                for path in itertools.product(*map(range, family.shape))
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
        """JSON form; ``from_dict`` reads it back. Spaces of cells with one stem and one head have that of schema 1."""
        frame = find_frame(self)
        if frame is None:
            blocks = [{"stride": b.stride, "families": [f.to_dict() for f in b.families]} for b in self.blocks]
            return {"schema": SCHEMA, "name": self.name, "blocks": blocks}
        stem, head = frame
        return {
            "schema": _CELLS,
            "name": self.name,
            "stem": stem.to_dict(),
            "blocks": [
                {"stride": block.cells[0].first_stride(block.stride), "cells": list(map(_plain_cell, block.cells))}
                for block in self.body
            ],
            "head": {"width": head.width, "act": head.act},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SearchSpace":
        """Read the JSON form or the short form of preset files.

        Short form: ``ops`` at the top (or in a block) is the op list of every layer, and a cell is
        ``{width, depth}``; a cell with ``layers`` lists its ops layer by layer.
        """
        if data.get("schema") not in (_CELLS, SCHEMA):
            raise UsageError(f"search space schema must be {_CELLS} or {SCHEMA}, got {data.get('schema')!r}.")
        try:
            if data["schema"] == SCHEMA:
                return cls(name=data["name"], blocks=tuple(map(_read_block, data["blocks"])))
            blocks = [_read_cells(block, data.get("ops")) for block in data["blocks"]]
            stem, head = Stem.from_dict(data["stem"]), Head.from_dict(data["head"])
            return space_of_cells(name=data["name"], stem=stem, blocks=blocks, head=head)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"not a search space: {error}; see the presets for the form.") from error


def space_of_cells(*, name: str, stem: Stem, blocks: Sequence[BlockSpec], head: Head) -> SearchSpace:
    """The space of blocks of cells after one stem and before one head; ``blocks`` are without the stem's stride."""
    if not blocks:
        raise UsageError(f"search space {name!r} has no blocks.")
    opening = tuple(replace(cell, stem=stem) for cell in blocks[0].cells)
    first = BlockSpec(stride=blocks[0].stride * stem.reduction, families=opening)
    return SearchSpace(name=name, blocks=(first, *blocks[1:], BlockSpec(stride=1, families=(head,))))


def find_frame(space: SearchSpace) -> tuple[Stem, Head] | None:
    """Stem and head of a space of cells that has one of each; None for another."""
    families = [family for block in space.body for family in block.families]
    if not all(isinstance(family, CellSpec) for family in families):
        return None
    stems = {cell.stem for cell in space.blocks[0].cells}
    heads = set(space.blocks[-1].families)
    stem, head = stems.pop(), heads.pop()
    alone = not stems and not heads
    return (stem, head) if alone and stem is not None and isinstance(head, Head) else None


def frame_of(space: SearchSpace, what: str) -> tuple[Stem, Head]:
    """Stem and head; raises ``UsageError`` saying that ``what`` needs one of each."""
    frame = find_frame(space)
    if frame is None:
        raise UsageError(f"{what} needs a space of cells with one stem and one head; {space.name!r} is none.")
    return frame


def _plain_cell(cell: CellSpec) -> dict[str, Any]:
    return {key: value for key, value in cell.without_stem().to_dict().items() if key != "kind"}


def _read_block(data: dict[str, Any]) -> BlockSpec:
    return BlockSpec(stride=data["stride"], families=tuple(map(read_family, data["families"])))


def _read_cells(block: dict[str, Any], default_ops: list[str] | None) -> BlockSpec:
    ops = block.get("ops", default_ops)
    cells = tuple(CellSpec.from_dict({"ops": ops} | cell) for cell in block["cells"])
    return BlockSpec(stride=block["stride"], families=cells)


def _find_candidate(number: int, spec: BlockSpec, block: Filling) -> Candidate:
    for f, family in enumerate(spec.families):
        path = family.path_of(block, stride=spec.stride)
        if path is not None:
            return Candidate(cell=f, path=path)
    names = ", ".join(family.name for family in spec.families)
    raise UsageError(f"block {number} ({block}) is none of the space's: stride {spec.stride}, cells {names}.")
