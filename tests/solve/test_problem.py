import numpy as np
import pytest
from brute_force import architectures, random_problem

from distilnas.errors import UsageError
from distilnas.solve import BlockCandidates, CellCandidates, Limit, SearchProblem, solve


def cell(width=8, ratings=(1.0, 2.0), macs=((3, 4),), name="c"):
    return CellCandidates(name=name, width=width, ratings=np.array(ratings), costs={"macs": np.array(macs)})


def block(*cells, in_widths=(3,), name="b"):
    return BlockCandidates(name=name, in_widths=in_widths, cells=cells)


def test_evaluate_and_count_agree_with_listing_all():
    for seed in range(20):
        problem = random_problem(np.random.default_rng(seed), float_cost=True)
        table = architectures(problem)
        assert problem.num_architectures == len(table)
        assert all(problem.evaluate(positions) == (rating, costs) for rating, costs, positions in table)


def test_count_is_exact_beyond_float():
    big = BlockCandidates(
        name="b", in_widths=(3,), cells=(CellCandidates(name="c", width=3, ratings=np.zeros(46_656)),)
    )
    assert SearchProblem(blocks=(big,) * 6).num_architectures == 46_656**6


def test_nan_rating_names_block_and_cell():
    with pytest.raises(UsageError, match=r"'b4', cell '24x3': ratings must be finite; entry \(1,\) is nan"):
        block(cell(ratings=(0.0, np.nan), name="24x3"), name="b4")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: block(cell(macs=((1, 2), (3, 4)))), "one row per incoming width"),
        (lambda: cell(macs=((1, 2, 3),)), r"\(n_in_widths, 2\)"),
        (lambda: cell(ratings=()), "n_candidates"),
        (lambda: block(cell(macs=((1.0, np.inf),))), "'macs' must be finite"),
        (lambda: block(), "at least one cell"),
        (lambda: SearchProblem(blocks=()), "at least one block"),
        (lambda: SearchProblem(blocks=(block(cell()), block(cell(), in_widths=(9,)))), "exactly the widths"),
        (
            lambda: SearchProblem(blocks=(block(cell(), CellCandidates(name="d", width=8, ratings=np.zeros(1))),)),
            "same",
        ),
        (lambda: SearchProblem(blocks=(block(cell(macs=((2**53, 0),))),)), "larger unit"),
        (lambda: Limit(cost="macs"), "needs a finite max"),
        (lambda: Limit(cost="macs", max=1, min=2), "min <= max"),
        (lambda: solve(SearchProblem(blocks=(block(cell()),)), [Limit(cost="mcas", max=1)]), "did you mean 'macs'"),
        (lambda: solve(SearchProblem(blocks=(block(cell()),)), k=0), "at least 1; got 0"),
    ],
)
def test_wrong_input_is_explained(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_tables_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        cell().ratings[0] = 0.0


def test_limit_reads_well():
    assert str(Limit(cost="macs", max=40e6)) == "macs <= 40,000,000"
    assert str(Limit(cost="latency_ms", min=1, max=2.5)) == "1 <= latency_ms <= 2.5"
