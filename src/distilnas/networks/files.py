"""A student on disk: ``model.safetensors`` and ``student.json`` in one folder; loading needs no training code.

::

    from distilnas.networks import load_student
    model = load_student("students/3f2a90b1c4d5")       # eval mode; model.student_config holds classes and preprocessing
    logits = model(images)
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from timm.models import create_model

from distilnas.errors import UsageError
from distilnas.networks.student import StudentNet
from distilnas.files import write_bytes, write_json
from distilnas.space import Architecture

SCHEMA = 1
WEIGHTS, CONFIG = "model.safetensors", "student.json"


def save_student(folder: Path, model: StudentNet, *, classes: tuple[str, ...], preprocessing: dict[str, Any]) -> None:
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
    """The student of a folder, in eval mode.

    Args:
        features_only: timm's feature extractor instead (a list of feature maps, one per resolution).
        kwargs: passed on to the network, e.g. ``drop_rate`` for fine-tuning.

    Raises ``UsageError`` for a missing or damaged file, or weights that belong to another architecture.
    """
    folder = Path(folder)
    config = _read_config(folder / CONFIG)
    architecture = Architecture.from_dict(config["architecture"])
    if architecture.fingerprint != config["architecture_hash"]:
        raise UsageError(f"{folder / CONFIG} was changed by hand: its architecture and its hash do not agree.")
    try:
        state = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"cannot read {folder / WEIGHTS}: {error}; export the student again.") from error
    model = StudentNet(architecture, num_classes=config["num_classes"], in_chans=config["in_chans"], **kwargs)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(f"{folder / WEIGHTS} does not fit {folder / CONFIG}: {str(error).splitlines()[1].strip()}") from error
    if features_only:
        return _features(model, architecture, config)
    model.student_config = config
    return model.eval()


def _features(model: StudentNet, architecture: Architecture, config: dict[str, Any]) -> Any:
    extractor = create_model(
        "distilnas_student",
        architecture=architecture,
        features_only=True,
        num_classes=config["num_classes"],
        in_chans=config["in_chans"],
    )
    own = extractor.state_dict()
    weights = {f"model.{key}": value for key, value in model.state_dict().items()}
    extractor.load_state_dict({key: weights[key] for key in own})
    return extractor.eval()


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}; a student folder holds {WEIGHTS} and {CONFIG}.") from error
    if not isinstance(config, dict) or config.get("schema") != SCHEMA:
        raise UsageError(f"{path} is not a student of schema {SCHEMA}.")
    return config
