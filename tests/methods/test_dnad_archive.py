"""Snapshots and their front, against brute force; JSON; derived networks."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilnas.costing import profile
from distilnas.errors import UsageError
from distilnas.methods.dnad import Archive, Snapshot
from distilnas.methods.dnad.costs import derived_counts
from distilnas.networks.darts import DartsNet, build_network
from distilnas.space.darts import Genotype, parse_architecture, parse_genotype
from distilnas.space.darts.space import DartsSpace

SPACE = DartsSpace(width=4, num_cells=3)


def _snapshot(step: int, macs: int = 100, accuracy: float | None = 50.0, **changes: object) -> Snapshot:
    base = {"reason": "periodic", "sparsity": 9.5, "gamma": 0.1, "mu": 0.15, "ops": 126, "params": 7, "loss": 1.25}
    return Snapshot(step=step, macs=macs, accuracy=accuracy, genotype=SPACE.everything, **(base | changes))  # type: ignore[arg-type]


def _archive(*snapshots: Snapshot) -> Archive:
    return Archive(space=SPACE, width=8, resolution=16, num_classes=4, snapshots=snapshots)


points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@given(points)
def test_front_by_brute_force(values: list[tuple[int, int]]) -> None:
    """Kept: what no other has both at most as many MACs and at least the accuracy of (of equals, the latest)."""
    snapshots = [_snapshot(step, macs, float(accuracy)) for step, (macs, accuracy) in enumerate(values)]

    def beaten(i: int) -> bool:
        macs, accuracy = values[i]
        return (
            any(other != (macs, accuracy) and other[0] <= macs and other[1] >= accuracy for other in values)
            or (macs, accuracy) in values[i + 1 :]
        )

    expected = {step for step in range(len(values)) if not beaten(step)}
    front = _archive(*snapshots).front()
    assert {snapshot.step for snapshot in front} == expected
    assert [snapshot.macs for snapshot in front] == sorted(snapshot.macs for snapshot in front)


def test_front_by_loss() -> None:
    snapshots = (_snapshot(1, 90, None, loss=0.5), _snapshot(2, 80, None, loss=0.6), _snapshot(3, 85, None, loss=0.7))
    assert [snapshot.step for snapshot in _archive(*snapshots).front(by="loss")] == [2, 1]
    with pytest.raises(UsageError, match="by='loss'"):
        _archive(*snapshots).front()
    with pytest.raises(UsageError, match="accuracy"):
        _archive(*snapshots).front(by="acuracy")


def test_rated_fills_in() -> None:
    archive = _archive(_snapshot(1, 90, None), _snapshot(2, 80, None), _snapshot(3, 95, None))
    rated = archive.rated({1: 70.0, 2: 71.0, 3: 72.0})
    assert [snapshot.step for snapshot in rated.front()] == [2, 3]
    assert archive.snapshots[0].accuracy is None
    with pytest.raises(UsageError, match="step 4"):
        archive.rated({4: 1.0})


def test_file(tmp_path: Path) -> None:
    archive = replace(_archive(_snapshot(1, accuracy=None), _snapshot(2, reason="event")), ended="S is below 3")
    archive.save(tmp_path / "archive.json")
    assert Archive.load(tmp_path / "archive.json") == archive
    assert [snapshot.step for snapshot in archive.events] == [2]


def test_other_files_are_refused() -> None:
    data = _archive(_snapshot(1)).to_dict()
    with pytest.raises(UsageError, match="schema 1"):
        Archive.from_dict(data | {"schema": 2})
    with pytest.raises(UsageError, match="not an archive"):
        Archive.from_dict({key: value for key, value in data.items() if key != "space"})
    with pytest.raises(UsageError, match="not a snapshot"):
        Archive.from_dict(data | {"snapshots": [{}]})
    darts = parse_genotype(
        "N: sk-0 sk-1 | sk-0 sk-1 | sk-0 sk-1 | sk-0 sk-1 ; R: sk-0 sk-1 | sk-0 sk-1 | sk-0 sk-1 | sk-0 sk-1"
    )
    assert isinstance(darts, Genotype)
    with pytest.raises(UsageError, match="per-cell"):
        Snapshot.from_dict(_snapshot(1).to_dict() | {"genotype": darts.to_dict()})
    with pytest.raises(UsageError, match="event"):
        _snapshot(1, reason="evnt")


def test_derived_network() -> None:
    """The record's architecture, read back from its text, is the network that the counts are of."""
    archive = _archive(_snapshot(1))
    architecture = archive.architecture(archive.snapshots[0])
    network = build_network(parse_architecture(str(architecture)), num_classes=4)
    assert isinstance(network, DartsNet)
    counts = profile(network, 16)
    assert derived_counts(architecture, resolution=16, num_classes=4) == (counts.params, counts.macs)
    assert archive.architecture(archive.snapshots[0], width=12).width == 12
