"""What a shrinking run hands over: genotypes from dense to sparse, and which of them no other one beats; no torch."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distilnas.errors import UsageError, nearest
from distilnas.files import read_json, write_json
from distilnas.space.darts import CellwiseGenotype, DartsArchitecture, genotype_from_dict
from distilnas.space.darts.space import DartsSpace

SCHEMA = 1
REASONS = ("event", "periodic", "end")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The supernet's genotype after ``step`` steps.

    Args:
        reason: ``event`` (loss and sparsity in balance, see ``pressure``), ``periodic``, or ``end`` of the search.
        sparsity: S by the run's penalty. ``gamma`` and ``mu``: the pressure that led here.
        ops: candidates that are alive, dead cells included.
        params, macs: of the derived network in the archive's width and resolution.
        loss: moving average of the training loss L.
        accuracy: in percent, of the supernet on held-out training images; None where none was measured.
    """

    reason: str
    step: int
    genotype: CellwiseGenotype
    sparsity: float
    gamma: float
    mu: float
    ops: int
    params: int
    macs: int
    loss: float
    accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise UsageError(f"unknown reason of a snapshot {self.reason!r}; {nearest(str(self.reason), REASONS)}")

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``from_dict`` reads it back."""
        return {**_fields(self), "genotype": self.genotype.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Snapshot":
        """Read the JSON form; raises ``UsageError`` when it is another."""
        try:
            genotype = genotype_from_dict(data["genotype"])
            if not isinstance(genotype, CellwiseGenotype):
                raise UsageError("a snapshot's genotype has the per-cell form, got the DARTS form.")
            return cls(**{**data, "genotype": genotype})
        except (KeyError, TypeError) as error:
            raise UsageError(f"not a snapshot: {error}; valid: what `Snapshot.to_dict` writes.") from error


_ERRORS: Mapping[str, Callable[[Snapshot], float | None]] = {
    "accuracy": lambda snapshot: None if snapshot.accuracy is None else 100 - snapshot.accuracy,
    "loss": lambda snapshot: snapshot.loss,
}


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The snapshots of one run in order of steps, and how the search ended.

    ``width``, ``resolution``, ``num_classes`` and ``in_chans``: of the derived networks that ``params`` and ``macs``
    count.
    """

    space: DartsSpace
    width: int
    resolution: int
    num_classes: int
    in_chans: int = 3
    snapshots: tuple[Snapshot, ...] = ()
    ended: str = ""

    @property
    def events(self) -> tuple[Snapshot, ...]:
        """The snapshots of Pareto events. A short or gently pressed run may have none: then take ``front``."""
        return tuple(snapshot for snapshot in self.snapshots if snapshot.reason == "event")

    def front(self, *, by: str = "accuracy") -> tuple[Snapshot, ...]:
        """The snapshots of all reasons that no other one beats in (macs, error), by rising macs.

        ``by``: ``accuracy``, or ``loss`` where no held-out accuracy was measured. Of equals the latest is kept. Raises
        ``UsageError`` for a snapshot without accuracy.
        """
        if by not in _ERRORS:
            raise UsageError(f"a front is taken by accuracy or loss, got {by!r}; {nearest(by, _ERRORS)}")
        errors = {snapshot.step: _ERRORS[by](snapshot) for snapshot in self.snapshots}
        if None in errors.values():
            raise UsageError(
                "a front by accuracy needs the accuracy of every snapshot, but some have none: give the search "
                "held-out images, fill them in with `rated`, or take by='loss'."
            )
        front: list[Snapshot] = []
        for snapshot in sorted(self.snapshots, key=lambda s: (s.macs, errors[s.step], -s.step)):
            if not front or errors[snapshot.step] < errors[front[-1].step]:  # type: ignore[operator]
                front.append(snapshot)
        return tuple(front)

    def architecture(self, snapshot: Snapshot, *, width: int | None = None) -> DartsArchitecture:
        """The derived network of a snapshot: all its candidates, added up without weights."""
        return self.space.architecture(snapshot.genotype, width=self.width if width is None else width)

    def rated(self, accuracies: Mapping[int, float]) -> "Archive":
        """The archive with the accuracy (percent) of the snapshots at these steps replaced."""
        known = {snapshot.step for snapshot in self.snapshots}
        if unknown := set(accuracies) - known:
            raise UsageError(f"no snapshot was taken at step {min(unknown)}; there are {sorted(known)}.")
        snapshots = tuple(replace(s, accuracy=accuracies.get(s.step, s.accuracy)) for s in self.snapshots)
        return replace(self, snapshots=snapshots)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``from_dict`` reads it back."""
        own = _fields(self) | {"space": asdict(self.space)}
        return {"schema": SCHEMA, **own, "snapshots": [snapshot.to_dict() for snapshot in self.snapshots]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Archive":
        """Read the JSON form; raises ``UsageError`` for another schema or missing parts."""
        if data.get("schema") != SCHEMA:
            raise UsageError(f"an archive of a shrinking run has schema {SCHEMA}, got {data.get('schema')!r}.")
        try:
            space = DartsSpace(**{**data["space"], "primitives": tuple(data["space"]["primitives"])})
            own = {key: value for key, value in data.items() if key not in ("schema", "space", "snapshots")}
            return cls(space=space, snapshots=tuple(map(Snapshot.from_dict, data["snapshots"])), **own)
        except (KeyError, TypeError) as error:
            raise UsageError(f"not an archive: {error}; valid: what `Archive.to_dict` writes.") from error

    def save(self, path: Path) -> None:
        """Write the JSON form."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> "Archive":
        """Read what ``save`` wrote."""
        return cls.from_dict(read_json(path))


def _fields(record: Any) -> dict[str, Any]:
    """The record's own fields, none of them taken apart."""
    return dict(vars(record))
