"""A teacher that is the user's own trained PyTorch module: what a run must know of it."""

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from distilnas.checksums import read_record
from distilnas.data import Preprocessing
from distilnas.errors import UsageError
from distilnas.recipes.settings import OWN, TeacherSettings


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnTeacher:
    """``key`` tells modules of other weights apart. ``module`` is None where a run is continued without it, which goes
    as far as no step needs the teacher's features."""

    key: str
    preprocessing: Preprocessing
    module: nn.Module | None = None

    def copy(self) -> nn.Module:
        """A copy of the module, so that the user's is neither trained nor frozen."""
        if self.module is None:
            raise UsageError(
                "this step needs the run's own teacher: continue the run from Python, run_dna(..., teacher=module)."
            )
        return copy.deepcopy(self.module)


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


def weights_key(module: nn.Module) -> str:
    """First 16 hex digits of a SHA-256: the class, and names, types, shapes and bytes of all weights and buffers."""
    digest = hashlib.sha256(type(module).__qualname__.encode())
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
