"""The stem of a network of cells: it belongs to block 1's cells.

Text: ``stem 32/2 silu mb_k3_e1_se0.25_silu:16/1`` (width/stride, activation, then fixed layers).
"""

from dataclasses import dataclass
from typing import Any

from distilnas.space.families.base import Box
from distilnas.space.kinds import parse_op
from distilnas.space.ops import Op, check_activation, check_positive


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
    """3x3 convolution, batch norm, activation, then any fixed layers."""

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

    def boxes(self) -> tuple[Box, ...]:
        """The convolution and the fixed layers, for a drawing."""
        title = f"stem: 3x3 convolution to {self.width} channels"
        first = Box(words=("conv", "k3"), width=self.width, stride=self.stride, title=title, group="stem")
        rest = (
            Box(words=x.op.words, width=x.width, stride=x.stride, title=f"fixed layer: {x}", group="stem")
            for x in self.layers
        )
        return (first, *rest)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        layers = [{"op": str(x.op), "width": x.width, "stride": x.stride} for x in self.layers]
        return {"width": self.width, "stride": self.stride, "act": self.act, "layers": layers}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Stem":
        """Read ``to_dict``; ``layers`` and ``stride`` may be left out."""
        rest = dict(data)
        layers = tuple(_read_layer(**layer) for layer in rest.pop("layers", ()))
        return cls(**rest, layers=layers)

    @classmethod
    def parse(cls, text: str) -> "Stem":
        """Read ``str``."""
        _, size, act, *layers = text.split()
        width, stride = parse_size(size)
        return cls(width=width, stride=stride, act=act, layers=tuple(map(_parse_layer, layers)))


def parse_size(text: str) -> tuple[int, int]:
    """Width and stride of ``24/2``."""
    width, stride = text.split("/")
    return int(width), int(stride)


def _read_layer(op: str, width: int, stride: int = 1) -> FixedLayer:
    return FixedLayer(op=parse_op(op), width=width, stride=stride)


def _parse_layer(text: str) -> FixedLayer:
    op, size = text.split(":")
    width, stride = parse_size(size)
    return FixedLayer(op=parse_op(op), width=width, stride=stride)
