"""How parts add up: against formulas that the test makes the times from."""

import json
from dataclasses import replace

import pytest

from distilnas.errors import UsageError
from distilnas.files import write_json
from distilnas.latency import LatencySettings, Timing
from distilnas.latency.design import Design
from distilnas.latency.measuring import measurement
from distilnas.latency.table import LatencyTable, UnitTimes, fit, read_table, table_from
from distilnas.surgery.library import Choice

FACT = {"version": "1", "processor": "p", "waited": 0.0, "calibration_ms": [1.0, 1.0], "clock": "processor"}


def test_a_layer_between_two_cut_groups_is_exact() -> None:
    """t = 2 + 3 a + 5 b + 7 a b for shares a and b kept of two groups, measured one group at a time and at a corner."""

    def t(a: int, b: int) -> float:
        return 2 + 3 * a / 8 + 5 * b / 8 + 7 * a * b / 64

    forms = ((8, 8), (4, 8), (2, 8), (8, 4), (8, 1), (2, 1))
    design = Design(forms=(forms,), wholes=(Choice(kept=((8, 8),)), Choice(kept=((2, 1),))), heads=())
    times = [t(*form) for form in forms] + [t(8, 8), t(2, 1)]
    keys = [[str(n)] for n in range(len(times))]
    measured = measurement([FACT | {"rows": [[[ms] * 5] for ms in times]}])
    table = table_from("k", design, keys, measured, LatencySettings())
    for form in ((4, 4), (4, 1), (2, 4), (8, 8), (2, 1)):
        assert table.units[0][0].ms(form) == pytest.approx(t(*form))
        assert table.estimate(Choice(kept=(form,))) == pytest.approx(t(*form))
    assert table.teacher.median == t(8, 8)


def test_other_sides_lie_between_two_measurements() -> None:
    """Times of one group at 1, 1/2 and 1/4 of it: 10, 6, 4; at the other side the ends are 5 and 2: 3 between."""
    forms, wholes = (((4,), (2,), (1,)),), (Choice(kept=((4,),)), Choice(kept=((4,),), side=8))
    design = Design(forms=forms, sides=(8,), wholes=wholes)
    times = [10.0, 6.0, 4.0, 5.0, 2.0, 10.0, 5.0]
    measured = measurement([FACT | {"rows": [[[ms]] for ms in times]}])
    table = table_from("k", design, [[str(ms)] for ms in times], measured, LatencySettings())
    assert [table.units[8][0].ms((n,)) for n in (4, 2, 1)] == pytest.approx([5, 3, 2])
    assert table.estimate(wholes[1]) == pytest.approx(5)


def test_the_fit_finds_what_networks_were_made_from() -> None:
    """total = 0.3 + 0.9 sum - 0.02 pieces."""
    sums = [(4.0, 10), (3.0, 10), (2.5, 7), (1.0, 5), (3.5, 8)]
    found = fit(sums, [0.3 + 0.9 * total - 0.02 * number for total, number in sums])
    assert (found.fixed, found.scale, found.each) == pytest.approx((0.3, 0.9, -0.02))


def test_pieces_of_equal_work_have_one_time() -> None:
    design = Design(forms=(((4,), (2,)), ((4,), (2,))), wholes=(Choice(kept=((4,), (4,))),) * 2, heads=(1,))
    rows = [[[1.0], [3.0]], [[0.5], [0.7]], [[0.2]], [[4.0]], [[4.0]]]
    keys = [["a", "a"], ["b", "c"], ["h"], ["w"], ["w"]]
    table = table_from("k", design, keys, measurement([FACT | {"rows": rows}]), LatencySettings())
    assert [unit.full for unit in table.units[0]] == [2.0, 2.0]
    assert [unit.ms((2,)) for unit in table.units[0]] == [0.5, 0.7]
    assert table.heads == {1: 0.2}
    assert (table.unit(1, None), table.unit(0, (4,)) + table.unit(1, (4,))) == (0.0, pytest.approx(4.0))


def test_a_table_on_disk(tmp_path) -> None:
    units = (UnitTimes(full=2.0, saved=({1: 0.5},), rest=0.1), UnitTimes(full=1.0, saved=()))
    table = LatencyTable(
        design="k",
        settings=LatencySettings(batch=2),
        version="1",
        processor="p",
        units={0: units, 24: units},
        heads={1: 0.5},
        fit=fit([(1.0, 1), (2.0, 2)], [1.0, 2.0]),
        teacher=Timing(median=3.0, low=2.5, high=3.5),
        wholes=(),
    )
    write_json(tmp_path / "table.json", table.to_dict())
    assert read_table(tmp_path / "table.json", "k") == table
    with pytest.raises(UsageError, match="another teacher"):
        read_table(tmp_path / "table.json", "other")
    write_json(tmp_path / "table.json", json.loads(json.dumps(replace(table).to_dict())) | {"units": 3})
    with pytest.raises(UsageError, match="no table"):
        read_table(tmp_path / "table.json", "k")
