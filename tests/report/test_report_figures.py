"""The plots' data against the records they are made from."""

from typing import Any

import numpy as np
import pytest
from report_sample import small_space, write_sample_run

from distilnas.records.solution import SolvedNetwork
from distilnas.records.steps import History, Measured
from distilnas.report import figures
from distilnas.report.read import RunRecord, read_run
from distilnas.report.ridges import block_ratings
from distilnas.space import BlockSpec, Candidate, CellSpec, MBConv
from distilnas.tables import CellRatings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return read_run(write_sample_run(tmp_path_factory.mktemp("figures") / "run", small_space()))


def traces(figure: Any) -> list[Any]:
    return list(figure.data)


def cell_and_table(depth: int) -> tuple[CellSpec, CellRatings]:
    ops = tuple(MBConv(kernel=k, expansion=e, act="silu") for e in (3, 6) for k in (3, 5, 7))
    mean = np.random.default_rng(0).normal(1.0, 0.1, (6,) * depth)
    return CellSpec(width=24, layers=(ops,) * depth), CellRatings(mean=mean, stderr=mean * 0.01, batches=mean[None])


def test_loss_curves_show_every_block_from_epoch_one(run: RunRecord) -> None:
    assert run.distill is not None
    figure: Any = figures.loss_curves(run.distill, 3, "loss: mse")
    lines = traces(figure)
    assert figure.layout.yaxis.title.text == "loss: mse"
    assert [line.name for line in lines] == ["block 1", "block 2", "block 3"]
    assert list(lines[1].x) == list(range(1, 21))
    assert list(lines[1].y) == [epoch["block 2"] for epoch in run.distill.epochs]
    assert len({line.line.color for line in lines}) == 3


def test_unlogged_epochs_are_left_out() -> None:
    history = History(epochs=({"loss": 2.0}, {"loss": 1.0, "val_top1": None}, {"val_top1": 50.0}))
    assert history.curve("loss") == ([1, 2], [2.0, 1.0])
    assert history.curve("val_top1") == ([3], [50.0])


def test_small_cell_shows_every_candidate() -> None:
    cell, table = cell_and_table(depth=2)
    (ticks,) = traces(block_ratings(0, BlockSpec(stride=1, families=(cell,)), [table], None))
    assert np.allclose(ticks.x, np.sort(table.mean.ravel()), rtol=1e-4)


def test_large_cell_is_binned_over_its_whole_range() -> None:
    cell, table = cell_and_table(depth=5)
    (outline,) = traces(block_ratings(0, BlockSpec(stride=1, families=(cell,)), [table], None))
    width = (table.mean.max() - table.mean.min()) / 60
    assert len(outline.x) < 70
    assert min(outline.x) == pytest.approx(table.mean.min(), abs=width)
    assert max(outline.x) == pytest.approx(table.mean.max(), abs=width)
    assert f"{table.mean.size:,} candidates" in str(outline.text)


def test_chosen_candidate_is_marked_with_error_and_rank() -> None:
    cell, table = cell_and_table(depth=2)
    path = np.unravel_index(int(np.argsort(table.mean, axis=None)[2]), table.mean.shape)  # third best, by construction
    chosen = Candidate(cell=0, path=tuple(int(i) for i in path))
    *_, marker = traces(block_ratings(0, BlockSpec(stride=1, families=(cell,)), [table], chosen))
    assert list(marker.x) == [table.mean[path]]
    assert list(marker.error_x.array) == [table.stderr[path]]
    assert "rank 3 in its cell" in marker.text[0]


def test_unrated_candidates_are_not_drawn() -> None:
    cell, table = cell_and_table(depth=1)
    table.mean[:5] = np.nan
    (ticks,) = traces(block_ratings(0, BlockSpec(stride=1, families=(cell,)), [table], None))
    assert len(ticks.x) == 1
    table.mean[:] = np.nan
    assert not traces(block_ratings(0, BlockSpec(stride=1, families=(cell,)), [table], None))


def test_front_has_budget_line_solution_and_alternatives(run: RunRecord) -> None:
    assert run.space is not None
    assert run.solved is not None
    figure: Any = figures.pareto_front("macs", run.front["macs"], run.space, run.solved)
    line, *others, solution = traces(figure)
    assert len(line.x) == len(run.front["macs"])
    assert {trace.name for trace in others} == {found.kind for found in run.solved.alternatives}
    assert list(solution.x) == [run.solved.solution.costs["macs"]]
    (limit,) = figure.layout.shapes
    assert limit.x0 == limit.x1 == run.solved.budgets["macs"].max
    assert line.text[0].count("<br>") == len(run.space.body)


@pytest.mark.parametrize(("number", "expected"), [(1, 1), (400, 400), (5000, 400)])
def test_long_fronts_are_thinned_and_keep_their_ends(number: int, expected: int) -> None:
    points = [SolvedNetwork(rating=1.0, costs={"macs": n}, choice=()) for n in range(number)]
    shown = figures.thinned(points)
    assert len(shown) == expected
    assert (shown[0], shown[-1]) == (points[0], points[-1])


def test_additivity_marks_the_first_entry_as_the_solution(run: RunRecord) -> None:
    assert run.additivity is not None
    random, solution = traces(figures.additivity_scatter(run.additivity))
    assert len(random.x) == len(run.additivity.predicted) - 1
    assert solution.x[0] == pytest.approx(run.additivity.predicted[0], rel=1e-4)


def test_rounds_are_joined_by_role_and_numbered() -> None:
    networks = [(n, Measured(top1=70.0 + n, costs={"macs": n * 10**8, "params": n * 10**6})) for n in (1, 2, 3)]
    teachers, students = traces(figures.accuracy_over_rounds("params", networks[:2], networks))
    assert (teachers.name, list(teachers.x), list(teachers.y)) == ("teachers", [1e6, 2e6], [71.0, 72.0])
    assert (students.name, list(students.x), list(students.text)) == ("students", [1e6, 2e6, 3e6], ["1", "2", "3"])
    assert "round 3: 73.0 %, 300 M MACs and 3.0 M parameters" in students.hovertext[2]


def test_channel_similarity_is_sorted_and_leaves_constant_channels_out() -> None:
    block, assembled = np.array([0.9, np.nan, -0.2, 0.5]), np.array([0.1, np.nan, 0.0, 0.3])
    figure: Any = figures.channel_similarity(block, assembled)
    one, other = traces(figure)
    assert (list(one.y), list(other.y)) == ([-0.2, 0.5, 0.9], [0.0, 0.1, 0.3])
    assert list(one.x) == pytest.approx([100 / 6, 50, 500 / 6], rel=1e-4)
    assert figure.layout.yaxis.range[0] < -0.2


def test_channel_similarity_of_many_and_of_no_channels() -> None:
    many = np.linspace(-1, 1, 2048)
    line, _ = traces(figures.channel_similarity(many, many))
    assert len(line.y) == 400
    assert (line.y[0], line.y[-1]) == (-1, 1)
    line, _ = traces(figures.channel_similarity(np.array([np.nan]), np.array([np.nan])))
    assert len(line.y) == 0
