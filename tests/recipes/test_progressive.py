"""The scaled winner is the next round's teacher."""

import json
from pathlib import Path

import pytest
import yaml
from tiny_run import CONFIG, write_images

from distilnas.errors import UsageError
from distilnas.networks import load_student
from distilnas.recipes.catalogue import load_settings, run_recipe


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("progressive")
    dna = {**CONFIG, "data": {**CONFIG["data"], "path": str(write_images(folder / "images"))}}
    scale = {"params": "100%"}
    recipe = {"recipe": "progressive", "rounds": 2, "dna": dna, "scale": scale, "retrain": CONFIG["retrain"]}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_two_rounds(tmp_path: Path, config: Path) -> None:
    """The second teacher IS the first winner grown to the first teacher's size; a second call repeats nothing."""
    settings = load_settings(str(config))
    summary = run_recipe(settings, tmp_path)
    first, second = summary["rounds"]
    assert 0.8 * first["teacher"]["params"] < first["scaled"]["params"] <= first["teacher"]["params"]
    assert second["teacher"]["params"] == first["scaled"]["params"]
    assert second["teacher"]["top1"] == pytest.approx(first["scaled"]["top1"])
    assert "scaled" not in second
    grown = load_student(next((tmp_path / "scaled-1" / "students").iterdir()) / "export")
    assert str(grown.architecture) == first["scaled"]["architecture"]
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("step.json")}
    assert json.loads(json.dumps(run_recipe(settings, tmp_path))) == json.loads((tmp_path / "summary.json").read_text())
    assert times == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("step.json")}


def test_single_steps_belong_to_a_round(tmp_path: Path, config: Path) -> None:
    with pytest.raises(UsageError, match="round-1"):
        run_recipe(load_settings(str(config)), tmp_path, until="solve")


@pytest.mark.slow
def test_a_moved_folder_continues_and_other_settings_change_nothing(tmp_path: Path, config: Path) -> None:
    settings = load_settings(str(config), ("rounds=1",))
    run_recipe(settings, tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    written = (tmp_path / "b" / "config.yaml").read_text()
    with pytest.raises(UsageError, match="another configuration"):
        run_recipe(load_settings(str(config), ("rounds=1", "dna.seed=5")), tmp_path / "b")
    assert (tmp_path / "b" / "config.yaml").read_text() == written
    more = load_settings(str(config), ("dna.distill.blocks=null",))
    found = run_recipe(more, tmp_path / "b")
    (tmp_path / "b").rename(tmp_path / "c")
    times = {p.relative_to(tmp_path / "c"): p.stat().st_mtime_ns for p in (tmp_path / "c").rglob("step.json")}
    assert run_recipe(more, tmp_path / "c")["rounds"] == found["rounds"]
    assert times == {p.relative_to(tmp_path / "c"): p.stat().st_mtime_ns for p in (tmp_path / "c").rglob("step.json")}
