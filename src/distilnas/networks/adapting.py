"""What timm's ``create_model`` does to a network it makes, done to a student that is loaded: other inputs, other
classes, a feature extractor, and the record of what its images need."""

from collections.abc import Mapping, Sequence
from typing import Any

from timm.models import adapt_input_conv
from timm.models._features import FeatureGetterNet, FeatureHookNet
from torch import nn

from distilnas.errors import UsageError

_FROM_PREPROCESSING = ("mean", "std", "interpolation", "crop_pct", "crop_mode")


def with_input_channels(model: Any, channels: int) -> None:
    """Adapt the first convolution of ``model`` to images of ``channels``, in place, its weights summed or repeated.

    Raises ``UsageError`` where timm does not know how.
    """
    if type(channels) is not int or channels < 1:
        raise UsageError(f"in_chans is a whole number from 1, got {channels!r}.")
    if channels == model.in_chans:
        return
    first = next((part for part in model.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None or first.in_channels != model.in_chans or first.groups != 1:
        raise UsageError(f"images of {channels} channels need a student that begins with a convolution of them.")
    weight = first.weight.detach()
    if model.in_chans == 1:
        weight = weight.repeat(1, 3, 1, 1) / 3
    try:
        adapted = adapt_input_conv(channels, weight)
    except NotImplementedError as error:
        raise UsageError(
            f"weights for {model.in_chans} channels can't be made into weights for {channels}: give images of "
            f"{model.in_chans}."
        ) from error
    first.weight = nn.Parameter(adapted.to(weight), requires_grad=first.weight.requires_grad)
    first.in_channels = model.in_chans = channels


def with_classes(model: Any, num_classes: int) -> None:
    """Give ``model`` a fresh classifier of ``num_classes`` (0: none), in place, unless it has as many."""
    if type(num_classes) is not int or num_classes < 0:
        raise UsageError(f"num_classes is a whole number from 0, got {num_classes!r}.")
    if num_classes != model.num_classes:
        model.reset_classifier(num_classes)


def settings_for_timm(model: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """timm's ``pretrained_cfg``: what images a student of this ``student.json`` was made for, and its classes."""
    given = config["preprocessing"]
    found = {key: given[key] for key in _FROM_PREPROCESSING if given.get(key) is not None}
    found |= {key: tuple(found[key]) for key in ("mean", "std") if key in found}
    resolution = given.get("resolution", 224)
    return {
        **found,
        "architecture": type(model).__name__,
        "input_size": (model.in_chans, resolution, resolution),
        "num_classes": model.num_classes,
        "pool_size": None,
    }


def extractor(model: Any, out_indices: int | Sequence[int] | None) -> nn.Module:
    """timm's feature extractor around ``model``, in eval mode; see ``load_student``."""
    number = len(model.feature_info)
    if out_indices is None:
        chosen = tuple(range(number))
    elif isinstance(out_indices, int):
        chosen = tuple(range(number))[-out_indices:] if 0 < out_indices <= number else ()
    else:
        chosen = tuple(i + number if type(i) is int and i < 0 else i for i in out_indices)
    if not chosen or not all(type(i) is int and 0 <= i < number for i in chosen):
        raise UsageError(f"out_indices are places among the {number} maps of the student, from 0, got {out_indices!r}.")
    if hasattr(model, "forward_intermediates"):
        return FeatureGetterNet(model, out_indices=chosen).eval()
    return FeatureHookNet(model, out_indices=chosen, no_rewrite=True).eval()
