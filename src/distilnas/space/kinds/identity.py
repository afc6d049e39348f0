"""``id``: identity; where stride or width change it is a 1x1 convolution, then batch norm."""

from dataclasses import dataclass
from typing import ClassVar

from distilnas.space.ops import LayerRules


@dataclass(frozen=True, kw_only=True)
class Identity:
    """No operation; a projection (1x1 convolution without bias, batch norm) where stride or width change."""

    kind: ClassVar[str] = "id"
    form: ClassVar[str] = "id"
    keys: ClassVar[tuple[str, ...]] = ()
    identity: ClassVar[bool] = True

    def __str__(self) -> str:
        return "id"

    @property
    def words(self) -> tuple[str, ...]:
        """``id``."""
        return ("id",)

    @classmethod
    def parse(cls, text: str) -> "Identity | None":
        """Read ``str``."""
        return cls() if text == "id" else None

    @classmethod
    def options(cls, rules: LayerRules) -> tuple["Identity", ...]:
        """The one there is."""
        return (cls(),)
