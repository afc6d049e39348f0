"""The operations that may stand at a layer: what they are, not how they compute (``distilnas.networks`` builds them).

Text forms, used in presets, architecture files and reports::

    mb_k5_e6_se0.25_silu   MBConv: depthwise kernel 5, expansion 6, squeeze-and-excite to 0.25 of the INPUT width, SiLU
    mb_k3_e3_relu          MBConv without squeeze-and-excite
    id                     identity; where stride or width change it is a 1x1 convolution, then batch norm
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from distilnas.errors import UsageError

ACTIVATIONS = ("relu", "relu6", "silu", "hard_swish", "gelu")
_MBCONV = re.compile(r"mb_k(\d+)_e(\d+)(?:_se(\d*\.?\d+))?_([a-z0-9_]+)")


def check_activation(name: str) -> None:
    """Raise ``UsageError`` unless ``name`` is one of ``ACTIVATIONS``."""
    if name not in ACTIVATIONS:
        raise UsageError(f"unknown activation {name!r}; valid: {', '.join(ACTIVATIONS)}.")


def check_positive(what: str, value: object) -> None:
    """Raise ``UsageError`` unless ``value`` is a whole number from 1; ``what`` names it in the message."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{what} must be a whole number from 1, got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class MBConv:
    """Inverted residual (MobileNetV2; with squeeze-and-excite as in EfficientNet).

    ``se`` is the ratio of the squeeze width to the layer's input width (DNA section 4.1, EfficientNet); 0 means none.
    ``expansion`` 1 is the depthwise-separable form without the first pointwise convolution.
    """

    kernel: int
    expansion: int
    act: str
    se: float = 0.0

    def __post_init__(self) -> None:
        check_positive("MBConv kernel", self.kernel)
        if self.kernel % 2 == 0:
            raise UsageError(f"MBConv kernel must be odd, got {self.kernel}.")
        check_positive("MBConv expansion", self.expansion)
        if not 0 <= self.se <= 1:
            raise UsageError(f"MBConv se ratio must be between 0 and 1, got {self.se}.")
        check_activation(self.act)

    def __str__(self) -> str:
        # all digits and no exponent: equal text means equal op
        se = f"_se{Decimal(str(float(self.se))).normalize():f}" if self.se else ""
        return f"mb_k{self.kernel}_e{self.expansion}{se}_{self.act}"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """No operation; a projection (1x1 convolution without bias, batch norm) where stride or width change."""

    def __str__(self) -> str:
        return "id"


Op = MBConv | Identity


def parse_op(text: str) -> Op:
    """The op that ``str(op)`` writes; raises ``UsageError`` for anything else."""
    if text == "id":
        return Identity()
    match = _MBCONV.fullmatch(text)
    if match is None:
        raise UsageError(f"unknown op {text!r}; valid: 'id' or 'mb_k<kernel>_e<expansion>[_se<ratio>]_<activation>'.")
    kernel, expansion, se, act = match.groups()
    return MBConv(kernel=int(kernel), expansion=int(expansion), se=float(se or 0), act=act)
