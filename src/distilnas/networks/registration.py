"""The published networks in timm's registry: ``timm.create_model('dna_a', num_classes=10, features_only=True)``."""

from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import generate_default_cfgs, get_pretrained_cfg, register_model
from torch import nn

from distilnas.errors import UsageError
from distilnas.networks.published import ZooEntry, published_entries
from distilnas.networks.student import distilnas_student


def _config(entry: ZooEntry) -> dict[str, Any]:
    """How the authors evaluated: bicubic, centre crop of 87.5 %, ImageNet's mean and standard deviation."""
    return {
        "input_size": (3, entry.resolution, entry.resolution),
        "num_classes": entry.num_classes,
        "pool_size": None,
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "conv_stem",
        "classifier": "classifier",
    }


_ENTRIES = {
    entry.model: entry for variants in published_entries().values() for entry in variants.values() if entry.architecture
}
default_cfgs = generate_default_cfgs({model: _config(entry) for model, entry in _ENTRIES.items()})


def _build(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    if pretrained and not (kwargs.get("pretrained_cfg") or kwargs.get("pretrained_cfg_overlay")):
        raise UsageError(
            f"{name} has no weights to download: pretrained must be false. Train it, or load its authors' file with "
            "distilnas.networks.checkpoints.load_published(model, FILE)."
        )
    kwargs["pretrained_cfg"] = kwargs.get("pretrained_cfg") or get_pretrained_cfg(name).to_dict()  # type: ignore[union-attr]
    return distilnas_student(pretrained, architecture=_ENTRIES[name].architecture, **kwargs)  # type: ignore[arg-type]


@register_model
def dna_a(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DNA-a of Li et al., CVPR 2020; arguments as for timm's EfficientNet."""
    return _build("dna_a", pretrained, **kwargs)


@register_model
def dna_b(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DNA-b of Li et al., CVPR 2020; arguments as for timm's EfficientNet."""
    return _build("dna_b", pretrained, **kwargs)


@register_model
def dna_c(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DNA-c of Li et al., CVPR 2020; arguments as for timm's EfficientNet."""
    return _build("dna_c", pretrained, **kwargs)


@register_model
def dna_d(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """DNA-d of Li et al., CVPR 2020; arguments as for timm's EfficientNet."""
    return _build("dna_d", pretrained, **kwargs)
