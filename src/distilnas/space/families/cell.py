"""``cell``: layers of one width, an op chosen at each; in block 1 after a stem.

Text, e.g. ``24/2 mb_k5_e3_silu mb_k3_e6_silu`` (width/stride of the first layer, then one op per layer), in block 1
behind that of the stem: ``stem 32/2 silu | 24/2 ...``.
"""

import math
import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from distilnas.errors import UsageError
from distilnas.space.families.base import Box, Filling, Path
from distilnas.space.families.stem import FixedLayer, Stem, parse_size
from distilnas.space.kinds import LAYER_KINDS, parse_op
from distilnas.space.ops import Op, check_positive

_ENTER = re.compile(r"in\d{1,7}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell along one path: every layer emits ``width``; the first carries ``stride``.

    ``enter``: channels of a 1x1 convolution with bias before the first layer, 0 for none (text ``24/2 in32 mb_...``):
    an adapter that a network with a supernet's weights keeps.
    """

    kind: ClassVar[str] = "cell"
    form: ClassVar[str] = "[stem ... |] width/stride op ..."
    is_head: ClassVar[bool] = False

    width: int
    stride: int
    ops: tuple[Op, ...]
    stem: Stem | None = None
    enter: int = 0

    def __post_init__(self) -> None:
        check_positive("block width", self.width)
        check_positive("block stride", self.stride)
        if self.enter:
            check_positive("width of an adapter", self.enter)
            if self.stem:
                raise UsageError(f"a cell with a stem has no adapter before its layers, got {self.enter} channels.")
        if not self.ops:
            raise UsageError("a block needs at least one layer, got none.")

    def __str__(self) -> str:
        size = f"{self.width}/{self.stride}" + (f" in{self.enter}" if self.enter else "")
        own = " ".join([size, *map(str, self.ops)])
        return f"{self.stem} | {own}" if self.stem else own

    @property
    def out(self) -> int:
        """The width."""
        return self.width

    @property
    def reduction(self) -> int:
        """Of the stem and the first layer."""
        return self.stride * (self.stem.reduction if self.stem else 1)

    @property
    def takes_images(self) -> bool:
        """Whether it has a stem."""
        return self.stem is not None

    @property
    def depth(self) -> int:
        """Number of searched layers."""
        return len(self.ops)

    @property
    def entry(self) -> tuple[int, int] | None:
        """Of the stem."""
        return (self.stem.width, self.stem.stride) if self.stem else None

    @property
    def stages(self) -> tuple[tuple[int, int], ...]:
        """The stem's fixed layers, where there are any, then its own."""
        own = (self.width, self.stride)
        if self.stem is None or not self.stem.layers:
            return (own,)
        return ((self.stem.out_width, self.stem.reduction // self.stem.stride), own)

    @property
    def droppable(self) -> int:
        """Its layers and the stem's fixed ones."""
        return self.depth + (len(self.stem.layers) if self.stem else 0)

    @property
    def layers(self) -> tuple[FixedLayer, ...]:
        """The searched layers with width and stride."""
        strides = (self.stride, *(1 for _ in self.ops[1:]))
        return tuple(FixedLayer(op=o, width=self.width, stride=s) for o, s in zip(self.ops, strides, strict=True))

    def acting(self, in_width: int) -> tuple[FixedLayer, ...]:
        """The layers but identities that keep width and stride; the stem is not among them."""
        before = self.stem.out_width if self.stem else self.enter or in_width
        pairs = zip(self.layers, (before, *(self.width for _ in self.ops[1:])), strict=True)
        return tuple(x for x, width in pairs if not (x.op.identity and x.stride == 1 and x.width == width))

    @property
    def brief(self) -> str:
        """Width x depth."""
        return f"{self.width}x{self.depth}"

    @property
    def line(self) -> str:
        """Width and ops."""
        return f"{self.width}: {ops_text(self.ops)}"

    def boxes(self) -> tuple[Box, ...]:
        """Stem, then the layers."""
        own = (
            Box(
                words=x.op.words,
                width=x.width,
                stride=x.stride,
                title=f"layer {n}: {x.op} to {x.width} channels",
                dashed=x.op.identity,
            )
            for n, x in enumerate(self.layers, start=1)
        )
        title = f"adapter: 1x1 convolution to {self.enter} channels"
        adapter = (Box(words=("conv", "k1"), width=self.enter, title=title),) if self.enter else ()
        return (*(self.stem.boxes() if self.stem else ()), *adapter, *own)

    def legend(self) -> tuple[str, ...]:
        """Of the kinds of its ops, in the order of their table."""
        fixed = [layer.op for layer in self.stem.layers] if self.stem else []
        used = {op.kind for op in (*fixed, *self.ops)}
        return tuple(key for name, kind in LAYER_KINDS.items() if name in used for key in kind.keys)

    @classmethod
    def parse(cls, text: str) -> "Cell":
        """Read ``str``."""
        before, _, own = text.rpartition("|")
        size, *ops = own.split()
        width, stride = parse_size(size)
        stem = Stem.parse(before) if before else None
        enter = int(ops.pop(0).removeprefix("in")) if _ENTER.fullmatch(" ".join(ops[:1])) else 0
        return cls(width=width, stride=stride, ops=tuple(map(parse_op, ops)), stem=stem, enter=enter)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        stem = {"stem": self.stem.to_dict()} if self.stem else {}
        own = {"width": self.width, "stride": self.stride, "ops": list(map(str, self.ops))}
        return {"kind": self.kind, **stem, **own} | ({"enter": self.enter} if self.enter else {})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Cell":
        """Read ``to_dict``."""
        stem = Stem.from_dict(data["stem"]) if "stem" in data else None
        ops, enter = tuple(map(parse_op, data["ops"])), data.get("enter", 0)
        return cls(width=data["width"], stride=data["stride"], ops=ops, stem=stem, enter=enter)


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """One width-and-depth alternative: ``layers[l]`` are the ops that may stand at layer ``l``."""

    kind: ClassVar[str] = "cell"
    is_head: ClassVar[bool] = False

    width: int
    layers: tuple[tuple[Op, ...], ...]
    stem: Stem | None = None

    def __post_init__(self) -> None:
        check_positive("cell width", self.width)
        if not self.layers or not all(self.layers):
            raise UsageError(f"a cell needs at least one layer, and one op in every layer, got {self}.")
        for ops in self.layers:
            if len(set(ops)) != len(ops):
                raise UsageError(f"a layer names an op twice: {[str(op) for op in ops]}.")

    @property
    def out(self) -> int:
        """The width."""
        return self.width

    @property
    def takes_images(self) -> bool:
        """Whether it has a stem."""
        return self.stem is not None

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
        """Number of ops per layer."""
        return tuple(len(ops) for ops in self.layers)

    @property
    def num_paths(self) -> int:
        """Number of paths, exact."""
        return math.prod(self.shape)

    def ops(self, path: Path) -> tuple[Op, ...]:
        """The ops of a path."""
        return tuple(layer[index] for layer, index in zip(self.layers, path, strict=True))

    def first_stride(self, stride: int) -> int:
        """The stride of the first layer where stem and cell together have ``stride``."""
        before = self.stem.reduction if self.stem else 1
        if stride % before:
            raise UsageError(f"a block of stride {stride} can't begin with a stem of stride {before}: {self.stem}.")
        return stride // before

    def fill(self, path: Path, *, stride: int) -> Cell:
        """The cell of a path."""
        return Cell(width=self.width, stride=self.first_stride(stride), ops=self.ops(path), stem=self.stem)

    def path_of(self, filling: Filling, *, stride: int) -> Path | None:
        """The path of ``filling``."""
        if not isinstance(filling, Cell) or filling.depth != self.depth:
            return None
        pairs = list(zip(filling.ops, self.layers, strict=True))
        if not all(op in layer for op, layer in pairs):
            return None
        path = tuple(layer.index(op) for op, layer in pairs)
        return path if self.fill(path, stride=stride) == filling else None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        stem = {"stem": self.stem.to_dict()} if self.stem else {}
        layers = [[str(op) for op in ops] for ops in self.layers]
        return {"kind": self.kind, **stem, "width": self.width, "layers": layers}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "CellSpec":
        """Read ``to_dict``, or the short form of presets: ``depth`` layers, each of the list ``ops``."""
        ops = data.get("ops")
        layers = data.get("layers") or ([ops] * data["depth"] if ops else None)
        if not layers:
            raise UsageError(f"cell {data} has neither layers nor a list of ops to draw from.")
        stem = Stem.from_dict(data["stem"]) if "stem" in data else None
        return cls(width=data["width"], layers=tuple(tuple(map(parse_op, layer)) for layer in layers), stem=stem)

    def without_stem(self) -> "CellSpec":
        """The cell alone."""
        return replace(self, stem=None)


def ops_text(ops: tuple[Op, ...]) -> str:
    """Ops of a path in one line, without their SE: ``k5e3 k3e6 id``."""
    return " ".join("".join(word for word in op.words if word != "SE") for op in ops)
