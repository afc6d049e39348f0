"""``mb``: MBConv, e.g. ``mb_k5_e6_se0.25_silu``: depthwise kernel 5, expansion 6, squeeze-and-excite to 0.25 of the
INPUT width, SiLU; ``mb_k3_e3_relu`` is one without squeeze-and-excite."""

import re
from dataclasses import dataclass
from typing import ClassVar

from distilnas.space.ops import LayerRules, check_activation, check_kernel, check_positive, check_se, se_text

_TEXT = re.compile(r"mb_k(\d+)_e(\d+)(?:_se(\d*\.?\d+))?_([a-z0-9_]+)")


@dataclass(frozen=True, kw_only=True)
class MBConv:
    """Inverted residual (MobileNetV2; with squeeze-and-excite as in EfficientNet).

    ``se`` is the ratio of the squeeze width to the layer's input width (DNA section 4.1, EfficientNet); 0 means none.
    ``expansion`` 1 is the depthwise-separable form without the first pointwise convolution.
    """

    kind: ClassVar[str] = "mb"
    form: ClassVar[str] = "mb_k<kernel>_e<expansion>[_se<ratio>]_<activation>"
    keys: ClassVar[tuple[str, ...]] = ("k: kernel", "e: expansion", "SE: squeeze-and-excite")
    identity: ClassVar[bool] = False

    kernel: int
    expansion: int
    act: str
    se: float = 0.0

    def __post_init__(self) -> None:
        check_kernel("MBConv", self.kernel)
        check_positive("MBConv expansion", self.expansion)
        check_se("MBConv", self.se)
        check_activation(self.act)

    def __str__(self) -> str:
        return f"mb_k{self.kernel}_e{self.expansion}{se_text(self.se)}_{self.act}"

    @property
    def words(self) -> tuple[str, ...]:
        """Kernel, expansion, SE."""
        return (f"k{self.kernel}", f"e{self.expansion}", *(("SE",) if self.se else ()))

    @classmethod
    def parse(cls, text: str) -> "MBConv | None":
        """Read ``str``."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        kernel, expansion, se, act = match.groups()
        return cls(kernel=int(kernel), expansion=int(expansion), se=float(se or 0), act=act)

    @classmethod
    def options(cls, rules: LayerRules) -> tuple["MBConv", ...]:
        """Kernels times expansions, expansion varying slowest."""
        return tuple(
            cls(kernel=k, expansion=e, se=rules.se, act=rules.act) for e in rules.expansions for k in rules.kernels
        )
