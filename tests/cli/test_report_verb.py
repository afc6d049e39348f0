"""``distilnas report``: with features, on every kind of run, and with what it cannot use."""

import json
from pathlib import Path

import pytest
import yaml
from cli_call import Cli
from test_bad_input import check
from tiny_run import CONFIG, write_config, write_images

from distilnas.recipes.catalogue import load_settings, run_recipe


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run up to the solve step; tests add to it or only read."""
    folder = tmp_path_factory.mktemp("solved")
    config = write_config(folder, write_images(folder / "images"))
    run_recipe(load_settings(str(config)), folder / "run", until="solve")
    return folder / "run"


def features(page: str) -> bool:
    return 'id="features"' in Path(page).read_text()


def test_features_are_a_section_of_the_report(cli: Cli, solved: Path):
    plain = json.loads(cli("report", "--run", solved, "--json").out)
    assert list(plain) == ["report"]
    record = json.loads(cli("report", "--features", "--run", solved, "--json").out)
    assert features(record["report"])
    assert [row["block"] for row in record["features"]["blocks"]] == [1]  # 8x8, of maps 8, 4, 2 and 1 pixels wide
    assert features(json.loads(cli("report", "--run", solved, "--json").out)["report"]), "they stay"


def test_run_and_images_without_their_options(cli: Cli, solved: Path):
    red = sorted((solved.parent / "images" / "red").iterdir())[:3]
    record = json.loads(cli("report", "--features", solved, "--block", "all", "--images", *red, "--json").out)
    assert record["features"]["num_images"] == 3
    assert len(record["features"]["blocks"]) == 4
    again = json.loads(cli("report", "--images", *red, "--run", solved, "--features", "--json").out)
    assert [image["name"] for image in again["features"]["images"]] == [file.name for file in red]


def test_what_cannot_be_used(cli: Cli, solved: Path, tmp_path: Path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    check(cli("report"), "which run?")
    check(cli("report", "--run", tmp_path), "is not a run folder")
    check(cli("report", "--run", tmp_path / "none"), "is not a run folder")
    check(cli("report", "--features", "--run", tmp_path), "is not a run folder")
    check(cli("report", "--run", solved, "--features", "--block", "two"), "a number from 1, or all")
    check(cli("report", "--run", solved, "--features", "--block", "9"), "from 1 to 4")
    check(cli("report", "--run", solved, "--block", "1"), "belong to --features")
    check(cli("report", solved, bad), "belong to --features")
    check(cli("report", "--run", solved, "--features", "--images", bad), "cannot read the image")
    check(cli("report", "--run", solved, "--features", "--images", tmp_path / "none.png"), "cannot read the image")


def test_runs_without_a_teacher(cli: Cli, solved: Path, tmp_path: Path):
    images, run = solved.parent / "images", tmp_path / "run"
    network = {"file": str(solved / "solve" / "architecture.json"), "resolution": 32}
    parts = {key: CONFIG[key] for key in ("retrain", "runtime")} | {"data": {**CONFIG["data"], "path": str(images)}}
    config = tmp_path / "training.yaml"
    config.write_text(yaml.safe_dump({"recipe": "retrain", "network": network, **parts}))
    assert cli("evaluate", config, "--run", run).code == 0
    page = json.loads(cli("report", "--run", run, "--json").out)["report"]
    assert 'id="network"' in Path(page).read_text()
    assert 'id="ratings"' not in Path(page).read_text()
    check(cli("report", "--run", run, "--features"), "recipe 'retrain' has none")
