"""An architecture: everything needed to build one network, apart from classes and resolution.

Text form, one line, blocks divided by ``|`` (width/stride, then one op per layer)::

    stem 32/2 silu mb_k3_e1_se0.25_silu:16/1 | 24/2 mb_k5_e3_silu mb_k3_e6_silu | ... | head 1280 silu
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from distilnas.errors import UsageError
from distilnas.space.kinds import parse_op
from distilnas.space.ops import Op, check_activation, check_positive

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class FixedLayer:
    """A layer that is not searched: op, output width, stride."""

    op: Op
    width: int
    stride: int = 1

    def __post_init__(self) -> None:
        check_positive("layer width", self.width)
        check_positive("layer stride", self.stride)

    def __str__(self) -> str:
        return f"{self.op}:{self.width}/{self.stride}"


@dataclass(frozen=True, kw_only=True)
class Stem:
    """3x3 convolution, batch norm, activation, then any fixed layers. Belongs to block 1 in the search."""

    width: int
    act: str
    stride: int = 2
    layers: tuple[FixedLayer, ...] = ()

    def __post_init__(self) -> None:
        check_positive("stem width", self.width)
        check_positive("stem stride", self.stride)
        check_activation(self.act)

    @property
    def out_width(self) -> int:
        """Channels that reach block 1's first searched layer."""
        return self.layers[-1].width if self.layers else self.width

    @property
    def reduction(self) -> int:
        """Product of all strides of the stem."""
        total = self.stride
        for layer in self.layers:
            total *= layer.stride
        return total

    def __str__(self) -> str:
        return " ".join(["stem", f"{self.width}/{self.stride}", self.act, *map(str, self.layers)])


@dataclass(frozen=True, kw_only=True)
class Head:
    """1x1 convolution to ``width``, batch norm, activation, then pooling and classifier. Not searched."""

    width: int
    act: str

    def __post_init__(self) -> None:
        check_positive("head width", self.width)
        check_activation(self.act)

    def __str__(self) -> str:
        return f"head {self.width} {self.act}"


@dataclass(frozen=True, kw_only=True)
class Block:
    """One chosen block: every layer emits ``width``; the first carries ``stride``."""

    width: int
    stride: int
    ops: tuple[Op, ...]

    def __post_init__(self) -> None:
        check_positive("block width", self.width)
        check_positive("block stride", self.stride)
        if not self.ops:
            raise UsageError("a block needs at least one layer, got none.")

    def __str__(self) -> str:
        return " ".join([f"{self.width}/{self.stride}", *map(str, self.ops)])


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One network of a search space (or a published one). Equal text means equal network."""

    stem: Stem
    blocks: tuple[Block, ...]
    head: Head

    def __post_init__(self) -> None:
        if not self.blocks:
            raise UsageError("an architecture needs at least one block, got none.")

    def __str__(self) -> str:
        return " | ".join([str(self.stem), *map(str, self.blocks), str(self.head)])

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of the SHA-256 of the text form; names folders and checks weights."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:12]

    @property
    def acting_layers(self) -> tuple[FixedLayer, ...]:
        """The layers of all blocks but identities that keep width and stride, which do nothing.

        Architectures of one stem and head are one network, whatever their text, where these are equal.
        """
        width = self.stem.out_width
        found: list[FixedLayer] = []
        for block in self.blocks:
            for number, op in enumerate(block.ops):
                stride = block.stride if number == 0 else 1
                if not (op.identity and stride == 1 and width == block.width):
                    found.append(FixedLayer(op=op, width=block.width, stride=stride))
                width = block.width
        return tuple(found)

    @property
    def depth(self) -> int:
        """Number of layers in all blocks."""
        return sum(len(block.ops) for block in self.blocks)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``from_dict`` reads it back."""
        return {
            "schema": SCHEMA,
            "stem": stem_to_dict(self.stem),
            "blocks": [{"width": b.width, "stride": b.stride, "ops": [str(op) for op in b.ops]} for b in self.blocks],
            "head": {"width": self.head.width, "act": self.head.act},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Architecture":
        """Read the JSON form; raises ``UsageError`` for a newer schema or missing parts."""
        if data.get("schema") != SCHEMA:
            raise UsageError(f"architecture schema must be {SCHEMA}, got {data.get('schema')!r}.")
        try:
            blocks = tuple(
                Block(width=b["width"], stride=b["stride"], ops=tuple(parse_op(op) for op in b["ops"]))
                for b in data["blocks"]
            )
            return cls(stem=stem_from_dict(data["stem"]), blocks=blocks, head=Head(**data["head"]))
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
        parts = [part.split() for part in text.split("|")]
        if len(parts) < 3 or parts[0][:1] != ["stem"] or parts[-1][:1] != ["head"] or not all(parts):
            raise UsageError(f"not an architecture: {text[:60]!r}; valid: 'stem ... | width/stride op ... | head ...'.")
        try:
            return cls(
                stem=_parse_stem(parts[0]),
                blocks=tuple(_parse_block(p) for p in parts[1:-1]),
                head=Head(width=int(parts[-1][1]), act=parts[-1][2]),
            )
        except (ValueError, IndexError) as error:
            raise UsageError(f"not an architecture: {text[:60]!r} ({error}).") from error


def stem_to_dict(stem: Stem) -> dict[str, Any]:
    """JSON form of a stem."""
    layers = [{"op": str(x.op), "width": x.width, "stride": x.stride} for x in stem.layers]
    return {"width": stem.width, "stride": stem.stride, "act": stem.act, "layers": layers}


def stem_from_dict(data: dict[str, Any]) -> Stem:
    """Read ``stem_to_dict``; ``layers`` and ``stride`` may be left out."""
    rest = dict(data)
    layers = tuple(_read_layer(**layer) for layer in rest.pop("layers", ()))
    return Stem(**rest, layers=layers)


def _read_layer(op: str, width: int, stride: int = 1) -> FixedLayer:
    return FixedLayer(op=parse_op(op), width=width, stride=stride)


def _parse_size(text: str) -> tuple[int, int]:
    width, stride = text.split("/")
    return int(width), int(stride)


def _parse_stem(words: list[str]) -> Stem:
    width, stride = _parse_size(words[1])
    layers: list[FixedLayer] = []
    for word in words[3:]:
        op, size = word.split(":")
        layer_width, layer_stride = _parse_size(size)
        layers.append(FixedLayer(op=parse_op(op), width=layer_width, stride=layer_stride))
    return Stem(width=width, stride=stride, act=words[2], layers=tuple(layers))


def _parse_block(words: list[str]) -> Block:
    width, stride = _parse_size(words[0])
    return Block(width=width, stride=stride, ops=tuple(parse_op(word) for word in words[1:]))
