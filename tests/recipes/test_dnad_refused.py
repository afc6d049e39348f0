"""What a DNAD run refuses, and says so before anything is written or lost."""

from pathlib import Path
from typing import Any

import pytest
from tiny_dnad_run import dnad_settings

from distilnas.errors import InfeasibleError, UsageError
from distilnas.files import read_json
from distilnas.recipes.dnad.recipe import DNAD
from distilnas.runtime.progress import SilentProgress


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("space.primitives=p4", "unknown set of primitives 'p4'"),
        ("space.primitives=[sep_conv_3]", "did you mean 'sep_conv_3x3'"),
        ("space.primitives=darts8", "take it out of"),
        ("space.num_cells=2", "cells"),
        ("search.held_out=0", "search.held_out is a number of images"),
        ("search.method=shrnk", "search.method"),
        ("search.shrink.imitation.kind=features", "unknown kind of imitation"),
        ("search.shrink.imitation.taps=[stages.0,stages.1,stages.3]", "no tap 'stages.3'"),
        ("teacher.partition=[stages.0,stages.1]", "at least three module paths"),
        ("auxiliary_weight=-1", "auxiliary_weight must not be negative"),
        ("data.validation=900", "Ask for smaller parts"),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(tmp_path: Path, override: str, words: str):
    with pytest.raises(UsageError, match=words):
        DNAD.run(dnad_settings(tmp_path, override), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize("cost", ["macs", "params"])
def test_a_budget_below_the_smallest_derivable_network(tmp_path: Path, cost: str):
    with pytest.raises(
        InfeasibleError, match=rf"solve.max_{cost}=500 is out of reach: the smallest network of 3 cells"
    ):
        DNAD.run(dnad_settings(tmp_path, f"solve.max_{cost}=500"), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


class Heard(SilentProgress):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def test_a_controller_that_never_rests_hands_over_its_snapshots_and_a_small_budget_leaves_them(tmp_path: Path):
    slow = ("search.shrink.pressure.q_max=9999", "search.shrink.epochs=1", "teacher=null")
    progress = Heard()
    result: dict[str, Any] = DNAD.run(
        dnad_settings(tmp_path, *slow), tmp_path / "run", until="search", progress=progress
    )
    assert any("no Pareto event before the search ended" in message for message in progress.messages)
    assert (result["num_events"], result["num_networks"]) == (0, 1)
    (network,) = read_json(tmp_path / "run" / "search" / "networks.json")
    with pytest.raises(InfeasibleError, match="none of the 1 networks of the search keeps"):
        DNAD.run(dnad_settings(tmp_path, *slow, f"solve.max_macs={network['macs'] - 1}"), tmp_path / "run")
    assert read_json(tmp_path / "run" / "search" / "step.json")["result"]["num_networks"] == 1
