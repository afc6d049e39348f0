"""A DARTS network's description: genotype, depth, width and stem; the sibling of ``Architecture``.

Text form, one line: stem, width x cells, then the genotype in its short form::

    darts cifar 36x20 ; N: s3-0 s3-1 | ... ; R: mp-0 mp-1 | ...
"""

import json
import re
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from distilnas.errors import UsageError, nearest
from distilnas.space.architecture import Architecture
from distilnas.space.darts.genotype import AnyGenotype, fingerprint, genotype_from_dict, reduction_cells
from distilnas.space.darts.text import parse_genotype
from distilnas.space.ops import check_positive

SCHEMA = 1
_MOST_CELLS = 1_000
STEMS = ("cifar", "imagenet")
_HEADER = re.compile(r"darts (\w+) (\d{1,9})x(\d{1,9})( drop_unused)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class DartsArchitecture:
    """One network of the DARTS space. Equal text means equal network.

    Args:
        stem: ``cifar`` (3x3 convolution to 3 x width, full resolution) or ``imagenet`` (stride 8, to ``width``).
        width: channels C of a node before the first reduction; each reduction cell doubles them.
        num_cells: L; a per-cell genotype must have as many.
        drop_unused: leave out the preprocessing of a cell input that no node reads. The authors of DNAD keep it (and
            count its parameters), so the default is to keep it.
    """

    kind: ClassVar = "darts"
    genotype: AnyGenotype
    stem: str
    width: int
    num_cells: int
    drop_unused: bool = False

    def __post_init__(self) -> None:
        if self.stem not in STEMS:
            raise UsageError(f"unknown DARTS stem {self.stem!r}; {nearest(str(self.stem), STEMS)}")
        check_positive("DARTS width", self.width)
        check_positive("number of DARTS cells", self.num_cells)
        if self.num_cells > _MOST_CELLS:
            raise UsageError(f"a DARTS network has at most {_MOST_CELLS:,} cells, got {self.num_cells:.3g}.")
        if self.stem == "imagenet" and self.width % 2:
            raise UsageError(f"the width of a DARTS network with the imagenet stem must be even, got {self.width}.")
        reduction_cells(self.num_cells)
        self.genotype.expand(self.num_cells)
        if not isinstance(cast("object", self.drop_unused), bool):
            raise UsageError(f"drop_unused must be true or false, got {self.drop_unused!r}.")

    def __str__(self) -> str:
        drop = " drop_unused" if self.drop_unused else ""
        return f"darts {self.stem} {self.width}x{self.num_cells}{drop} ; {self.genotype}"

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of the SHA-256 of the text form; names folders and checks weights."""
        return fingerprint(str(self))

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``from_dict`` reads it back."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "stem": self.stem,
            "width": self.width,
            "num_cells": self.num_cells,
            "drop_unused": self.drop_unused,
            "genotype": self.genotype.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "DartsArchitecture":
        """Read the JSON form; raises ``UsageError`` for another schema or missing parts."""
        if data.get("schema") != SCHEMA or data.get("kind") != "darts":
            raise UsageError(
                f"a DARTS architecture has schema {SCHEMA} and kind 'darts', got {data.get('schema')!r} and "
                f"{data.get('kind')!r}."
            )
        fields = {key: value for key, value in data.items() if key not in ("schema", "kind", "genotype")}
        try:
            return cls(genotype=genotype_from_dict(data["genotype"]), **fields)
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"not a DARTS architecture: {error}; valid: what `DartsArchitecture.to_dict` writes."
            ) from error

    @classmethod
    def parse(cls, text: str) -> "DartsArchitecture":
        """Read either form, text or JSON; the genotype may also be a Python literal."""
        text = text.strip()
        if text.startswith("{"):
            return cls.from_dict(_read_json(text))
        header, _, genotype = text.partition(";")
        match = _HEADER.fullmatch(" ".join(header.split()))
        if match is None:
            raise UsageError(
                f"not a DARTS architecture: {text[:60]!r}; valid: 'darts <stem> <width>x<cells> ; <genotype>' with "
                f"stem {' or '.join(STEMS)}."
            )
        stem, width, num_cells, drop_unused = match.groups()
        return cls(
            genotype=parse_genotype(genotype),
            stem=stem,
            width=int(width),
            num_cells=int(num_cells),
            drop_unused=drop_unused is not None,
        )


AnyArchitecture = Architecture | DartsArchitecture


def parse_architecture(text: str) -> AnyArchitecture:
    """The architecture of either kind from its text or JSON form; raises ``UsageError`` for anything else."""
    text = text.strip()
    if text.startswith("{"):
        return architecture_from_dict(_read_json(text))
    return DartsArchitecture.parse(text) if text.split()[:1] == ["darts"] else Architecture.parse(text)


def architecture_from_dict(data: dict[str, Any]) -> AnyArchitecture:
    """The architecture of either kind from its JSON form; ``kind`` tells them apart."""
    return (
        DartsArchitecture.from_dict(data)
        if data.get("kind") == DartsArchitecture.kind
        else Architecture.from_dict(data)
    )


def _read_json(text: str) -> dict[str, Any]:
    """The mapping in a text that starts with a brace."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not an architecture: broken JSON ({error}).") from error
