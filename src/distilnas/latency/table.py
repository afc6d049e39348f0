"""The latency of every student of a library, estimated from pieces and fitted to whole networks."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from distilnas.errors import UsageError
from distilnas.files import read_json, write_json
from distilnas.latency.design import Design, design_key, rows_of
from distilnas.latency.intervals import Timing
from distilnas.latency.measuring import Measurement, device_of, measure
from distilnas.latency.settings import LatencySettings
from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.surgery.families import Numbers
from distilnas.surgery.library import Choice, Library, own_units

SCHEMA = 1
TABLE_SECONDS = 10.0
TABLE_PROCESSES = 3


@dataclass(frozen=True, kw_only=True)
class UnitTimes:
    """Milliseconds of a unit: ``full``, and ``saved[group]`` by number of elements kept, the others full.

    Cut in several groups it is t = full - sum d_g + e2(d) rest, where d_g is what group g alone saves and e2(d) the sum
    of the products of any two: exact for what is bilinear in the numbers kept, as the work of layers between two cut
    groups is. ``rest`` is such that t holds where all groups are cut as far as they go, which is measured.
    """

    full: float
    saved: tuple[Mapping[int, float], ...]
    rest: float = 0.0

    def ms(self, numbers: Sequence[int]) -> float:
        """Of the unit with so many elements in each group; never negative."""
        saved = [found.get(number, 0.0) for found, number in zip(self.saved, numbers, strict=True)]
        return max(0.0, self.full - sum(saved) + self.rest * _pairs(saved))

    def between(self, full: float, least: float, fewest: Sequence[int]) -> "UnitTimes":
        """The unit elsewhere, where it takes ``full`` as it is and ``least`` with the ``fewest`` elements: all else
        lies between as it does here."""
        span = self.full - self.ms(fewest)
        scale = max(0.0, full - least) / span if span > 0 else 0.0
        saved = tuple({number: scale * ms for number, ms in group.items()} for group in self.saved)
        return UnitTimes(full=full, saved=saved, rest=self.rest / scale if scale else 0.0)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Total = ``fixed`` + ``scale`` times the sum of the pieces + ``each`` times their number.

    A piece run alone pays for being called, and for laying out its input and output as others want them, which inside a
    network it does not: ``each`` takes that back.
    """

    fixed: float
    scale: float
    each: float


@dataclass(frozen=True, kw_only=True)
class WholeTime:
    """A network that the fit was made from: its sum of pieces and their number, measured, and as the fit says when it
    is made without it."""

    sum_ms: float
    pieces: int
    measured_ms: float
    estimate_ms: float


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """``design``: its key. ``units`` in their order by the side of the images (0: the teacher's), ``heads`` by the unit
    they stand behind; ``teacher``: measured. ``elsewhere``: not on this machine."""

    design: str
    settings: LatencySettings
    version: str
    processor: str
    units: Mapping[int, tuple[UnitTimes, ...]]
    heads: Mapping[int, float]
    fit: Fit
    teacher: Timing
    wholes: tuple[WholeTime, ...]
    doubt: str | None = None
    elsewhere: bool = False

    def unit(self, i: int, numbers: Numbers, *, side: int | None = None) -> float:
        """What a unit adds to the estimate; the first unit, which is always there, has the fixed part."""
        if numbers is None:
            return 0.0
        return self._inside(self.units[side or 0][i].ms(numbers)) + (self.fit.fixed if i == 0 else 0.0)

    def head(self, last: int, *, side: int | None = None) -> float:
        """What the classifier of an early end adds."""
        return self._inside(self.heads[last])

    def estimate(self, choice: Choice) -> float:
        """Milliseconds of a student of the teacher's units alone."""
        total = sum(self.unit(i, numbers, side=choice.side) for i, numbers in own_units(choice))
        return total + (self.head(len(choice.kept) - 1) if choice.early else 0.0)

    def guess(self, choice: Choice) -> Timing:
        """The estimate over the teacher's latency, with the most that the fit missed any network by on both sides."""
        ratio = self.estimate(choice) / self.teacher.median
        worst = max(abs(one.estimate_ms / one.measured_ms - 1) for one in self.wholes)
        return Timing(median=ratio, low=ratio * (1 - worst), high=ratio * (1 + worst))

    @property
    def error(self) -> float:
        """Median share by which the fit misses a network that it was made without."""
        return float(np.median([abs(one.estimate_ms / one.measured_ms - 1) for one in self.wholes]))

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LatencyTable":
        """The inverse of ``to_dict`` after JSON, whose keys are texts."""
        units = {
            int(side): tuple(
                UnitTimes(full=one["full"], rest=one["rest"], saved=tuple(_by_number(group) for group in one["saved"]))
                for one in some
            )
            for side, some in data["units"].items()
        }
        return cls(
            design=data["design"],
            settings=LatencySettings(**data["settings"]),
            version=data["version"],
            processor=data["processor"],
            units=units,
            heads=_by_number(data["heads"]),
            fit=Fit(**data["fit"]),
            teacher=Timing(**data["teacher"]),
            wholes=tuple(WholeTime(**one) for one in data["wholes"]),
            doubt=data["doubt"],
            elsewhere=data["elsewhere"],
        )

    def _inside(self, ms: float) -> float:
        return max(0.0, self.fit.scale * ms + self.fit.each)


def measure_table(
    library: Library,
    design: Design,
    settings: LatencySettings,
    *,
    cache: Path | None = None,
    seconds: float = TABLE_SECONDS,
    processes: int = TABLE_PROCESSES,
    progress: Progress | None = None,
) -> LatencyTable:
    """Write the pieces, measure them all by turns, and fit.

    ``cache``: a folder that keeps tables by the work of all pieces, runtime, its version, processor and settings.
    """
    progress = progress or SilentProgress()
    key, rows = design_key(library, design), rows_of(library, design, settings, progress)
    keys = [[piece.key for piece in row] for row in rows]
    kept = cache / f"{_digest(key, keys, asdict(settings), device_of(settings))}.json" if cache else None
    if kept and kept.exists():
        progress.message(f"  latency: as measured before, {kept}")
        return read_table(kept, key)
    distinct = len({one for row in keys for one in row})
    told = (
        f"{distinct} different pieces and networks in {settings.runtime}, {processes} times {seconds:g} s of processor"
    )
    progress.message(f"  measuring latency: {told}")
    measured = measure(rows, settings, seconds=seconds, processes=processes, progress=progress)
    table = table_from(key, design, keys, measured, settings)
    if kept:
        write_json(kept, table.to_dict())
    return table


def cache_folder() -> Path:
    """Where tables are kept from run to run."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distilnas" / "latency"


def read_table(path: Path, key: str) -> LatencyTable:
    """A table in a file; raises ``UsageError`` for anything else, and for one of another library than ``key``'s."""
    data = read_json(path)
    try:
        table = LatencyTable.from_dict(data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(f"{path} is no table of latencies ({error!r}): import it again.") from error
    if table.design != key:
        raise UsageError(
            f"a table of latencies serves the library that it was measured for, but {path} is of another teacher, "
            "resolution or library: export and measure this one."
        )
    return table


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def table_from(
    key: str, design: Design, keys: Sequence[Sequence[str]], measured: Measurement, settings: LatencySettings
) -> LatencyTable:
    """The table of a ``design`` whose rows were measured; pieces of one key have one time, the median of all."""
    values: dict[str, list[float]] = {}
    for r, row in enumerate(keys):
        for p, work in enumerate(row):
            values.setdefault(work, []).extend(float(np.median(process[r][p])) for process in measured.times)
    ms = {work: float(np.median(some)) for work, some in values.items()}
    forms: dict[int, list[dict[tuple[int, ...], float]]] = {}
    for (side, places), row_keys in zip(design.rows, keys, strict=False):
        units = forms.setdefault(side or 0, [{} for _ in design.forms])
        for i, (at, work) in enumerate(zip(places, row_keys, strict=True)):
            units[i][design.forms[i][at]] = ms[work]
    units = _by_side(forms, design)
    at = len(design.rows)
    heads = {last: ms[keys[at + n][0]] for n, last in enumerate(design.heads)}
    first = at + len(design.heads)
    sums = [_sum(units, heads, choice) for choice in design.wholes]
    found = [measured.ms(first + n).median for n in range(len(design.wholes))]
    return LatencyTable(
        design=key,
        settings=settings,
        version=measured.version,
        processor=measured.processor,
        units=units,
        heads=heads,
        fit=fit(sums, found),
        teacher=measured.ms(first),
        wholes=tuple(_wholes(sums, found)),
        doubt=measured.doubt,
    )


def fit(sums: Sequence[tuple[float, int]], measured: Sequence[float]) -> Fit:
    """Least squares of relative errors; ``sums``: milliseconds and number of pieces of each network.

    ``scale`` is not negative and ``each`` not positive; where networks do not tell ``each`` from ``fixed`` (all have as
    many pieces), it is 0.
    """
    y = np.array(measured)
    a = np.array([[1.0, total, number] for total, number in sums]) / y[:, None]
    tells = len({number for _, number in sums}) > 1
    bounds = ([-np.inf, 0.0, -np.inf if tells else -1e-12], [np.inf, np.inf, 0.0])
    fixed, scale, each = lsq_linear(a, np.ones_like(y), bounds=bounds).x
    return Fit(fixed=float(fixed), scale=float(scale), each=float(each))


def _by_side(forms: Mapping[int, Sequence[Mapping[tuple[int, ...], float]]], design: Design) -> dict[int, tuple]:
    own = tuple(_unit_times(times, some) for times, some in zip(forms[0], design.forms, strict=True))
    found = {0: own}
    for side in design.sides:
        ends = [
            (times[some[0]], times[some[-1]], some[-1]) for times, some in zip(forms[side], design.forms, strict=True)
        ]
        found[side] = tuple(unit.between(*end) for unit, end in zip(own, ends, strict=True))
    return found


def _unit_times(times: Mapping[tuple[int, ...], float], forms: Sequence[tuple[int, ...]]) -> UnitTimes:
    full = forms[0]
    saved: list[dict[int, float]] = [{} for _ in full]
    corner = None
    for form in forms[1:]:
        cut = [g for g, (number, most) in enumerate(zip(form, full, strict=True)) if number < most]
        if len(cut) == 1:
            saved[cut[0]][form[cut[0]]] = times[full] - times[form]
        else:
            corner = form
    rest = 0.0
    if corner is not None:
        all_saved = [found.get(number, 0.0) for found, number in zip(saved, corner, strict=True)]
        pairs = _pairs(all_saved)
        rest = (times[corner] - times[full] + sum(all_saved)) / pairs if abs(pairs) > 1e-12 else 0.0
    return UnitTimes(full=times[full], saved=tuple(saved), rest=rest)


def _pairs(values: Sequence[float]) -> float:
    """Sum of the products of any two."""
    return (sum(values) ** 2 - sum(value**2 for value in values)) / 2


def _sum(units: Mapping[int, Sequence[UnitTimes]], heads: Mapping[int, float], choice: Choice) -> tuple[float, int]:
    parts = [units[choice.side or 0][i].ms(numbers) for i, numbers in own_units(choice)]
    parts += [heads[len(choice.kept) - 1]] if choice.early else []
    return sum(parts), len(parts)


def _wholes(sums: Sequence[tuple[float, int]], measured: Sequence[float]) -> list[WholeTime]:
    found = []
    for n, ((total, number), ms) in enumerate(zip(sums, measured, strict=True)):
        others = fit([*sums[:n], *sums[n + 1 :]], [*measured[:n], *measured[n + 1 :]])
        estimate = others.fixed + others.scale * total + others.each * number
        found.append(WholeTime(sum_ms=total, pieces=number, measured_ms=ms, estimate_ms=estimate))
    return found


def _by_number(data: Mapping[Any, float]) -> dict[int, float]:
    return {int(number): ms for number, ms in data.items()}
