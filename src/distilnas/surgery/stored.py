"""A library on disk: what was kept, fitted and rated, beside the teacher that it was made from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from distilnas.errors import UsageError
from distilnas.surgery.cells import new_cell
from distilnas.surgery.chain import Unit
from distilnas.surgery.exits import new_head
from distilnas.surgery.grafts import Cuttable, Graft
from distilnas.surgery.groups import InnerGroup
from distilnas.surgery.library import Library, Place, Replacement
from distilnas.surgery.linear import LINEAR, new_linear
from distilnas.surgery.rate import Rating
from distilnas.surgery.refit import Fit
from distilnas.tables.files import read_arrays, write_arrays

SCHEMA = 3
_Arrays = dict[str, np.ndarray]
Module = TypeVar("Module", bound=nn.Module)


def save_library(path: Path, library: Library) -> None:
    """Write one .npz file; ``load_library`` reads it back for the same units."""
    arrays: _Arrays = {}
    for i, parts in enumerate(library.parts):
        for g, part in enumerate(parts):
            for number, graft in zip(part.options[1:], part.grafts, strict=True):
                arrays |= _graft_arrays(f"graft/{i}/{g}/{number}", graft)
                arrays |= _rating_arrays(f"width/{i}/{g}/{number}", library.widths[i][g][number])
    for out, rating in library.drops.items():
        arrays |= _rating_arrays(f"drop/{_joined(out)}", rating)
    for i, rating in library.exits.items():
        arrays |= _rating_arrays(f"exit/{i}", rating)
        arrays |= _state_arrays(f"head/{i}", library.heads[i])
    for n, made in enumerate(library.replacements.values()):
        arrays |= _rating_arrays(f"new/{n}", made.rating) | _state_arrays(f"new/{n}/module", made.module)
    for side, rating in library.sides.items():
        arrays |= _rating_arrays(f"side/{side}", rating)
    meta = {
        "kind": "library",
        "schema": SCHEMA,
        "units": [unit.name for unit in library.units],
        "options": [[[part.group.name, list(part.options)] for part in parts] for parts in library.parts],
        "drops": [list(out) for out in library.drops],
        "exits": sorted(library.exits),
        "replacements": [list(place) for place in library.replacements],
        "sides": sorted(library.sides),
    }
    write_arrays(path, arrays, meta)


def load_library(path: Path, units: Sequence[Unit]) -> Library:
    """The library of ``units``; raises ``UsageError`` for a damaged file and for one of other units."""
    arrays, meta = read_arrays(path, kind="library", schema=SCHEMA)
    if meta["units"] != [unit.name for unit in units]:
        raise UsageError(f"{path} is the library of another teacher: delete its step and run again.")
    try:
        return _library(arrays, meta, units)
    except (KeyError, RuntimeError, StopIteration) as error:
        raise UsageError(f"{path} does not fit its teacher ({error}): delete its step and run again.") from error


def _library(arrays: _Arrays, meta: Mapping[str, Any], units: Sequence[Unit]) -> Library:
    parts, widths = [], []
    for i, (unit, options) in enumerate(zip(units, meta["options"], strict=True)):
        groups = {group.name: group for group in unit.groups}
        numbered = [(g, groups[name], tuple(some)) for g, (name, some) in enumerate(options)]
        parts.append(tuple(_cuttable(arrays, f"graft/{i}/{g}", group, some) for g, group, some in numbered))
        widths.append(tuple({n: _rating(arrays, f"width/{i}/{g}/{n}") for n in some[1:]} for g, _, some in numbered))
    heads = {}
    for i in meta["exits"]:
        head = new_head(units[i], len(arrays[f"head/{i}/fc.bias"]))
        heads[i] = _filled(head, arrays, f"head/{i}/")
    replacements = {}
    for n, (first, last, text) in enumerate(meta["replacements"]):
        ends = units[first], units[last]
        module = _filled(new_linear(*ends) if text == LINEAR else new_cell(text, *ends), arrays, f"new/{n}/module/")
        replacements[Place(first, last, text)] = Replacement(module=module, rating=_rating(arrays, f"new/{n}"))
    return Library(
        units=tuple(units),
        parts=tuple(parts),
        widths=tuple(widths),
        drops={tuple(out): _rating(arrays, f"drop/{_joined(out)}") for out in meta["drops"]},
        exits={i: _rating(arrays, f"exit/{i}") for i in meta["exits"]},
        heads=heads,
        replacements=replacements,
        sides={side: _rating(arrays, f"side/{side}") for side in meta["sides"]},
    )


def _cuttable(arrays: _Arrays, where: str, group: InnerGroup, options: tuple[int, ...]) -> Cuttable:
    grafts = tuple(_graft(arrays, f"{where}/{number}") for number in options[1:])
    return Cuttable(group=group, options=options, grafts=grafts)


def _state_arrays(where: str, module: nn.Module) -> _Arrays:
    return {f"{where}/{key}": value.detach().cpu().numpy() for key, value in module.state_dict().items()}


def _filled(module: Module, arrays: _Arrays, prefix: str) -> Module:
    module.load_state_dict({key: torch.from_numpy(value) for key, value in _below(arrays, prefix)})
    return module


def _graft_arrays(where: str, graft: Graft) -> _Arrays:
    """Weights in the precision that layers have."""
    arrays = {f"{where}/kept": graft.kept, f"{where}/error": np.array(graft.error)}
    for path, fit in graft.fits.items():
        arrays[f"{where}/weight/{path}"] = fit.weight.astype(np.float32)
        arrays[f"{where}/constant/{path}"] = fit.constant.astype(np.float32)
        arrays[f"{where}/ridge/{path}"] = np.array(fit.ridge)
    return arrays


def _graft(arrays: _Arrays, where: str) -> Graft:
    constants = dict(_below(arrays, f"{where}/constant/"))
    ridges = dict(_below(arrays, f"{where}/ridge/"))
    fits = {
        path: Fit(weight=weight, constant=constants[path], ridge=float(ridges[path]))
        for path, weight in _below(arrays, f"{where}/weight/")
    }
    return Graft(kept=arrays[f"{where}/kept"], fits=fits, error=float(arrays[f"{where}/error"]))


def _rating_arrays(where: str, rating: Rating) -> _Arrays:
    return {f"{where}/rating": np.array([rating.mean, rating.stderr]), f"{where}/batches": rating.batches}


def _rating(arrays: _Arrays, where: str) -> Rating:
    mean, stderr = arrays[f"{where}/rating"]
    return Rating(mean=float(mean), stderr=float(stderr), batches=arrays[f"{where}/batches"])


def _below(arrays: _Arrays, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    return ((key.removeprefix(prefix), value) for key, value in arrays.items() if key.startswith(prefix))


def _joined(out: Sequence[int]) -> str:
    return "-".join(map(str, out))
