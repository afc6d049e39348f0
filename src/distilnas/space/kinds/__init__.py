"""The kinds of op that may stand at a layer, as data.

A new kind is a file here, a line in ``LAYER_KINDS``, a file and a line in ``distilnas.blocks`` under the same name, and
a subclass of the tests' ``LayerContract``. Here it must provide a frozen dataclass that is an ``Op`` (``space.ops``):
``kind``, ``form``, ``keys``, ``identity``, ``words``, ``str`` and ``parse``, ``options``. Nothing else names it.
"""

from distilnas.errors import UsageError, nearest
from distilnas.space.kinds.convnext import ConvNeXt
from distilnas.space.kinds.identity import Identity
from distilnas.space.kinds.mb import MBConv
from distilnas.space.kinds.res import Residual
from distilnas.space.ops import Op

__all__ = ["LAYER_KINDS", "Identity", "MBConv", "layer_kind", "parse_op"]

LAYER_KINDS: dict[str, type[Op]] = {
    Identity.kind: Identity,
    MBConv.kind: MBConv,
    Residual.kind: Residual,
    ConvNeXt.kind: ConvNeXt,
}


def layer_kind(name: str) -> type[Op]:
    """The kind of a name; raises ``UsageError`` with the nearest names."""
    if name not in LAYER_KINDS:
        raise UsageError(f"unknown kind of layer {name!r}; {nearest(name, LAYER_KINDS)}")
    return LAYER_KINDS[name]


def parse_op(text: str) -> Op:
    """The op that ``str(op)`` writes; raises ``UsageError`` for anything else."""
    kind = LAYER_KINDS.get(text.partition("_")[0])
    op = kind.parse(text) if kind else None
    if op is None:
        *forms, last = (f"'{kind.form}'" for kind in LAYER_KINDS.values())
        raise UsageError(f"unknown op {text!r}; valid: {', '.join(forms)} or {last}.")
    return op
