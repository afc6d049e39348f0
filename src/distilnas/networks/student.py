"""The network of an architecture: a timm EfficientNet whose stem, stages and head are built by ``distilnas.blocks``.

Parameter names are timm's (``conv_stem bn1 blocks.S.I... conv_head bn2 classifier``; fixed stem layers form stage 0),
and so are the methods: ``forward_features``, ``forward_head``, ``reset_classifier``, ``features_only`` and the rest.
"""

import itertools
from typing import Any

from timm.layers import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._efficientnet_builder import efficientnet_init_weights
from timm.models.efficientnet import EfficientNet
from torch import nn

from distilnas.blocks import NormLayer, conv_norm_act, make_layer
from distilnas.space import Architecture, Op


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
        stem, head = architecture.stem, architecture.head
        self.architecture = architecture
        self.student_config: dict[str, Any] = {}  # filled by load_student
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.conv_stem, self.bn1 = conv_norm_act(
            in_chans, stem.width, kernel=3, stride=stem.stride, act=stem.act, norm_layer=norm_layer
        )
        stages = _stages(architecture)
        self.blocks = nn.Sequential(*_build_stages(stages, stem.width, norm_layer, drop_path_rate))
        self.feature_info = _feature_info(architecture, stages)
        self.stage_ends = [info["stage"] for info in self.feature_info]
        last = architecture.blocks[-1].width
        self.conv_head, self.bn2 = conv_norm_act(
            last, head.width, kernel=1, stride=1, act=head.act, norm_layer=norm_layer
        )
        self.num_features = head.width
        pool, classifier = create_classifier(head.width, num_classes, pool_type=global_pool)  # type: ignore[misc]
        self.global_pool, self.classifier = pool, classifier
        self.head_hidden_size = head.width * self.global_pool.feat_mult()
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
        "out_indices": tuple(range(len(_feature_info(architecture, _stages(architecture))))),
    }
    return build_model_with_cfg(
        StudentNet,
        "distilnas_student",
        pretrained,
        architecture=architecture,
        feature_cfg=features,
        **kwargs,
    )


_Layer = tuple[Op, int, int]  # op, output width, stride


def _stages(architecture: Architecture) -> list[list[_Layer]]:
    """Stages as lists of layers; the stem's fixed layers, where there are any, are the first stage."""
    fixed = [(layer.op, layer.width, layer.stride) for layer in architecture.stem.layers]
    searched = [
        [(op, block.width, block.stride if i == 0 else 1) for i, op in enumerate(block.ops)]
        for block in architecture.blocks
    ]
    return [fixed, *searched] if fixed else searched


def _build_stages(
    stages: list[list[_Layer]], in_width: int, norm_layer: NormLayer, drop_path_rate: float
) -> list[nn.Module]:
    total = sum(map(len, stages))
    index = itertools.count()
    built = []
    for stage in stages:
        layers = []
        for op, width, stride in stage:
            drop_path = drop_path_rate * next(index) / total
            layers.append(make_layer(op, in_width, width, stride, norm_layer=norm_layer, drop_path=drop_path))
            in_width = width
        built.append(nn.Sequential(*layers))
    return built


def _feature_info(architecture: Architecture, stages: list[list[_Layer]]) -> list[dict[str, Any]]:
    """timm's record of where the resolution changes: the last stage before each change (0 is the stem convolution)."""
    infos = [{"stage": 0, "num_chs": architecture.stem.width, "reduction": architecture.stem.stride, "module": "bn1"}]
    for number, stage in enumerate(stages, start=1):
        reduction = infos[-1]["reduction"]
        for _, _, stride in stage:
            reduction *= stride
        info = {"stage": number, "num_chs": stage[-1][1], "reduction": reduction, "module": f"blocks.{number - 1}"}
        if reduction == infos[-1]["reduction"]:
            infos[-1] = info
        else:
            infos.append(info)
    return infos
