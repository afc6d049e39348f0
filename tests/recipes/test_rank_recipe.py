"""From images and a table of true accuracies to rank correlations, for block-wise ratings and the one-shot baseline."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import kendalltau
from tiny_run import CONFIG, write_images

from distilnas.baselines.zerocost import ZERO_COST
from distilnas.errors import UsageError
from distilnas.ranking import NetworkNames, rating_sums
from distilnas.recipes.catalogue import load_settings, run_recipe
from distilnas.recipes.rank.truth import Truth
from distilnas.space import SearchSpace
from distilnas.tables import RatingTable

OPS = ["id", "mb_k3_e2_relu"]
SPACE = {
    "schema": 1,
    "name": "tiny",
    "stem": {"width": 8, "stride": 1, "act": "relu"},
    "ops": OPS,
    "blocks": [{"stride": s, "cells": [{"width": w, "depth": 1}]} for s, w in ((4, 8), (2, 16), (2, 16), (2, 24))],
    "head": {"width": 16, "act": "relu"},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 16 networks, their accuracy the share of layers that are not left out."""
    folder = tmp_path_factory.mktemp("rank")
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    truth = {f"{i:04b}": {"accuracy": 50 + 10 * f"{i:04b}".count("1") + i / 100, "macs": 100 + i} for i in range(16)}
    (folder / "truth.json").write_text(json.dumps(truth))
    dna = {
        **CONFIG,
        "data": {**CONFIG["data"], "path": str(write_images(folder / "images"))},
        "space": {"file": str(folder / "space.yaml"), "depths": "separate"},
        # with linear exits so few steps leave ratings that no weighted sum can be fitted to
        "distill": {**CONFIG["distill"], "adapters": "project"},
    }
    one_shot = {"epochs": 1, "batch_size": 16, "augment": {"crop": "none"}}
    recipe = {
        "recipe": "rank",
        "dna": dna,
        "truth": str(folder / "truth.json"),
        "digits": str(folder / "space.yaml"),
        "budgets": ["110"],
        "seeds": [0, 1],
        "one_shot": one_shot,
        "zero_cost": ["naswot"],
        "fit": 5,
        "ratings": {"fewer": {"metric": "stitched_kl", "images": 8, "batch_size": 4}},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def ranked(config: Path) -> tuple[Path, dict[str, Any]]:
    folder = config.parent / "run"
    return folder, run_recipe(load_settings(str(config)), folder)


def test_every_score_is_compared(ranked: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = ranked
    rated = {"relative_l1", "stitched_sqrt_logit_mse", "fewer"}
    scores = {*rated, *(f"{name}_fitted" for name in rated), "one_shot_loss", "one_shot_accuracy", "naswot"}
    assert set(summary["kendall_tau"]) == scores
    assert len(summary["seeds"]) == 2
    assert summary["baselines"]["depth"] > 0.8  # the truth is nearly the depth; its ties cost something
    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(summary))
    for name in scores:
        assert (folder / "seed-1" / "ranking" / f"{name}.html").is_file()


def test_tau_is_that_of_the_stored_tables(ranked: tuple[Path, dict[str, Any]], config: Path) -> None:
    """A reader recomputes it with scipy from the rating table alone."""
    folder, summary = ranked
    truth = json.loads((config.parent / "truth.json").read_text())
    space = SearchSpace.from_dict(json.loads((folder / "seed-0" / "space" / "space.json").read_text()))
    choices = NetworkNames(space, SearchSpace.from_dict(SPACE)).choices(truth)
    for metric in ("relative_l1", "stitched_sqrt_logit_mse"):
        table = RatingTable.load(folder / "seed-0" / "ratings" / metric / "ratings.npz")
        sums = rating_sums(table, list(choices.values()))
        tau = kendalltau(-np.asarray(sums), [row["accuracy"] for row in truth.values()]).statistic
        assert summary["kendall_tau"][metric]["values"][0] == pytest.approx(tau)


def test_fitted_sums_are_judged_on_networks_left_out(ranked: tuple[Path, dict[str, Any]], config: Path) -> None:
    """A reader recomputes tau from rating table and weights; every rating is fitted to the same networks of a seed."""
    folder, summary = ranked
    truth = json.loads((config.parent / "truth.json").read_text())
    records = summary["seeds"][0]["ranking"]
    found = records["relative_l1_fitted"]
    trained = found["fit"]["trained"]
    assert (len(trained), found["n"], found["fit"]["sum"]["n"]) == (5, 11, 11)
    assert summary["kendall_tau"]["relative_l1_fitted"]["n"] == 11
    assert summary["kendall_tau"]["relative_l1"]["n"] == 16
    assert trained == records["fewer_fitted"]["fit"]["trained"]
    assert trained != summary["seeds"][1]["ranking"]["relative_l1_fitted"]["fit"]["trained"]

    space = SearchSpace.from_dict(json.loads((folder / "seed-0" / "space" / "space.json").read_text()))
    table = RatingTable.load(folder / "seed-0" / "ratings" / "relative_l1" / "ratings.npz")
    choices = NetworkNames(space, SearchSpace.from_dict(SPACE)).choices([name for name in truth if name not in trained])
    for weights, tau in (
        (found["fit"]["weights"], found["kendall_tau"]),
        ([1] * len(table.cells), found["fit"]["sum"]["kendall_tau"]),
    ):
        scores = [
            -sum(w * table.cells[b][c.cell].mean[c.path] for b, (w, c) in enumerate(zip(weights, choice, strict=False)))
            for choice in choices.values()
        ]
        assert kendalltau(scores, [truth[name]["accuracy"] for name in choices]).statistic == pytest.approx(tau)


def test_a_rating_of_fewer_images(ranked: tuple[Path, dict[str, Any]]) -> None:
    table = RatingTable.load(ranked[0] / "seed-0" / "ratings" / "fewer" / "ratings.npz")
    assert (table.metric, table.num_images, table.settings["batch_size"]) == ("stitched_kl", 8, 4)
    assert table.cells[0][0].batches.shape[0] == 2


def test_zero_cost_scores_are_of_untrained_networks(ranked: tuple[Path, dict[str, Any]]) -> None:
    """All ones has the most layers, all zeros the fewest units to tell images apart."""
    scores = json.loads((ranked[0] / "seed-0" / "zero-cost" / "scores.json").read_text())
    assert len(scores) == 16
    assert scores["1111"]["naswot"] > scores["0000"]["naswot"]


def test_a_score_that_orders_nothing_is_left_out(config: Path) -> None:
    """Such as the depth in a space of one depth."""
    truth = Truth(load_settings(str(config)), seed=0)
    ranked = truth.rank({"depth": np.ones(16), "place": np.arange(16.0)})
    assert list(ranked) == ["place"]


def test_a_rating_that_cannot_be_fitted_is_left_out(
    ranked: tuple[Path, dict[str, Any]], config: Path, tmp_path: Path
) -> None:
    """One that rises with accuracy: here accuracy is the sum of its ratings."""
    shutil.copytree(ranked[0], tmp_path / "run")
    space = SearchSpace.from_dict(json.loads((tmp_path / "run" / "seed-0" / "space" / "space.json").read_text()))
    table = RatingTable.load(tmp_path / "run" / "seed-0" / "ratings" / "relative_l1" / "ratings.npz")
    names = [f"{i:04b}" for i in range(16)]
    sums = rating_sums(table, list(NetworkNames(space, SearchSpace.from_dict(SPACE)).choices(names).values()))
    upside = {name: {"accuracy": total, "macs": 100} for name, total in zip(names, sums.tolist(), strict=True)}
    (tmp_path / "truth.json").write_text(json.dumps(upside))
    given = (f"truth={tmp_path / 'truth.json'}", "seeds=[0]", "fit=13")
    summary = run_recipe(load_settings(str(config), given), tmp_path / "run")
    assert summary["kendall_tau"]["relative_l1"]["values"] == [pytest.approx(-1)]
    assert "relative_l1_fitted" not in summary["kendall_tau"]


def test_a_full_disk_is_not_taken_for_a_rating_that_cannot_be_fitted(
    ranked: tuple[Path, dict[str, Any]], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: Any, **__: Any) -> None:
        if "fitted" in path.name:
            raise UsageError("no space left")

    shutil.copytree(ranked[0], tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "seed-0" / "ranking")
    monkeypatch.setattr("distilnas.recipes.rank.truth.write_scatter", full)
    with pytest.raises(UsageError, match="no space left"):
        run_recipe(load_settings(str(config)), tmp_path / "run")


def test_a_zero_cost_score_that_is_not_finite_is_named(
    ranked: tuple[Path, dict[str, Any]], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``naswot`` is minus infinity where two images switch all units alike."""
    shutil.copytree(ranked[0], tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "seed-0" / "zero-cost")
    monkeypatch.setitem(ZERO_COST, "naswot", lambda *_: -math.inf)
    with pytest.raises(UsageError, match="zero-cost score naswot of 0000 is -inf; leave naswot out of zero_cost"):
        run_recipe(load_settings(str(config)), tmp_path / "run")


def test_nothing_is_done_twice(ranked: tuple[Path, dict[str, Any]], config: Path) -> None:
    folder, summary = ranked
    times = {p: p.stat().st_mtime_ns for p in folder.rglob("step.json")}
    again = run_recipe(load_settings(str(config)), folder)
    assert again["kendall_tau"] == summary["kendall_tau"]
    assert times == {p: p.stat().st_mtime_ns for p in folder.rglob("step.json")}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("metrics=[relativ_l1]", "did you mean 'relative_l1'"),
        ("metrics=[]", "at least one metric"),
        ("metrics=[cosine,cosine]", "would be named cosine, cosine_fitted:"),
        ("zero_cost=[naswot,naswot]", "two scores would be named naswot"),
        ("ratings.relative_l1={metric: stitched_kl}", "would be named relative_l1, relative_l1_fitted:"),
        ("ratings.fewer_fitted={metric: stitched_kl}", "would be named fewer_fitted:"),
        ("ratings.one_shot_loss={metric: stitched_kl}", "would be named one_shot_loss:"),
        ("seeds=[]", "seeds must be distinct, at least one"),
        ("seeds=[0,0]", "seeds must be distinct"),
        ("zero_cost=[naswott]", "unknown zero-cost score 'naswott'; did you mean 'naswot'"),
        ("ratings.fewer.images=24", "ratings.fewer.images=24 are more than the 16 images held out"),
        ("truth=nowhere.json", "nowhere.json"),
        ("fit=2", "at least 3 trained networks, got 2"),
        ("fit=14", "of the 16 in .* only 2 would be left"),
        ("field=acc", "needs a column 'acc'"),
        ("digits=nas-bench-macro", "is no network of space"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, config: Path, override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run_recipe(load_settings(str(config), (override,)), tmp_path / "run")
    assert not (tmp_path / "run" / "seed-0" / "run.json").exists()
