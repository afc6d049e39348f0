"""``res``: ResNet's blocks, e.g. ``res_basic_k3_relu`` (two convolutions) and ``res_neck_k3_se0.25_relu`` (bottleneck:
1x1, 3x3 on a quarter of the output's width, 1x1), with or without squeeze-and-excite to a ratio of the OUTPUT width."""

import re
from dataclasses import dataclass
from typing import ClassVar

from distilnas.errors import UsageError, nearest
from distilnas.space.ops import LayerRules, check_activation, check_kernel, check_se, se_text

SHAPES = ("basic", "neck")
_TEXT = re.compile(r"res_([a-z]+)_k(\d+)(?:_se(\d*\.?\d+))?_([a-z0-9_]+)")


@dataclass(frozen=True, kw_only=True)
class Residual:
    """Residual block (He et al., CVPR 2016, figure 5): the sum of branch and shortcut passes an activation.

    ``shape``: ``basic`` or ``neck``. Where stride or width change, the shortcut is a 1x1 convolution and batch norm.
    ``se`` (Hu et al., CVPR 2018): ratio of the squeeze width to the layer's output width, at the end of the branch.
    """

    kind: ClassVar[str] = "res"
    form: ClassVar[str] = "res_<basic or neck>_k<kernel>[_se<ratio>]_<activation>"
    keys: ClassVar[tuple[str, ...]] = (
        "res: residual block",
        "neck: residual block with a bottleneck",
        "k: kernel",
        "SE: squeeze-and-excite",
    )
    identity: ClassVar[bool] = False

    shape: str
    kernel: int
    act: str
    se: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise UsageError(f"unknown residual block {self.shape!r}; {nearest(self.shape, SHAPES)}")
        check_kernel("residual block's", self.kernel)
        check_se("residual block's", self.se)
        check_activation(self.act)

    def __str__(self) -> str:
        return f"res_{self.shape}_k{self.kernel}{se_text(self.se)}_{self.act}"

    @property
    def words(self) -> tuple[str, ...]:
        """``res`` or ``neck``, kernel, SE."""
        return ("res" if self.shape == "basic" else "neck", f"k{self.kernel}", *(("SE",) if self.se else ()))

    @classmethod
    def parse(cls, text: str) -> "Residual | None":
        """Read ``str``."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        shape, kernel, se, act = match.groups()
        return cls(shape=shape, kernel=int(kernel), se=float(se or 0), act=act)

    @classmethod
    def options(cls, rules: LayerRules) -> tuple["Residual", ...]:
        """Both shapes with each kernel."""
        return tuple(cls(shape=s, kernel=k, se=rules.se, act=rules.act) for s in SHAPES for k in rules.kernels)
