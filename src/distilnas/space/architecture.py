"""An architecture: everything needed to build one network, apart from classes and resolution.

Text form, one line, the texts of its blocks divided by ``|``; of a network of cells::

    stem 32/2 silu mb_k3_e1_se0.25_silu:16/1 | 24/2 mb_k5_e3_silu mb_k3_e6_silu | ... | head 1280 silu
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from distilnas.errors import UsageError
from distilnas.space.families import Cell, Family, Filling, Head, Stem, parse_filling, read_filling

SCHEMA = 2
_CELLS = 1  # the schema of networks of cells, which is as old as they are
_INPUT = 0  # channels before the first block, which brings its own stem


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One network of a search space (or a published one). Equal text means equal network.

    The first block takes images, the last is a head. ``kind``: what tells it from other kinds of network in the tables
    of builders, trainings and drawings.
    """

    kind: ClassVar = "blocks"
    blocks: tuple[Filling, ...]

    def __post_init__(self) -> None:
        if len(self.blocks) < 2:
            raise UsageError("an architecture needs at least one block and a head.")
        for number, block in enumerate(self.blocks, start=1):
            check_place(block, number, len(self.blocks))

    def __str__(self) -> str:
        return " | ".join(map(str, self.blocks))

    @property
    def body(self) -> tuple[Filling, ...]:
        """The blocks but the head."""
        return self.blocks[:-1]

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of the SHA-256 of the text form; names folders and checks weights."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:12]

    @property
    def acting_layers(self) -> tuple[Any, ...]:
        """The layers of the body but identities that keep width and stride, which do nothing.

        Architectures of one stem and head are one network, whatever their text, where these are equal.
        """
        widths = (_INPUT, *(block.out for block in self.body))
        pairs = zip(self.body, widths, strict=False)
        return tuple(layer for block, width in pairs for layer in block.acting(width))

    @property
    def depth(self) -> int:
        """Number of layers in all blocks."""
        return sum(block.depth for block in self.blocks)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``from_dict`` reads it back. Networks of cells have the form of schema 1."""
        layered = Layered.find(self)
        if layered is None:
            return {"schema": SCHEMA, "blocks": [block.to_dict() for block in self.blocks]}
        return {
            "schema": _CELLS,
            "stem": layered.stem.to_dict(),
            "blocks": [{k: v for k, v in cell.to_dict().items() if k != "kind"} for cell in layered.cells],
            "head": {"width": layered.head.width, "act": layered.head.act},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Architecture":
        """Read the JSON form; raises ``UsageError`` for a newer schema or missing parts."""
        if data.get("schema") not in (_CELLS, SCHEMA):
            raise UsageError(f"architecture schema must be {_CELLS} or {SCHEMA}, got {data.get('schema')!r}.")
        try:
            if data["schema"] == SCHEMA:
                return cls(blocks=tuple(map(read_filling, data["blocks"])))
            cells = tuple(map(Cell.from_dict, data["blocks"]))
            return Layered(stem=Stem.from_dict(data["stem"]), cells=cells, head=Head(**data["head"])).architecture()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"not an architecture: {error}; valid: what `Architecture.to_dict` writes.") from error

    @classmethod
    def parse(cls, text: str) -> "Architecture":
        """Read either form, text or JSON."""
        text = text.strip()
        if text.startswith("{"):
            try:
                return cls.from_dict(json.loads(text))
            except (ValueError, RecursionError) as error:
                raise UsageError(f"not an architecture: broken JSON ({error}).") from error
        parts = [part.strip() for part in text.split("|")]
        if len(parts) < 3 or not all(parts):
            raise UsageError(f"not an architecture: {text[:60]!r}; valid: 'stem ... | width/stride op ... | head ...'.")
        if parts[0].split()[0] == "stem":
            parts[:2] = [" | ".join(parts[:2])]
        try:
            return cls(blocks=tuple(map(parse_filling, parts)))
        except (ValueError, IndexError) as error:
            raise UsageError(f"not an architecture: {text[:60]!r} ({error}).") from error


def check_place(block: Filling | Family, number: int, count: int) -> None:
    """Raise ``UsageError`` unless the first of ``count`` blocks takes images and the last is a head."""
    if block.takes_images != (number == 1):
        rule = "the first block takes images (a cell has a stem there), and no other"
        raise UsageError(f"{rule}; block {number} is {str(block)[:60]!r}.")
    if block.is_head != (number == count):
        raise UsageError(f"the last block is a head, and no other; block {number} is {str(block)[:60]!r}.")


@dataclass(frozen=True, kw_only=True)
class Layered:
    """A network of cells in parts, for what is done layer by layer: ``cells`` are without the stem."""

    stem: Stem
    cells: tuple[Cell, ...]
    head: Head

    @classmethod
    def find(cls, architecture: Architecture) -> "Layered | None":
        """The parts, None where a block is of another kind."""
        *body, head = architecture.blocks
        cells = [block for block in body if isinstance(block, Cell)]
        if len(cells) < len(body) or not isinstance(head, Head) or cells[0].stem is None:
            return None
        return cls(stem=cells[0].stem, cells=(replace(cells[0], stem=None), *cells[1:]), head=head)

    @classmethod
    def of(cls, architecture: Architecture) -> "Layered":
        """The parts; raises ``UsageError`` where a block is of another kind."""
        found = cls.find(architecture)
        if found is None:
            kinds = ", ".join(block.kind for block in architecture.blocks)
            raise UsageError(f"a network of cells and a head is needed here, got blocks of kinds {kinds}.")
        return found

    def architecture(self) -> Architecture:
        """The network."""
        if not self.cells:
            raise UsageError("an architecture needs at least one block, got none.")
        first, *rest = self.cells
        return Architecture(blocks=(replace(first, stem=self.stem), *rest, self.head))
