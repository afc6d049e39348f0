"""A student on disk: ``model.safetensors`` and ``student.json`` in one folder; loading needs no training code.

::

    from distilnas.networks import load_student
    model = load_student("students/3f2a90b1c4d5")   # eval mode; model.student_config holds classes and preprocessing
    logits = model(images)
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from timm.models._features import FeatureGetterNet, FeatureHookNet
from torch import Tensor

from distilnas.errors import UsageError
from distilnas.files import write_bytes, write_json
from distilnas.networks.darts import DartsNet, build_network
from distilnas.networks.student import StudentNet
from distilnas.space.darts import AnyArchitecture, architecture_from_dict

SCHEMA = 1
WEIGHTS, CONFIG = "model.safetensors", "student.json"
_NEEDED = {"architecture": dict, "architecture_hash": str, "num_classes": int, "in_chans": int}


def save_student(
    folder: Path, model: StudentNet | DartsNet, *, classes: tuple[str, ...], preprocessing: dict[str, Any]
) -> None:
    """Write weights and description of a student; both appear complete or not at all.

    Args:
        preprocessing: what images need before the network: resolution, mean, std, interpolation, crop_pct.
    """
    config = {
        "schema": SCHEMA,
        "architecture": model.architecture.to_dict(),
        "architecture_text": str(model.architecture),
        "architecture_hash": model.architecture.fingerprint,
        "num_classes": model.num_classes,
        "in_chans": model.in_chans,
        "classes": list(classes),
        "preprocessing": preprocessing,
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(tensors, metadata={"architecture_hash": model.architecture.fingerprint}))
    write_json(folder / CONFIG, config)


def load_student(folder: str | Path, *, features_only: bool = False, **kwargs: Any) -> Any:
    """The student of a folder, in eval mode; its ``student_config`` is the content of ``student.json``.

    Args:
        features_only: timm's feature extractor instead (a list of feature maps, one per resolution).
        kwargs: passed on to the network, e.g. ``drop_rate`` for fine-tuning.

    Raises ``UsageError`` for a missing or damaged file, or weights that belong to another architecture.
    """
    folder = Path(folder)
    config = _read_config(folder / CONFIG)
    architecture = architecture_from_dict(config["architecture"])
    if architecture.fingerprint != config["architecture_hash"]:
        raise UsageError(f"{folder / CONFIG} was changed by hand: its architecture and its hash do not agree.")
    state = _read_weights(folder / WEIGHTS, architecture)
    model = build_network(architecture, num_classes=config["num_classes"], in_chans=config["in_chans"], **kwargs)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise UsageError(f"{folder / WEIGHTS} does not fit {folder / CONFIG}: {reason}") from error
    model.student_config = config
    if features_only:
        maps = tuple(range(len(model.feature_info)))
        if isinstance(model, DartsNet):
            return FeatureHookNet(model, out_indices=maps, no_rewrite=True).eval()
        return FeatureGetterNet(model, out_indices=maps).eval()
    return model.eval()


def student_key(folder: str | Path) -> str:
    """First 16 hex digits of the SHA-256 of a student's weights file; raises ``UsageError`` where there is none."""
    try:
        with (Path(folder) / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise UsageError(f"{folder} is no student's folder: {error}.") from error


def _read_weights(path: Path, architecture: AnyArchitecture) -> dict[str, Tensor]:
    """Tensors by name; equal shapes are not enough: the file must name the architecture it was saved from."""
    try:
        with safe_open(path, framework="pt") as file:
            saved_from = (file.metadata() or {}).get("architecture_hash")
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise UsageError(f"cannot read {path}: {error}; export the student again.") from error
    if saved_from != architecture.fingerprint:
        raise UsageError(
            f"{path} belongs to architecture {saved_from}, {CONFIG} beside it to {architecture.fingerprint}; "
            "export the student again."
        )
    return state


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}; a student folder holds {WEIGHTS} and {CONFIG}.") from error
    if not isinstance(config, dict) or config.get("schema") != SCHEMA:
        raise UsageError(f"{path} is not a student of schema {SCHEMA}.")
    for key, kind in _NEEDED.items():
        if not isinstance(config.get(key), kind):
            raise UsageError(f"{path} is damaged: {key} must be a {kind.__name__}; export the student again.")
    return config
