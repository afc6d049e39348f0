"""``convnext``: ConvNeXt's block, e.g. ``convnext_k7_e4_gelu``: depthwise kernel 7, an MLP of expansion 4, GELU."""

import re
from dataclasses import dataclass
from typing import ClassVar

from distilnas.space.ops import LayerRules, check_activation, check_kernel, check_positive

_TEXT = re.compile(r"convnext_k(\d+)_e(\d+)_([a-z0-9_]+)")


@dataclass(frozen=True, kw_only=True)
class ConvNeXt:
    """Block of Liu et al., CVPR 2022, figure 4: depthwise convolution, layer norm, MLP, layer scale, a shortcut.

    Where stride or width change, layer norm and a convolution (kernel = stride) stand before it, as between ConvNeXt's
    stages.
    """

    kind: ClassVar[str] = "convnext"
    form: ClassVar[str] = "convnext_k<kernel>_e<expansion>_<activation>"
    keys: ClassVar[tuple[str, ...]] = ("cnx: ConvNeXt block", "k: kernel", "e: expansion")
    identity: ClassVar[bool] = False

    kernel: int
    expansion: int
    act: str

    def __post_init__(self) -> None:
        check_kernel("ConvNeXt", self.kernel)
        check_positive("ConvNeXt expansion", self.expansion)
        check_activation(self.act)

    def __str__(self) -> str:
        return f"convnext_k{self.kernel}_e{self.expansion}_{self.act}"

    @property
    def words(self) -> tuple[str, ...]:
        """``cnx``, kernel, expansion."""
        return ("cnx", f"k{self.kernel}", f"e{self.expansion}")

    @classmethod
    def parse(cls, text: str) -> "ConvNeXt | None":
        """Read ``str``."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        kernel, expansion, act = match.groups()
        return cls(kernel=int(kernel), expansion=int(expansion), act=act)

    @classmethod
    def options(cls, rules: LayerRules) -> tuple["ConvNeXt", ...]:
        """Kernels times expansions, expansion varying slowest."""
        return tuple(cls(kernel=k, expansion=e, act=rules.act) for e in rules.expansions for k in rules.kernels)
