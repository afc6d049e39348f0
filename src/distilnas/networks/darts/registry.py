"""Entries of timm's registry: published DARTS networks by name, and any other by its architecture.

``timm.create_model("darts_v2", variant="cifar10", num_classes=100)``; keywords of every published network:
``variant`` (``imagenet``, the default, or ``cifar10``), ``width`` and ``num_cells`` to change its size, and those of
``DartsNet``. There are no weights to download.
"""

from collections.abc import Callable
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from distilnas.errors import UsageError
from distilnas.networks.darts.network import DartsNet, feature_info
from distilnas.networks.darts.published import genotype_names, published_architecture
from distilnas.networks.student import StudentNet
from distilnas.space import Architecture
from distilnas.space.darts import AnyArchitecture, DartsArchitecture

_IMAGENET = {
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "first_conv": "stem0.conv1",
    "classifier": "classifier",
    "pool_size": None,
}
_CIFAR10 = {
    "num_classes": 10,
    "input_size": (3, 32, 32),
    "mean": (0.49139968, 0.48215827, 0.44653124),
    "std": (0.24703233, 0.24348505, 0.26158768),
    "crop_pct": 1.0,
    "first_conv": "stem0.conv",
    "classifier": "classifier",
    "pool_size": None,
}
default_cfgs = generate_default_cfgs(
    {
        f"{name}.{tag}": config
        for name in ("distilnas_darts", *genotype_names())
        for tag, config in (("imagenet", _IMAGENET), ("cifar10", _CIFAR10))
    }
)  # timm's registry reads this name; the first tag is the default


NETWORKS: dict[str, Callable[..., DartsNet | StudentNet]] = {
    Architecture.kind: StudentNet,
    DartsArchitecture.kind: DartsNet,
}
"""By an architecture's kind."""


def build_network(architecture: AnyArchitecture, **kwargs: Any) -> DartsNet | StudentNet:
    """The network of an architecture of any kind; keywords are those of its class."""
    return NETWORKS[architecture.kind](architecture, **kwargs)


@register_model
def distilnas_darts(pretrained: bool = False, *, architecture: DartsArchitecture | str, **kwargs: Any) -> DartsNet:
    """Any DARTS network: ``timm.create_model('distilnas_darts', architecture=TEXT_OR_OBJECT, ...)``."""
    if isinstance(architecture, str):
        architecture = DartsArchitecture.parse(architecture)
    return _build("distilnas_darts", architecture, pretrained, **kwargs)


@register_model
def darts_v1(pretrained: bool = False, **kwargs: Any) -> DartsNet:
    """DARTS, first order (Liu et al. 2019)."""
    return _published("darts_v1", pretrained, **kwargs)


@register_model
def darts_v2(pretrained: bool = False, **kwargs: Any) -> DartsNet:
    """DARTS, second order (Liu et al. 2019)."""
    return _published("darts_v2", pretrained, **kwargs)


@register_model
def p_darts(pretrained: bool = False, **kwargs: Any) -> DartsNet:
    """P-DARTS, searched on CIFAR-10 (Chen et al. 2019)."""
    return _published("p_darts", pretrained, **kwargs)


@register_model
def pc_darts_cifar(pretrained: bool = False, **kwargs: Any) -> DartsNet:
    """PC-DARTS, searched on CIFAR-10 (Xu et al. 2020)."""
    return _published("pc_darts_cifar", pretrained, **kwargs)


@register_model
def pc_darts_imagenet(pretrained: bool = False, **kwargs: Any) -> DartsNet:
    """PC-DARTS, searched on ImageNet (Xu et al. 2020)."""
    return _published("pc_darts_imagenet", pretrained, **kwargs)


@register_model
def ista_nas(pretrained: bool = False, **kwargs: Any) -> DartsNet:
    """ISTA-NAS, two-stage (Yang et al. 2020)."""
    return _published("ista_nas", pretrained, **kwargs)


def _published(
    name: str,
    pretrained: bool,
    *,
    variant: str = "imagenet",
    width: int | None = None,
    num_cells: int | None = None,
    **kwargs: Any,
) -> DartsNet:
    architecture = published_architecture(name, variant, width=width, num_cells=num_cells)
    return _build(name, architecture, pretrained, **kwargs)


def _build(name: str, architecture: DartsArchitecture, pretrained: bool, **kwargs: Any) -> DartsNet:
    """Through timm's builder, with the input description that belongs to the stem."""
    if pretrained and not (kwargs.get("pretrained_cfg") or kwargs.get("pretrained_cfg_overlay")):
        raise UsageError(f"{name} has no weights to download: pretrained must be false.")
    tag = "imagenet" if architecture.stem == "imagenet" else "cifar10"
    kwargs["pretrained_cfg"] = kwargs.get("pretrained_cfg") or tag
    maps = tuple(range(len(feature_info(architecture))))
    features = {"feature_cls": "hook", "no_rewrite": True, "out_indices": maps}
    return build_model_with_cfg(DartsNet, name, pretrained, architecture=architecture, feature_cfg=features, **kwargs)
