"""Networks trained in the same way: which ones, what is written, what is repeated, and that `rank` reads it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_run import CONFIG, write_images

from distilnas.costing import cost_table
from distilnas.errors import UsageError
from distilnas.ranking import read_columns
from distilnas.recipes.catalogue import load_settings, run_recipe
from distilnas.runtime.store import Run
from distilnas.space import Architecture, SearchSpace

SPACE = {
    "schema": 1,
    "name": "tiny",
    "stem": {"width": 8, "stride": 1, "act": "relu"},
    "ops": ["mb_k3_e2_relu", "mb_k3_e3_relu"],
    "blocks": [
        {"stride": 4, "cells": [{"width": 8, "depth": 1}, {"width": 8, "depth": 2}]},
        {"stride": 2, "cells": [{"width": 16, "depth": 1}, {"width": 24, "depth": 1}]},
    ],
    "head": {"width": 16, "act": "relu"},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    mine = SearchSpace.from_dict(SPACE)
    recipe = {
        "recipe": "truth",
        "data": {**CONFIG["data"], "path": str(write_images(folder / "images"))},
        "space": {"file": str(folder / "space.yaml")},
        "number": 2,
        "networks": {"mine": str(mine.architecture(next(iter(mine.choices()))))},
        "seeds": [0, 1],
        "retrain": CONFIG["retrain"],
        "runtime": CONFIG["runtime"],
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def made(config: Path) -> tuple[Path, dict[str, Any]]:
    folder = config.parent / "run"
    return folder, run_recipe(load_settings(str(config)), folder)


def test_truth_is_what_the_single_runs_measured(made: tuple[Path, dict[str, Any]], config: Path) -> None:
    folder, summary = made
    truth = json.loads((folder / "truth.json").read_text())
    settings = load_settings(str(config))
    assert [row["name"] for row in truth.values()] == ["mine", "random-1", "random-2"]
    assert list(truth) == [str(found) for found in settings.listed(3).values()]
    for text, row in truth.items():
        found = Architecture.parse(text).fingerprint
        tested = [folder / f"seed-{seed}" / "students" / found / "evaluate" / "step.json" for seed in (0, 1)]
        top1 = [json.loads(path.read_text())["result"]["top1"] for path in tested]
        assert row["accuracies"] == top1
        assert row["accuracy"] == pytest.approx(np.mean(top1)) == summary["accuracy"][row["name"]]
        assert row["stderr"] == pytest.approx(abs(top1[0] - top1[1]) / 2)  # sd of two values over the root of two


def test_rank_reads_it(made: tuple[Path, dict[str, Any]]) -> None:
    columns = read_columns(made[0] / "truth.json", plain="accuracy")
    assert len(columns.numbers("accuracy")) == len(columns.numbers("macs")) == 3


def test_more_networks_train_only_those(
    made: tuple[Path, dict[str, Any]], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same draws come first, and what is trained is not trained again."""
    folder, before = made
    steps: list[str] = []
    step = Run.step
    monkeypatch.setattr(Run, "step", lambda run, name, *a, **k: steps.append(name) or step(run, name, *a, **k))
    after = run_recipe(load_settings(str(config), ("number=3",)), folder)
    assert after["accuracy"].items() >= before["accuracy"].items()
    assert len(steps) == 4  # retrain and evaluate of one network with two seeds
    assert len({Path(name).parent for name in steps}) == 1


def drawn_macs(config: Path, *overrides: str) -> list[int]:
    """MACs of the networks that are drawn."""
    space = SearchSpace.from_dict(SPACE)
    costs = cost_table(space, resolution=32, num_classes=3)
    listed = load_settings(str(config), overrides).listed(3)
    return [costs.total(space, space.choice_of(found))["macs"] for name, found in listed.items() if name != "mine"]


def test_drawn_networks_keep_the_budget(config: Path) -> None:
    _, low, *_, high, _ = sorted(drawn_macs(config, "number=6"))
    kept = drawn_macs(config, "number=4", f"min_macs={low}", f"max_macs={high}")
    assert min(kept) >= low
    assert max(kept) <= high
    assert len(kept) == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("number=25", "found only 23 of 25 networks of space 'tiny'"),  # 24 in all, one of them given
        ("max_macs=10", "found only 0 of 2 networks"),
        ("networks.other=mb_k7", ".mb_k7. is no network of space 'tiny'"),
    ],
)
def test_networks_that_are_not_there(config: Path, override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings(str(config), (override,)).listed(3)


def test_names_of_drawn_networks_are_taken(config: Path) -> None:
    space = SearchSpace.from_dict(SPACE)
    *_, other = space.choices()
    override = f"networks.random-2='{space.architecture(other)}'"
    with pytest.raises(UsageError, match="networks has random-2, as those drawn are named; give other names"):
        load_settings(str(config), (override,)).listed(3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("number=-1", "there is no network to train"),
        ("seeds=[0,0]", "seeds must be distinct"),
        ("seeds=[0,-1]", "not negative"),
        ("space={file: null, fitted: {}}", "space.fitted needs a teacher"),
    ],
)
def test_settings_that_make_no_sense(config: Path, override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings(str(config), (override,))
