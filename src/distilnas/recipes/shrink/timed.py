"""Latency in a shrinking run: the table of its library, and students that are measured inside a limit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilnas.checksums import file_sum
from distilnas.files import read_json, write_json
from distilnas.latency import LatencySettings, Timing, measure
from distilnas.latency.design import design_key, design_of, whole_piece
from distilnas.latency.keep import LATENCY, Clocked, Kept, keep
from distilnas.latency.measuring import device_of
from distilnas.latency.table import LatencyTable, cache_folder, measure_table, read_table
from distilnas.recipes.frame import Job, Step
from distilnas.recipes.planning.bench import Plan
from distilnas.recipes.planning.forecast import StepForecast
from distilnas.recipes.settings import plain
from distilnas.runtime.progress import Progress
from distilnas.solve import Limit
from distilnas.surgery.choose import Chosen, least_choice
from distilnas.surgery.library import Library, Trunk
from distilnas.surgery.peaks import without_peak
from distilnas.tables.measures import ADDITIVE

_MOST_SHOWN = 40  # forms of a unit in the report
_SECONDS_EACH = 0.3  # of measuring a student in each process


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedShelf:
    """The table of a library's latency, and the library as searches that know it."""

    table: LatencyTable
    trunks: tuple[Trunk, ...]


@dataclass(frozen=True, kw_only=True)
class MeasureLatency(Step[Job[Any, Any], TimedShelf]):
    """What the parts of the library ``of`` take on a device, and how they add up."""

    name: str = "latency"
    of: Step[Job[Any, Any], Any]

    def applies(self, settings: Any) -> bool:
        return any(LATENCY in budget for budget in settings.budgets)

    def keys(self, job: Job[Any, Any]) -> dict[str, Any]:
        asked: LatencySettings = job.settings.latency
        where = {"table_sha256": file_sum(Path(asked.table))} if asked.table else device_of(asked)
        return {"library": job.key(self.of), "latency": plain(asked), **where}

    def work(self, job: Job[Any, Any], folder: Path) -> dict[str, Any]:
        asked, library = job.settings.latency, job.get(self.of).library
        design = design_of(library)
        if asked.table:
            table = read_table(Path(asked.table), design_key(library, design))
        else:
            table = measure_table(library, design, asked, cache=cache_folder(), progress=job.progress)
        write_json(folder / "table.json", table.to_dict())
        if table.doubt:
            job.progress.message(f"  mind: {table.doubt}")
        job.progress.message(f"  the teacher takes {table.teacher} ms; the sum of parts misses by {table.error:.1%}")
        return {
            **plain(table.settings),
            "version": table.version,
            "processor": table.processor,
            "measured_here": not table.elsewhere,
            "teacher_ms": [table.teacher.median, table.teacher.low, table.teacher.high],
            "error": table.error,
            "wholes": [plain(one) for one in table.wholes],
            "candidates": _shares(library.trunks(ADDITIVE, {LATENCY: table})[0]),
            "doubt": table.doubt,
        }

    def probe(self, plan: Plan[Any, Any]) -> StepForecast:
        return StepForecast(name=self.name, note="minutes, not forecast")

    def load(self, job: Job[Any, Any]) -> TimedShelf:
        table = LatencyTable.from_dict(read_json(job.do(self).folder / "table.json"))
        return TimedShelf(table=table, trunks=job.get(self.of).library.trunks(ADDITIVE, {LATENCY: table}))


def _shares(trunk: Trunk) -> list[dict[str, Any]]:
    """Of the forms of each unit: how much of its MACs and of its latency is left."""
    found = []
    for number, family in enumerate(trunk.families):
        for unit in family.forms[0].units:
            macs, ms = unit.costs["macs"], unit.costs[LATENCY]
            some = [i for i, numbers in enumerate(unit.options) if numbers is not None][1:]
            if macs[0] > 0 and ms[0] > 0 and some:
                step = max(1, len(some) // _MOST_SHOWN)
                points = [[float(macs[i] / macs[0]), float(ms[i] / ms[0])] for i in some[::step]]
                found.append({"block": number, "name": family.name, "shares": points})
    return found


def kept_inside(
    library: Library,
    timed: TimedShelf,
    limits: Sequence[Limit],
    propose: Callable[[Sequence[Limit]], list[Chosen]],
    progress: Progress,
) -> Kept:
    """See ``keep``; students are measured with the teacher, as networks of their size.

    With a table from elsewhere they are judged by it alone.
    """
    table = timed.table

    def clock(some: Sequence[Chosen]) -> list[Timing]:
        if table.elsewhere:
            return [table.guess(one.choice) for one in some]
        choices = [library.whole(), *(one.choice for one in some)]
        rows = [[whole_piece(library, choice, table.settings)] for choice in choices]
        found = measure(rows, table.settings, seconds=_SECONDS_EACH * len(rows), progress=progress)
        same = Timing(median=1.0, low=1.0, high=1.0)
        ratios = [same if choice == choices[0] else found.ratio(row, 0) for row, choice in enumerate(choices)][1:]
        estimated = (one.solution.costs[LATENCY] for one in some)
        pairs = [f"{ms:.3g} -> {r.median * table.teacher.median:.3g}" for ms, r in zip(estimated, ratios, strict=True)]
        progress.message(f"  latency of students, estimated -> measured (ms): {', '.join(pairs)}")
        return ratios

    def fastest(limits: Sequence[Limit]) -> list[Chosen]:
        return [least_choice(timed.trunks, without_peak(limits), LATENCY)]

    return keep(limits, table.teacher.median, propose, fastest, clock)


def latency_record(kept: Kept, chosen: Chosen, limits: Sequence[Limit], table: LatencyTable) -> dict[str, Any]:
    """What a run keeps of the loop: the student ``chosen``, and all that were tried."""
    limit = next(limit for limit in limits if limit.cost == LATENCY)
    own = next(one for one in kept.tried if one.chosen.choice == chosen.choice)
    return {
        "limit_ms": limit.max,
        **_times(own, table),
        "ratio": [own.ratio.median, own.ratio.low, own.ratio.high],
        "rounds": kept.rounds,
        "tried": [{**_times(one, table), "macs": int(one.chosen.solution.costs["macs"])} for one in kept.tried],
    }


def _times(one: Clocked, table: LatencyTable) -> dict[str, Any]:
    teacher = table.teacher.median
    interval = [one.ratio.low * teacher, one.ratio.high * teacher]
    return {
        "estimate_ms": one.estimate_ms,
        "measured_ms": one.ratio.median * teacher,
        "interval_ms": interval,
        "inside": one.inside,
    }


def latency_summary(record: Mapping[str, Any], limit_ms: float) -> dict[str, Any]:
    """What ``summary.json`` says of the device."""
    told = ("runtime", "version", "device", "processor", "threads", "batch", "measured_here")
    named = (*told, "error", "doubt", "wholes", "candidates")
    return {**{name: record[name] for name in named if name in record}, "limit_ms": limit_ms}
