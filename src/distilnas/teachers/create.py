"""Teachers by name (any timm classifier), with weights from the hub or from a local file."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from distilnas.errors import UsageError, nearest

_log = logging.getLogger(__name__)

State = dict[str, Tensor]

_TORCH_FILES = (".pt", ".pth", ".pth.tar", ".bin")
_NESTS = ("state_dict_ema", "model_ema", "state_dict", "model")  # averaged weights first: they are the better teacher
_COUNTER = "num_batches_tracked"  # of batch norms; old files and foreign frameworks do not have it
_ROLES = ("weight", "bias", "running_mean", "running_var")


def create_teacher(
    name: str,
    *,
    num_classes: int,
    pretrained: bool = False,
    weights: Path | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    allow_new_head: bool = False,
    by_order: bool = False,
) -> nn.Module:
    """The timm model ``name`` with ``num_classes`` outputs, in training mode as timm gives it.

    Weights: random, from timm's hub (``pretrained``; a classifier of another number of classes is freshly initialised,
    with a warning), or from a local file (``weights``, read by ``load_weights`` with ``allow_new_head`` and
    ``by_order``). ``model_kwargs`` go to the model's constructor. Raises ``UsageError`` for a name, tag, argument or
    file that does not fit, and when the hub cannot be reached.
    """
    if pretrained and weights is not None:
        raise UsageError(
            f"a teacher's weights come from the hub or from a file, not both: drop pretrained or {weights}."
        )
    _check_name(name, pretrained)
    model = _build(name, num_classes, pretrained, model_kwargs or {})
    if weights is not None:
        load_weights(model, weights, num_classes=num_classes, allow_new_head=allow_new_head, by_order=by_order)
    return model


def load_weights(
    model: nn.Module, path: Path, *, num_classes: int, allow_new_head: bool = False, by_order: bool = False
) -> None:
    """Load the weights and buffers in the file ``path`` into ``model``, all of them.

    Files: .safetensors, or .pt .pth .pth.tar .bin with tensors only, plain or under state_dict, state_dict_ema, model
    or model_ema; a prefix "module." is dropped. A classifier of another number of classes is dropped and ``model``'s
    freshly initialised (``reset_classifier``) if ``allow_new_head``, for fine-tuning. ``by_order`` ignores the names
    and pairs the entries in order, for files of other projects: number, shapes and order must agree.

    Raises ``UsageError``, with ``model`` unchanged, for a file that is missing, damaged or does not fit.
    """
    state = _read_state(path)
    if by_order:
        state = _renamed_in_order(model, state, path)
    head = _head_keys(model)
    classes = _classes(model, state, head, default=num_classes)
    if classes == num_classes:
        head = set()
    elif not allow_new_head:
        raise UsageError(
            f"the classifier in {path} must have num_classes = {num_classes} outputs, but has {classes}: set "
            f"num_classes to {classes}, or allow a new head (allow_new_head) and fine-tune it."
        )
    body = {key: value for key, value in state.items() if key not in head}
    _check_fit(model, body, path, may_lack=head)
    if head:
        timm_model: Any = model
        timm_model.reset_classifier(num_classes)
        _log.warning(
            "classifier of %d classes in %s dropped, one of %d freshly initialised", classes, path, num_classes
        )
    model.load_state_dict(body, strict=False)  # checked above: only a dropped head and counters may be missing
    _log.info("%d entries loaded from %s", len(body), path)


def _check_name(name: str, pretrained: bool) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(name):
        raise UsageError(f"a teacher is a timm model, {name!r} is none: {nearest(architecture, timm.list_models())}")
    published = timm.list_pretrained(f"{architecture}.*") + timm.list_pretrained(architecture)
    if tag and name not in published:
        raise UsageError(f"tag {tag!r} of teacher {name!r} is unknown: {nearest(name, published)}")
    if pretrained and not published:
        raise UsageError(
            f"timm has no pretrained weights of {name}: give a local file (weights), or train the teacher."
        )


def _build(name: str, num_classes: int, pretrained: bool, model_kwargs: Mapping[str, Any]) -> Any:
    try:
        model: Any = timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **model_kwargs)
    except Exception as error:  # constructors, hub and download clients raise almost anything
        if not pretrained or isinstance(error, TypeError):
            raise UsageError(f"teacher {name} cannot be built with arguments {dict(model_kwargs)}: {error}") from error
        raise UsageError(
            f"the pretrained weights of {name} cannot be fetched ({error}). Check the network, or set pretrained to "
            "false and give a local file (weights: a .safetensors or .pth file fetched elsewhere)."
        ) from error
    if pretrained and (trained := model.pretrained_cfg.get("num_classes")) != num_classes:
        _log.warning("%s was trained on %s classes: a new classifier of %d is initialised", name, trained, num_classes)
    return model


def _read_state(path: Path) -> State:
    if not path.is_file():
        raise UsageError(f"weights must be a file, {path} is none: check the path.")
    if not path.name.endswith((".safetensors", *_TORCH_FILES)):
        raise UsageError(f"weights are a .safetensors file or one of {' '.join(_TORCH_FILES)}, got {path}.")
    try:
        stored = load_file(path) if path.suffix == ".safetensors" else _load_tensors_only(path)
    except Exception as error:  # damaged files fail in many ways
        raise UsageError(
            f"{path} must be a whole file that holds tensors only, but cannot be read ({_first_line(error)}). Fetch it "
            "again, or save its state dict alone, best as .safetensors."
        ) from error
    return _unnested(stored, path)


def _load_tensors_only(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _unnested(stored: Any, path: Path) -> State:
    nest = next((key for key in _NESTS if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping)), None)
    state = stored if nest is None else stored[nest]
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        found = _some(map(str, state)) if isinstance(state, Mapping) and state else type(state).__name__
        raise UsageError(
            f"{path} must hold tensors by name, plain or under {', '.join(_NESTS)}; found {found}. Save the state dict "
            "alone."
        )
    if all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)


def _renamed_in_order(model: nn.Module, state: State, path: Path) -> State:
    """``state`` under the model's names, the n-th entry under the n-th name; counters of batch norms are left out."""
    if path.suffix == ".safetensors":
        raise UsageError(
            f"by_order needs a file that keeps the order of its entries; {path} does not: use .pth, or names."
        )
    given = {key: value for key, value in state.items() if not key.endswith(_COUNTER)}
    own = [key for key in model.state_dict() if not key.endswith(_COUNTER)]
    if len(given) != len(own):
        raise UsageError(f"by_order pairs entries one to one, but {path} has {len(given)} and the teacher {len(own)}.")
    for theirs, ours in zip(given, own, strict=True):
        roles = {theirs.rpartition(".")[2], ours.rpartition(".")[2]}
        if len(roles) == 2 and roles.issubset(_ROLES):
            raise UsageError(
                f"by_order needs the teacher's order, but {path} has {theirs} where the teacher has {ours}."
            )
    return dict(zip(own, given.values(), strict=True))


def _head_keys(model: nn.Module) -> set[str]:
    """State-dict keys of a timm model's classifier; none for other networks."""
    timm_model: Any = model
    if not hasattr(timm_model, "get_classifier"):
        return set()
    head = timm_model.get_classifier()
    return {f"{name}.{key}" for name, module in model.named_modules() if module is head for key in module.state_dict()}


def _classes(model: nn.Module, state: State, head: set[str], *, default: int) -> int:
    """Number of classes of the classifier in ``state``; ``default`` if there is none like the model's."""
    own = model.state_dict()
    alike = (key for key in sorted(head) if key in state and state[key].ndim == own[key].ndim)
    return next((len(state[key]) for key in alike if state[key].shape[1:] == own[key].shape[1:]), default)


def _check_fit(model: nn.Module, state: State, path: Path, *, may_lack: set[str]) -> None:
    own = model.state_dict()
    missing = [key for key in own if key not in state and key not in may_lack and not key.endswith(_COUNTER)]
    unexpected = [key for key in state if key not in own]
    mismatched = [
        f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and value.shape != own[key].shape
    ]
    problems = [
        f"{len(keys)} {what} ({_some(keys)})"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatched))
        if keys
    ]
    if problems:
        raise UsageError(
            f"the weights must fit {type(model).__name__} entry by entry, but {path} has {'; '.join(problems)}. Choose "
            "the teacher (and its arguments) that the file belongs to."
        )


def _some(items: Iterable[str], limit: int = 3) -> str:
    listed = list(items)
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
