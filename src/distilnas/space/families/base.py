"""What a family and a filling are: ways to fill a block, and one of them carried through.

A *family* is one way to fill a block, with options on some axes (the ops of a cell's layers, the share of channels that
is kept, ...). A *filling* is one candidate of it, resolved: everything needed to build that block of a network.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

Path = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box of a network's drawing: ``words`` in it, ``title`` to hover, ``group`` as caption ("": the block's own).

    ``dashed``: it does nothing.
    """

    words: tuple[str, ...]
    width: int
    stride: int = 1
    title: str
    group: str = ""
    dashed: bool = False


class Filling(Protocol):
    """One block of a network, a frozen record: equal records, and only they, have equal text.

    ``kind``: its name in ``FILLINGS``; the text begins with it, or for cells with a number or ``stem``. ``is_head``: it
    turns a map into class scores. ``out``: channels handed on, of a head those before the classifier. ``reduction``:
    what it divides the resolution by. ``takes_images``: it is made to be a network's first block. ``depth``: its number
    of layers. ``entry``: channels and stride of its stem's convolution, where it has one. ``stages``: channels and
    stride of the stages it is built as, after that; ``droppable``: their layers in all, for stochastic depth.
    """

    kind: ClassVar[str]
    form: ClassVar[str]
    is_head: ClassVar[bool]

    @property
    def out(self) -> int: ...

    @property
    def reduction(self) -> int: ...

    @property
    def takes_images(self) -> bool: ...

    @property
    def depth(self) -> int: ...

    @property
    def entry(self) -> tuple[int, int] | None: ...

    @property
    def stages(self) -> tuple[tuple[int, int], ...]: ...

    @property
    def droppable(self) -> int: ...

    def acting(self, in_width: int) -> tuple[Any, ...]:
        """What does something to a map of ``in_width`` channels: two blocks for which this is equal compute alike."""
        ...

    @property
    def brief(self) -> str:
        """Width and size in a few signs, ``24x2``."""
        ...

    @property
    def line(self) -> str:
        """One line for people, ``24: k5e3 k3e6``."""
        ...

    def boxes(self) -> tuple[Box, ...]:
        """The layers, for a drawing."""
        ...

    def legend(self) -> tuple[str, ...]:
        """What the words in the boxes mean."""
        ...

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``str``; raises ``UsageError``, ``ValueError`` or ``IndexError`` for anything else."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON form with ``kind``; ``from_dict`` reads it back."""
        ...

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self: ...


class Family(Protocol):
    """One way to fill a block, a frozen record.

    ``name``: within its block. ``shape``: the number of options on each axis, () is a single candidate; it is also that
    of the family's array in a rating table. The others as of its fillings.
    """

    kind: ClassVar[str]
    is_head: ClassVar[bool]

    @property
    def out(self) -> int: ...

    @property
    def takes_images(self) -> bool: ...

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def num_paths(self) -> int:
        """Number of candidates, exact."""
        ...

    def fill(self, path: Path, *, stride: int) -> Filling:
        """The candidate of one option an axis in a block that divides the resolution by ``stride``.

        Raises ``UsageError`` for a stride that it cannot have and ``IndexError`` or ``ValueError`` for another path.
        """
        ...

    def path_of(self, filling: Filling, *, stride: int) -> Path | None:
        """The path that gives ``filling``; None when there is none."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON form with ``kind``; ``from_dict`` reads it back."""
        ...

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self: ...
