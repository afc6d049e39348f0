"""A teacher and images that are the user's own objects in Python: what a run must know of them."""

import copy
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import timm
import torch
from torch import nn

from distilnas.checksums import read_record
from distilnas.data import ImageSet, Preprocessing
from distilnas.data.given import key_of
from distilnas.errors import UsageError
from distilnas.recipes.settings import OWN, TeacherSettings


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnTeacher:
    """``key`` tells modules of other weights apart. ``module`` is None where a run is continued without it, which goes
    as far as no step needs the teacher's features."""

    key: str
    preprocessing: Preprocessing
    module: nn.Module | None = None

    @cached_property
    def timm_name(self) -> str | None:
        """The name of timm's model that the module is, of its usual arguments; None for any other."""
        config = getattr(self.module, "pretrained_cfg", None) or {}
        name, number = config.get("architecture"), getattr(self.module, "num_classes", None)
        if self.module is None or number is None or not name or not timm.is_model(name):
            return None
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            usual = timm.create_model(name, num_classes=number)
        shapes, own = ({key: value.shape for key, value in m.state_dict().items()} for m in (usual, self.module))
        return name if shapes == own and repr(usual) == repr(self.module) else None

    def copy(self) -> nn.Module:
        """A copy of the module, so that the user's is neither trained nor frozen."""
        if self.module is None:
            raise UsageError(
                "this step needs the run's own teacher: continue the run from Python and hand the module in again "
                "(distilnas.shrink(module, ...), or run_dna(..., teacher=module))."
            )
        return copy.deepcopy(self.module)


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnImages:
    """Image sets of the user's, in place of a source that settings can name. Without ``test`` a share is split off."""

    train: ImageSet
    test: ImageSet | None = None

    @property
    def key(self) -> str:
        """What tells such images from others; stands where settings have a path."""
        keys = [key_of(part) for part in (self.train, self.test) if part is not None]
        return "-".join(keys)


def own_teacher(
    settings: TeacherSettings, module: nn.Module | None, preprocessing: Preprocessing | None, run: Path
) -> OwnTeacher | None:
    """The user's module for a run, as given or as ``run`` remembers it; None for a timm teacher."""
    if settings.model != OWN:
        if module is not None:
            raise UsageError(
                f"two teachers: a module was given and teacher.model={settings.model}; set teacher.model={OWN}."
            )
        return None
    record = run / "teacher" / "step.json"
    if module is None and record.exists():
        inputs = read_record(record.parent)["inputs"]
        return OwnTeacher(key=inputs["own"], preprocessing=Preprocessing.from_dict(inputs["preprocessing"]))
    if module is None or preprocessing is None:
        missing = "teacher=module" if module is None else "preprocessing=Preprocessing(resolution=...)"
        raise UsageError(
            f"teacher.model={OWN} needs your PyTorch module and its preprocessing: call run_dna(..., {missing})."
        )
    return OwnTeacher(key=weights_key(module), preprocessing=preprocessing, module=module)


def check_own(settings: TeacherSettings, own: OwnTeacher | None) -> None:
    """Raise ``UsageError`` for a forecast with a teacher of the user's own that was not given."""
    if settings.model == OWN and own is None:
        raise UsageError(
            f"teacher.model={OWN} is a module of your own: forecast from Python, plan(..., own=OwnTeacher(...))."
        )


def weights_key(module: nn.Module) -> str:
    """First 16 hex digits of a SHA-256: the class, and names, types, shapes and bytes of all weights and buffers."""
    digest = hashlib.sha256(type(module).__qualname__.encode())
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
