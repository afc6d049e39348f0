"""A student on disk: ``model.safetensors`` and ``student.json`` in one folder; loading needs no training code.

::

    from distilnas.networks import load_student
    model = load_student("students/3f2a90b1c4d5")   # eval mode; model.student_config holds classes and preprocessing
    logits = model(images)

Schema 1 describes a student by its architecture in our text form, schema 2 one made of its parent's parts by what was
done to each of them. Neither needs the teacher's weights.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from distilnas.checksums import file_sum
from distilnas.errors import UsageError
from distilnas.files import write_bytes, write_json
from distilnas.networks.adapting import extractor, settings_for_timm, with_classes, with_input_channels
from distilnas.networks.chain import ChainNet, build_chain, fingerprint, text_of
from distilnas.networks.darts import DartsNet, build_network
from distilnas.networks.student import StudentNet
from distilnas.space.darts import architecture_from_dict

SCHEMA, CHAIN_SCHEMA = 1, 2
WEIGHTS, CONFIG = "model.safetensors", "student.json"
_NEEDED = {"architecture_hash": str, "num_classes": int, "in_chans": int, "preprocessing": dict}
_OF_SCHEMA: dict[int, dict[str, type]] = {
    SCHEMA: {"architecture": dict},
    CHAIN_SCHEMA: {"parent": dict, "blocks": list, "head": dict},
}

AnyStudent = StudentNet | DartsNet | ChainNet


def save_student(
    folder: Path,
    model: AnyStudent,
    *,
    classes: tuple[str, ...],
    preprocessing: dict[str, Any],
    parent: nn.Module | None = None,
) -> None:
    """Write weights and description of a student; both appear complete or not at all.

    Args:
        preprocessing: what images need before the network: resolution, mean, std, interpolation, crop_pct.
        parent: the network whose parts a ``ChainNet`` is made of, where it is not timm's.

    Raises ``UsageError`` for a ``ChainNet`` that can't be written down (see ``networks.parts.write_part``).
    """
    told = _describe(model, parent)
    config = {
        **told,
        "num_classes": model.num_classes,
        "in_chans": model.in_chans,
        "classes": list(classes),
        "preprocessing": preprocessing,
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in _state(model).items()}
    data = save(tensors, metadata={"architecture_hash": told["architecture_hash"]})
    write_bytes(folder / WEIGHTS, data)
    write_json(folder / CONFIG, config | {"weights_sha256": hashlib.sha256(data).hexdigest()})


def load_student(
    folder: str | Path,
    *,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    parent: nn.Module | None = None,
    **kwargs: Any,
) -> Any:
    """The student of a folder, in eval mode; its ``student_config`` is the content of ``student.json``.

    ``timm.data.resolve_model_data_config`` gives its own preprocessing.

    Args:
        features_only: timm's feature extractor instead, a list of feature maps.
        out_indices: which maps, of one per resolution, or the last so many; all by default.
        num_classes: another number than the student's gives a new classifier (0: none).
        in_chans: another number than the student's adapts the first convolution's weights, as timm does.
        parent: the network whose parts the student is made of, where it is not timm's; copied, but for the weights.
        kwargs: passed on to the network, e.g. ``drop_rate`` for fine-tuning.

    Raises ``UsageError`` for a missing or damaged file, for weights that belong to another architecture, and for a
    student whose parent the installed timm does not have.
    """
    folder = Path(folder)
    config = read_config(folder / CONFIG)
    model = _build(folder, config, parent, kwargs)
    model.student_config = config
    if in_chans is not None:
        with_input_channels(model, in_chans)
    if num_classes is not None:
        with_classes(model, num_classes)
    model.pretrained_cfg = model.default_cfg = settings_for_timm(model, config)
    return extractor(model, out_indices) if features_only else model.eval()


def student_key(folder: str | Path) -> str:
    """First 16 hex digits of the SHA-256 of a student's weights file; raises ``UsageError`` where there is none."""
    try:
        with (Path(folder) / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise UsageError(f"{folder} is no student's folder: {error}.") from error


def _describe(model: AnyStudent, parent: nn.Module | None) -> dict[str, Any]:
    if isinstance(model, ChainNet):
        told = model.describe(parent)
        return {
            "schema": CHAIN_SCHEMA,
            **told,
            "architecture_text": text_of(told),
            "architecture_hash": fingerprint(told),
        }
    return {
        "schema": SCHEMA,
        "architecture": model.architecture.to_dict(),
        "architecture_text": str(model.architecture),
        "architecture_hash": model.architecture.fingerprint,
    }


def _state(model: nn.Module) -> dict[str, Tensor]:
    """All entries; an entry that shares memory with one before it is a copy, as the format wants it."""
    seen: set[int] = set()
    state: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        storage = value.untyped_storage().data_ptr() if value.numel() else 0
        state[key] = value.clone() if storage in seen else value
        seen.add(storage)
    return state


def _build(folder: Path, config: Mapping[str, Any], parent: nn.Module | None, kwargs: dict[str, Any]) -> Any:
    chain = config["schema"] == CHAIN_SCHEMA
    architecture = None if chain else architecture_from_dict(config["architecture"])
    own = fingerprint(config) if architecture is None else architecture.fingerprint
    if own != config["architecture_hash"]:
        raise UsageError(f"{folder / CONFIG} was changed by hand: its architecture and its hash do not agree.")
    _check_sum(folder, config.get("weights_sha256"))
    state = _read_weights(folder / WEIGHTS, own)
    if architecture is None:
        model: Any = build_chain(config, config["num_classes"], parent, **kwargs)
    else:
        model = build_network(architecture, num_classes=config["num_classes"], in_chans=config["in_chans"], **kwargs)
    try:
        model.load_state_dict(state, assign=chain)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise UsageError(f"{folder / WEIGHTS} does not fit {folder / CONFIG}: {reason}") from error
    return model


def _check_sum(folder: Path, wanted: str | None) -> None:
    """Raise ``UsageError`` where the weights are not those that were saved; students of older versions do not say."""
    if wanted is not None and file_sum(folder / WEIGHTS) != wanted:
        raise UsageError(
            f"{folder / WEIGHTS} changed since it was saved (its SHA-256 is not that in {CONFIG}): bring back the "
            "file, or export the student again."
        )


def _read_weights(path: Path, architecture: str) -> dict[str, Tensor]:
    """Tensors by name; equal shapes are not enough: the file must name the architecture it was saved from."""
    try:
        with safe_open(path, framework="pt") as file:
            saved_from = (file.metadata() or {}).get("architecture_hash")
            # copies, since the file's own places are aligned otherwise, which changes the last bits of what is computed
            state = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise UsageError(f"cannot read {path}: {error}; export the student again.") from error
    if saved_from != architecture:
        raise UsageError(
            f"{path} belongs to architecture {saved_from}, {CONFIG} beside it to {architecture}; export the student "
            "again."
        )
    return state


def read_config(path: Path) -> dict[str, Any]:
    """A ``student.json``; raises ``UsageError`` for anything else."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read {path}: {error}; a student folder holds {WEIGHTS} and {CONFIG}.") from error
    schema = config.get("schema") if isinstance(config, dict) else None
    if type(schema) is not int or schema not in _OF_SCHEMA:
        raise UsageError(f"{path} is not a student of schema {SCHEMA} or {CHAIN_SCHEMA}.")
    for key, kind in (_NEEDED | _OF_SCHEMA[schema]).items():
        if not isinstance(config.get(key), kind):
            raise UsageError(f"{path} is damaged: {key} must be a {kind.__name__}; export the student again.")
    return config
