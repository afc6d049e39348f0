"""The scatter plot's file: everything inside, marks on the right networks, names escaped."""

import re

import numpy as np

from distilnas.ranking import Comparison, CostBudget, picks_of
from distilnas.ranking.plot import scatter, write_scatter

EVIL = "<img src=x onerror=alert(1)>"


def comparison(n: int = 5) -> Comparison:
    numbers = np.arange(float(n))
    names = (EVIL, *(f"n{i}" for i in range(1, n)))
    return Comparison(names=names, scores=-numbers, truth=numbers, costs={"macs": numbers + 1})


def test_best_and_best_scored_are_marked():
    table = comparison()
    found = scatter(table, picks_of(table, [CostBudget(cost="macs", limit=3)]))
    networks, best, picked = found.data
    assert list(networks.x) == [0, -1, -2, -3, -4]
    assert list(networks.y) == [0, 1, 2, 3, 4]
    assert (list(best.y), list(picked.y)) == ([2, 4], [0, 0])


def test_many_networks_are_thinned():
    table = comparison(50_001)
    assert len(scatter(table, []).data[0].x) == 16_667  # every third


def test_the_file_needs_nothing_else_and_runs_no_names(tmp_path):
    write_scatter(tmp_path / "deep" / "plot.html", comparison(), picks_of(comparison(), []), title=f"{EVIL} & truth")
    text = (tmp_path / "deep" / "plot.html").read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", text)
    assert EVIL not in text
    assert "&lt;img" in text
    assert len(text) < 6_000_000
