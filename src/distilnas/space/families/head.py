"""``head``: 1x1 convolution, batch norm, activation, then pooling and classifier. Text: ``head 1280 silu``."""

from dataclasses import dataclass
from typing import Any, ClassVar

from distilnas.space.families.base import Box, Filling, Path
from distilnas.space.ops import check_activation, check_positive


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last block, filled in one way: a family with a single candidate, itself. ``width``: of the convolution."""

    kind: ClassVar[str] = "head"
    form: ClassVar[str] = "head width activation"
    is_head: ClassVar[bool] = True

    width: int
    act: str

    def __post_init__(self) -> None:
        check_positive("head width", self.width)
        check_activation(self.act)

    def __str__(self) -> str:
        return f"head {self.width} {self.act}"

    @property
    def out(self) -> int:
        """Features that reach the classifier."""
        return self.width

    @property
    def reduction(self) -> int:
        """None."""
        return 1

    @property
    def takes_images(self) -> bool:
        """No."""
        return False

    @property
    def depth(self) -> int:
        """No layer that is counted as one."""
        return 0

    @property
    def entry(self) -> None:
        """None."""
        return None

    @property
    def stages(self) -> tuple[tuple[int, int], ...]:
        """None."""
        return ()

    @property
    def droppable(self) -> int:
        """No layer."""
        return 0

    def acting(self, in_width: int) -> tuple[str, ...]:
        """Itself."""
        return (str(self),)

    @property
    def brief(self) -> str:
        """The width."""
        return str(self.width)

    @property
    def line(self) -> str:
        """Its text."""
        return str(self)

    def boxes(self) -> tuple[Box, ...]:
        """The convolution."""
        title = f"head: 1x1 convolution to {self.width} channels"
        return (Box(words=("conv", "k1"), width=self.width, title=title, group="head"),)

    def legend(self) -> tuple[str, ...]:
        """None: the words are plain."""
        return ()

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read ``str``."""
        _, width, act = text.split()
        return cls(width=int(width), act=act)

    @property
    def name(self) -> str:
        """Its text."""
        return str(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Nothing to choose."""
        return ()

    @property
    def num_paths(self) -> int:
        """One."""
        return 1

    def fill(self, path: Path, *, stride: int) -> "Head":
        """Itself."""
        if path:
            raise ValueError(f"a head has no axes, got path {path}")
        return self

    def path_of(self, filling: Filling, *, stride: int) -> Path | None:
        """() for itself."""
        return () if isinstance(filling, Head) and filling == self else None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"kind": self.kind, "width": self.width, "act": self.act}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Head":
        """Read ``to_dict``; ``kind`` may be left out."""
        return cls(**{key: value for key, value in data.items() if key != "kind"})
