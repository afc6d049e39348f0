"""Teachers by name (any timm classifier), with weights from the hub or from a local file."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from torch import nn

import distilnas.networks  # noqa: F401 - timm must know our networks, which may be teachers
from distilnas.errors import UsageError, nearest
from distilnas.runtime.weights import (
    COUNTER,
    State,
    agrees_in_order,
    check_fit,
    head_keys,
    read_state,
    stored_classes,
    without_prefix,
)

_log = logging.getLogger(__name__)

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
    check_teacher_name(name, pretrained)
    model = _build(name, num_classes, pretrained, model_kwargs or {})
    if weights is not None:
        load_weights(model, weights, num_classes=num_classes, allow_new_head=allow_new_head, by_order=by_order)
    return model


def load_weights(
    model: nn.Module, path: Path, *, num_classes: int, allow_new_head: bool = False, by_order: bool = False
) -> None:
    """Load the weights and buffers in the file ``path`` into ``model``, all of them.

    Files: as ``read_state`` has them; a prefix before all of the model's names is dropped, with a warning. A classifier
    of another number of classes is dropped and ``model``'s freshly initialised (``reset_classifier``) if
    ``allow_new_head``, for fine-tuning. ``by_order`` ignores the names and pairs the entries in order, for files of
    other projects: number, shapes and order must agree.

    Raises ``UsageError``, with ``model`` unchanged, for a file that is missing, damaged or does not fit.
    """
    state = read_state(path)
    state = _renamed_in_order(model, state, path) if by_order else without_prefix(model, state, path)
    head = head_keys(model)
    classes = stored_classes(model, state, default=num_classes)
    if classes == num_classes:
        head = set()
    elif not allow_new_head:
        raise UsageError(
            f"the classifier in {path} has {classes} outputs, the images have {num_classes} classes: fine-tune a new "
            "classifier on them (teacher.fit.epochs=5; allow_new_head of load_weights), or give images of the "
            f"{classes} classes."
        )
    body = {key: value for key, value in state.items() if key not in head}
    check_fit(
        model,
        body,
        path,
        may_lack=head,
        advice=_advice(model, state, path),
    )
    if head:
        timm_model: Any = model
        timm_model.reset_classifier(num_classes)
        _log.warning(
            "classifier of %d classes in %s dropped, one of %d freshly initialised", classes, path, num_classes
        )
    model.load_state_dict(body, strict=False)  # checked above: only a dropped head and counters may be missing
    _log.info("%d entries loaded from %s", len(body), path)


def _advice(model: nn.Module, state: State, path: Path) -> str:
    """What to do about entries that do not fit by name."""
    if agrees_in_order(model, state) and path.suffix != ".safetensors":
        return (
            "Only the names differ, the shapes agree in order: set teacher.weights_by_order=true to take them in the "
            "order of the file."
        )
    return "Choose the teacher that the file belongs to (teacher.model, and teacher.model_kwargs for its arguments)."


def check_teacher_name(name: str, pretrained: bool) -> None:
    """Raise ``UsageError`` unless timm has the model, and weights of it where they are wanted."""
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


def _renamed_in_order(model: nn.Module, state: State, path: Path) -> State:
    """``state`` under the model's names, the n-th entry under the n-th name; counters of batch norms are left out."""
    if path.suffix == ".safetensors":
        raise UsageError(
            f"by_order needs a file that keeps the order of its entries; {path} does not: use .pth, or names."
        )
    given = {key: value for key, value in state.items() if not key.endswith(COUNTER)}
    own = [key for key in model.state_dict() if not key.endswith(COUNTER)]
    if len(given) != len(own):
        raise UsageError(f"by_order pairs entries one to one, but {path} has {len(given)} and the teacher {len(own)}.")
    for theirs, ours in zip(given, own, strict=True):
        roles = {theirs.rpartition(".")[2], ours.rpartition(".")[2]}
        if len(roles) == 2 and roles.issubset(_ROLES):
            raise UsageError(
                f"by_order needs the teacher's order, but {path} has {theirs} where the teacher has {ours}."
            )
    return dict(zip(own, given.values(), strict=True))
