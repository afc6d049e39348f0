"""The user's own zoo: the architectures that run folders hold, read from their artefacts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distilnas.errors import UsageError, nearest
from distilnas.files import read_json
from distilnas.records.solution import SolvedNetwork
from distilnas.report.read import RunRecord, read_run
from distilnas.space import Architecture
from distilnas.space.darts import AnyArchitecture, parse_architecture
from distilnas.tables.measures import Number, costs_in


@dataclass(frozen=True, kw_only=True)
class RunNetwork:
    """One architecture of one run. ``name`` is the architecture's hash.

    ``roles``: solution, runner-up or diverse (alternatives), front (Pareto front of rating against a cost), random,
    retrained (its student is trained). ``rating`` and ``top1`` (percent, on the run's test images) are None where the
    run has none. ``costs`` hold for the run's ``resolution`` (pixels) and ``num_classes``.
    """

    name: str
    run: str
    roles: tuple[str, ...]
    costs: dict[str, Number]
    rating: float | None
    top1: float | None
    resolution: int
    num_classes: int
    architecture: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values, the costs among them."""
        own = asdict(self)
        return own.pop("costs") | own


def read_networks(folders: Sequence[Path], *, fronts: bool) -> list[RunNetwork]:
    """Every architecture of the runs in ``folders``, each once in its run: solution, alternatives, students, front.

    A folder is a run or holds runs. ``fronts``: also those that are on a Pareto front and nothing else. Raises
    ``UsageError`` for a folder without runs and for damaged artefacts.
    """
    found = [network for run in _runs(folders) for network in _networks(read_run(run))]
    return [network for network in found if fronts or network.roles != ("front",)]


def find_network(networks: Sequence[RunNetwork], prefix: str) -> RunNetwork:
    """The one network whose hash begins with ``prefix``; raises ``UsageError`` when there is none or more than one."""
    found = [network for network in networks if network.name.startswith(prefix)]
    hashes = sorted({network.name for network in found})
    if not found:
        near = nearest(prefix, {network.name for network in networks})
        raise UsageError(f"no architecture of the runs has a hash that begins with {prefix!r}; {near}")
    if len(hashes) > 1:
        raise UsageError(f"{len(hashes)} hashes begin with {prefix!r} ({', '.join(hashes[:4])}); give more digits.")
    if len(found) > 1:
        runs = ", ".join(network.run for network in found)
        raise UsageError(f"{hashes[0]} is in {len(found)} runs ({runs}); give one of them with --run.")
    return found[0]


def _runs(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        deeper = (p.parent for pattern in ("*/run.json", "*/*/run.json") for p in folder.glob(pattern))
        runs = [folder] if (folder / "run.json").is_file() else sorted(deeper)
        if not runs:
            raise UsageError(
                f"{folder} is neither a run nor a folder of runs (no run.json in it); give one with --run."
            )
        yield from runs


def _networks(run: RunRecord) -> list[RunNetwork]:
    """The run's architectures, each with all its roles; none before the run has images, and a teacher or a student."""
    resolution = _resolution(run)
    if run.data is None or resolution is None:
        return []
    common = {"run": str(run.folder), "resolution": resolution, "num_classes": len(run.data.classes)}
    found: dict[str, RunNetwork] = {}
    for fields in (*_solved(run), *_trained(run), *_front(run)):
        network = RunNetwork(**common, **fields)
        seen = found.get(network.name)
        found[network.name] = _merge(seen, network) if seen else network
    return list(found.values())


def _resolution(run: RunRecord) -> int | None:
    """The teacher's; without one, as in a run that only trains a network, that of the first trained student."""
    if run.teacher is not None:
        return run.teacher.preprocessing.resolution
    students = sorted(run.folder.glob("students/*/retrain/student.json"))
    return read_json(students[0])["preprocessing"]["resolution"] if students else None


def _merge(seen: RunNetwork, again: RunNetwork) -> RunNetwork:
    return replace(
        seen,
        roles=tuple(dict.fromkeys((*seen.roles, *again.roles))),
        rating=again.rating if seen.rating is None else seen.rating,
        top1=again.top1 if seen.top1 is None else seen.top1,
    )


def _solved(run: RunRecord) -> Iterator[dict[str, Any]]:
    """What the solver answered: the solution first."""
    if run.solved:
        yield _chosen(run, run.solved.solution, "solution")
        for other in run.solved.alternatives:
            yield _chosen(run, other, other.kind)


def _front(run: RunRecord) -> Iterator[dict[str, Any]]:
    for points in run.front.values():
        for point in points:
            yield _chosen(run, point, "front")


def _chosen(run: RunRecord, found: SolvedNetwork, role: str) -> dict[str, Any]:
    assert run.space  # read_run refuses solutions without a space
    architecture = run.space.architecture(found.choice)
    return _fields(architecture, (role,), found.costs, rating=found.rating)


def _trained(run: RunRecord) -> Iterator[dict[str, Any]]:
    """The students, with the accuracy of those that were tested since they were trained."""
    drawn = {network.hash for network in run.summary.random} if run.summary else set()
    for path in sorted(run.folder.glob("students/*/retrain/step.json")):
        trained, tested = read_json(path), path.parents[1] / "evaluate" / "step.json"
        test = read_json(tested) if tested.exists() else None
        try:
            result = trained["result"]
            architecture = parse_architecture(result["architecture"])
            top1 = test["result"]["top1"] if test and test["inputs"]["retrain"] == trained["key"] else None
            costs = {"macs": result["macs"], "params": result["params"]} | costs_in(result)
        except (KeyError, TypeError) as error:
            raise UsageError(f"{path.parents[1]} is damaged ({error}). Delete it and retrain the student.") from error
        roles = ("random", "retrained") if architecture.fingerprint in drawn else ("retrained",)
        yield _fields(architecture, roles, costs, rating=_rating(run, architecture), top1=top1)


def _rating(run: RunRecord, architecture: AnyArchitecture) -> float | None:
    """The sum of the rating table, where all candidates of the architecture are in it."""
    if not (run.space and run.ratings and isinstance(architecture, Architecture) and run.space.contains(architecture)):
        return None
    total = run.ratings.total(run.space.choice_of(architecture))
    return total if math.isfinite(total) else None


def _fields(
    architecture: AnyArchitecture,
    roles: tuple[str, ...],
    costs: dict[str, Number],
    *,
    rating: float | None,
    top1: float | None = None,
) -> dict[str, Any]:
    return {
        "name": architecture.fingerprint,
        "roles": roles,
        "costs": costs,
        "rating": rating,
        "top1": top1,
        "architecture": str(architecture),
    }
