"""A ResNet for small images in timm's registry: ``timm.create_model('cifar_resnet', widths=(64, 128, 256))``.

The idea is He et al., CVPR 2016, section 4.2: a 3x3 stem without stride or pooling, a few stages of basic blocks,
global pooling, one linear layer. Differences: every stage halves the resolution, also the first, so that images of 32
pixels give maps of 16, 8 and 4; the widths are larger and free; shortcuts are projected (1x1) where the shape changes.

Parameter names: ``stem.conv stem.bn stages.S.B.(conv1 bn1 conv2 bn2 downsample) classifier``. There are no weights to
download.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from timm.layers import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, downsample_conv
from torch import Tensor, nn
from torch.nn import functional

from distilnas.errors import UsageError


class LinearEndBlock(BasicBlock):
    """A basic block whose last ReLU has moved to the beginning of what follows it: here, of the next block."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.act2 = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.relu(x))


class CifarResNet(nn.Module):
    """Images (B, in_chans, R, R) -> logits (B, num_classes).

    Convolutions start as He et al. (ICCV 2015) with fan-out, the last batch norm of every residual branch at 0.

    Args:
        widths: channels of the stages.
        depths: basic blocks in each stage; the first one has stride 2.
        stem_width: channels of the stem.
        linear_ends: stem and blocks give out sums before the ReLU, and it stands at the beginning of what follows them.
            Logits and parameters are the same; but maps taken after a block or stage are not clipped, which makes them
            better targets of a regression.
        drop_rate: dropout before the classifier.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256),
        depths: Sequence[int] = (2, 2, 2),
        stem_width: int = 32,
        linear_ends: bool = False,
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        _check_sizes(widths, depths, stem_width)
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate
        self.num_features = self.head_hidden_size = widths[-1]
        ends = nn.Identity() if linear_ends else nn.ReLU()
        self.stem = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(in_chans, stem_width, 3, padding=1, bias=False), bn=nn.BatchNorm2d(stem_width), act=ends
            )
        )
        kind = LinearEndBlock if linear_ends else BasicBlock
        pairs = zip([stem_width, *widths], widths, depths, strict=False)
        self.stages = nn.Sequential(*(_stage(kind, *sizes) for sizes in pairs))
        self.act = nn.ReLU() if linear_ends else nn.Identity()
        self.feature_info = [{"num_chs": stem_width, "reduction": 1, "module": "stem"}] + [
            {"num_chs": width, "reduction": 2 ** (i + 1), "module": f"stages.{i}"} for i, width in enumerate(widths)
        ]
        pool, classifier = create_classifier(self.num_features, num_classes, pool_type=global_pool)  # type: ignore[misc]
        self.global_pool, self.classifier = pool, classifier
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """The last stage's map (B, widths[-1], r, r), r = R / 2 ** number of stages."""
        return self.stages(self.stem(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pooling, dropout and classifier; ``pre_logits`` stops before the classifier."""
        x = self.global_pool(self.act(x))
        if self.drop_rate:
            x = functional.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        """A new classifier for ``num_classes`` (0: none)."""
        weight = self.stem.get_parameter("conv.weight")
        pool, classifier = create_classifier(self.num_features, num_classes, pool_type=global_pool)  # type: ignore[misc]
        self.num_classes, self.global_pool, self.classifier = num_classes, pool, classifier.to(weight)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock):
                module.zero_init_last()


default_cfgs = generate_default_cfgs(
    {
        "cifar_resnet.untrained": {
            "num_classes": 10,
            "input_size": (3, 32, 32),
            "mean": (0.49139968, 0.48215827, 0.44653124),
            "std": (0.24703233, 0.24348505, 0.26158768),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "first_conv": "stem.conv",
            "classifier": "classifier",
            "pool_size": None,
        }
    }
)  # timm's registry reads this name


@register_model
def cifar_resnet(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """Entry of timm's registry; keywords are those of ``CifarResNet``."""
    if pretrained and not (kwargs.get("pretrained_cfg") or kwargs.get("pretrained_cfg_overlay")):
        raise UsageError("cifar_resnet has no weights to download: pretrained must be false.")
    stages = len(kwargs.get("widths", (64, 128, 256)))
    features = {"feature_cls": "hook", "no_rewrite": True, "out_indices": tuple(range(stages + 1))}
    return build_model_with_cfg(CifarResNet, "cifar_resnet", pretrained, feature_cfg=features, **kwargs)


def _stage(kind: type[BasicBlock], in_width: int, width: int, depth: int) -> nn.Sequential:
    first = kind(in_width, width, stride=2, downsample=downsample_conv(in_width, width, 1, stride=2))
    return nn.Sequential(first, *(kind(width, width) for _ in range(1, depth)))


def _check_sizes(widths: Sequence[int], depths: Sequence[int], stem_width: int) -> None:
    whole = all(isinstance(size, int) and size > 0 for size in (*widths, *depths, stem_width))
    if not whole or not widths or len(widths) != len(depths):
        raise UsageError(
            "cifar_resnet needs a width and a depth for every stage, all whole numbers from 1, as widths=(64, 128, "
            f"256), depths=(2, 2, 2), stem_width=32; got {tuple(widths)}, {tuple(depths)} and {stem_width}."
        )
