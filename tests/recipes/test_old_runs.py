"""A run folder that an older version wrote (``old_run``: stem and head beside the blocks) is read and goes on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_run import write_images

from distilnas.recipes.catalogue import load_settings
from distilnas.recipes.dna.recipe import run_dna
from distilnas.recipes.settings import Settings
from distilnas.records.files import read_part, to_json
from distilnas.records.solution import Additivity, Fronts, Solved
from distilnas.report import write_report
from distilnas.report.read import read_run
from distilnas.space import SearchSpace
from distilnas.tables import CostTable, RatingTable
from distilnas.tables.files import read_arrays

OLD = Path(__file__).parent / "old_run"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run beside its images."""
    monkeypatch.chdir(tmp_path)
    write_images(Path("images"))
    shutil.copytree(OLD, "run")
    return Path("run")


def settings(*overrides: str) -> Settings:
    return load_settings("run/config.yaml", overrides)


def test_it_stands_as_it_was_and_its_export_can_be_made_again(old: Path):
    """No step is repeated but the one whose files are gone."""
    before = {path.parent: json.loads(path.read_text()) for path in old.rglob("step.json")}
    summary = run_dna(settings(), old)
    assert {path: json.loads((path / "step.json").read_text()) for path in before} == before
    assert (old / summary["artefacts"]["onnx"]).exists()
    assert (old / "report.html").exists()


def test_records_are_written_as_they_are_read():
    """Byte for byte, but for what the older version had not: whether the solution was held against others."""
    solved = read_part(OLD / "solve" / "solution.json", Solved)
    fronts = read_part(OLD / "solve" / "front.json", Fronts)
    found = read_part(OLD / "additivity" / "additivity.json", Additivity)
    assert solved
    assert fronts
    written = {
        "solve/solution.json": solved.to_dict(),
        "solve/front.json": {cost: [point.to_dict() for point in front] for cost, front in fronts.items()},
        "additivity/additivity.json": {key: value for key, value in to_json(found).items() if key != "held"},
    }
    for name, data in written.items():
        assert json.dumps(data, indent=2) == (OLD / name).read_text().rstrip(), name


def test_it_is_solved_again_with_the_same_answer(old: Path):
    before = json.loads((old / "solve" / "solution.json").read_text())["solution"]
    shutil.rmtree(old / "solve")
    again = run_dna(settings(), old, until="solve")
    for key in ("architecture", "rating", "costs", "optimal"):
        assert again[key] == before[key]
    assert again["choice"] == [*before["choice"], {"cell": 0, "path": []}]


def test_another_budget_goes_on_to_the_end(old: Path):
    """The supernet's weights are read too: additivity is measured anew."""
    before = json.loads((old / "summary.json").read_text())["solution"]["macs"]
    summary = run_dna(settings(f"solve.max_macs={before - 1}"), old)
    assert summary["solution"]["macs"] < before
    assert not np.isnan(json.loads((old / "additivity" / "additivity.json").read_text())["measured"]).any()


def test_it_is_reported(old: Path):
    record = read_run(old)
    assert record.space is not None
    assert record.solved is not None
    assert len(record.solved.solution.choice) == len(record.space.blocks) == 3
    assert all(len(point.choice) == 3 for points in record.front.values() for point in points)
    assert record.solved.solution.architecture in write_report(old).read_text()


def test_tables_of_schema_1_are_read_as_those_of_schema_2(old: Path):
    """The stem's costs are added to block 1's, the head's are a block; the head's rating is 0."""
    space = SearchSpace.from_dict(json.loads((old / "space" / "space.json").read_text()))
    arrays, _ = read_arrays(old / "cost" / "costs.npz", kind="costs", schema=1)
    table = CostTable.load(old / "cost" / "costs.npz")
    np.testing.assert_array_equal(table.cells[0][0].first, arrays["0/0/first"] + arrays["stem"][:, None, None])
    assert table.in_widths == tuple(map(space.in_widths, range(3)))
    choice = next(space.choices())
    width = space.body[-1].families[0].out
    expected = arrays["stem"] + arrays["0/0/first"][:, 0, 0] + arrays["1/0/first"][:, 0, 0] + arrays[f"head/{width}"]
    assert list(table.total(space, choice).values()) == expected.tolist()
    ratings = RatingTable.load(old / "rate" / "ratings.npz")
    ratings.check(space)
    assert ratings.cells[-1][0].mean == 0
    assert ratings.total(choice) == pytest.approx(sum(float(block[0].mean[0]) for block in ratings.body))
