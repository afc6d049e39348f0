"""The network of an architecture: a timm EfficientNet whose stem, stages and head are built by ``distilnas.blocks``.

Parameter names are timm's (``conv_stem bn1 blocks.S.I... conv_head bn2 classifier``; fixed stem layers form stage 0),
and so are the methods: ``forward_features``, ``forward_head``, ``reset_classifier``, ``features_only`` and the rest.
"""

from typing import Any

from timm.layers import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._efficientnet_builder import efficientnet_init_weights
from timm.models.efficientnet import EfficientNet
from torch import nn

from distilnas.blocks import NormLayer, Parts, block_kind
from distilnas.space import Architecture


class StudentNet(EfficientNet):
    """Network of an ``Architecture``: images (B, in_chans, R, R) -> logits (B, num_classes).

    Weights are initialised as timm initialises EfficientNet. Stochastic depth grows linearly over the layers from 0 to
    ``drop_path_rate`` as in timm.
    """

    def __init__(
        self,
        architecture: Architecture,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_layer: NormLayer = nn.BatchNorm2d,
        global_pool: str = "avg",
    ) -> None:
        nn.Module.__init__(self)  # EfficientNet's own constructor would build from its block strings
        self.architecture = architecture
        self.student_config: dict[str, Any] = {}  # filled by load_student
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        parts = _build(architecture, in_chans, norm_layer, drop_path_rate)
        self.conv_stem, self.bn1 = parts[0].stem or (nn.Identity(), nn.Identity())
        self.blocks = nn.Sequential(*(stage for part in parts for stage in part.stages))
        self.feature_info = _feature_info(architecture)
        self.stage_ends = [info["stage"] for info in self.feature_info]
        self.conv_head, self.bn2 = parts[-1].head or (nn.Identity(), nn.Identity())
        self.num_features = architecture.blocks[-1].out
        pool, classifier = create_classifier(self.num_features, num_classes, pool_type=global_pool)  # type: ignore[misc]
        self.global_pool, self.classifier = pool, classifier
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        efficientnet_init_weights(self)


default_cfgs = generate_default_cfgs(
    {"distilnas_student.untrained": {"first_conv": "conv_stem", "classifier": "classifier", "pool_size": None}}
)  # timm's registry reads this name


@register_model
def distilnas_student(pretrained: bool = False, *, architecture: Architecture | str, **kwargs: Any) -> StudentNet:
    """Entry of timm's registry: ``timm.create_model('distilnas_student', architecture=TEXT_OR_OBJECT, ...)``."""
    if isinstance(architecture, str):
        architecture = Architecture.parse(architecture)
    features = {
        "feature_cls": "getter",
        "out_indices": tuple(range(len(_feature_info(architecture)))),
    }
    return build_model_with_cfg(
        StudentNet,
        "distilnas_student",
        pretrained,
        architecture=architecture,
        feature_cfg=features,
        **kwargs,
    )


def _build(architecture: Architecture, in_chans: int, norm_layer: NormLayer, drop_path_rate: float) -> list[Parts]:
    """The modules block by block; stochastic depth grows from layer to layer."""
    total = sum(block.droppable for block in architecture.blocks)
    drop_paths = (drop_path_rate * index / total for index in range(total))
    built, width = [], in_chans
    for block in architecture.blocks:
        built.append(block_kind(block.kind).build(block, width, norm_layer=norm_layer, drop_paths=drop_paths))
        width = block.out
    return built


def _feature_info(architecture: Architecture) -> list[dict[str, Any]]:
    """timm's record of where the resolution changes: the last stage before each change (0 is the stem convolution)."""
    infos: list[dict[str, Any]] = []
    reduction = 1
    if entry := architecture.blocks[0].entry:
        width, reduction = entry
        infos.append({"stage": 0, "num_chs": width, "reduction": reduction, "module": "bn1"})
    stages = (stage for block in architecture.blocks for stage in block.stages)
    for number, (width, stride) in enumerate(stages, start=1):
        reduction *= stride
        info = {"stage": number, "num_chs": width, "reduction": reduction, "module": f"blocks.{number - 1}"}
        if infos and reduction == infos[-1]["reduction"]:
            infos[-1] = info
        else:
            infos.append(info)
    return infos
