"""What an op is: the thing that may stand at a layer of a cell. The kinds there are lie in ``distilnas.space.kinds``.

An op is data; ``distilnas.blocks`` makes modules of it.
"""

from decimal import Decimal
from typing import ClassVar, Protocol, Self

from distilnas.errors import UsageError

ACTIVATIONS = ("relu", "relu6", "silu", "hard_swish", "gelu")

_MOST = 1_000_000


class LayerRules(Protocol):
    """From what a space fitted to a teacher makes the ops of a layer."""

    @property
    def kernels(self) -> tuple[int, ...]: ...

    @property
    def expansions(self) -> tuple[int, ...]: ...

    @property
    def se(self) -> float: ...

    @property
    def act(self) -> str: ...


class Op(Protocol):
    """An op of some kind, a frozen record: equal records, and only they, have equal text.

    ``kind``: its name in ``LAYER_KINDS``, and the text's beginning up to the first ``_``. ``form``: of the text, for
    messages. ``keys``: what its ``words`` mean, for readers of a drawing. ``identity``: it does nothing where width and
    stride stay, so that its layer is left out of the network.
    """

    kind: ClassVar[str]
    form: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    identity: ClassVar[bool]

    @property
    def words(self) -> tuple[str, ...]:
        """A few short words for a box in a drawing."""
        ...

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The op of a text; None where it has not the form, ``UsageError`` where a value in it is not allowed."""
        ...

    @classmethod
    def options(cls, rules: LayerRules) -> tuple[Self, ...]:
        """The ops of this kind that a space of these rules offers at a layer, all different."""
        ...


def check_activation(name: str) -> None:
    """Raise ``UsageError`` unless ``name`` is one of ``ACTIVATIONS``."""
    if name not in ACTIVATIONS:
        raise UsageError(f"unknown activation {name!r}; valid: {', '.join(ACTIVATIONS)}.")


def check_positive(what: str, value: object) -> None:
    """Raise ``UsageError`` unless ``value`` is a whole number from 1 to a million; ``what`` names it in messages."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{what} must be a whole number from 1, got {value!r}.")
    if value > _MOST:
        raise UsageError(f"{what} must be at most {_MOST:,}, got {value:.3g}.")


def check_kernel(what: str, value: int) -> None:
    """Raise ``UsageError`` unless ``value`` is an odd whole number from 1."""
    check_positive(f"{what} kernel", value)
    if value % 2 == 0:
        raise UsageError(f"{what} kernel must be odd, got {value}.")


def check_se(what: str, ratio: float) -> None:
    """Raise ``UsageError`` unless ``ratio`` is from 0 to 1."""
    if not 0 <= ratio <= 1:
        raise UsageError(f"{what} se ratio must be between 0 and 1, got {ratio}.")


def se_text(ratio: float) -> str:
    """``_se0.25``, or nothing for 0; all digits and no exponent, since equal text means equal op."""
    return f"_se{Decimal(str(float(ratio))).normalize():f}" if ratio else ""
