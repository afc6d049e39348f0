"""Pages of runs that are not searches: one network's training, and rounds of searches."""

import json
import shutil
from pathlib import Path

import pytest
from report_sample import NETWORK, small_space, write_sample_rounds, write_sample_run, write_sample_training
from test_report_page import Page

from distilnas.errors import UsageError
from distilnas.report import write_report
from distilnas.space import Architecture
from distilnas.tables.files import read_arrays, write_arrays


@pytest.fixture
def training(tmp_path: Path) -> Path:
    return write_sample_training(tmp_path / "run")


@pytest.fixture
def rounds(tmp_path: Path) -> Path:
    return write_sample_rounds(tmp_path / "rounds")


def test_training_shows_what_there_is_and_no_search(training: Path) -> None:
    page = Page(write_report(training))
    assert page.sections == ["network", "architecture", "training", "data", "provenance"]
    assert page.plots == ["training-loss", "training-val_top1"]
    assert "The network reaches 76.5 % top-1 with 335 M MACs and 4.2 M parameters." in page.text
    assert "not made yet" not in page.text
    for shown in ("5,000 test images", "224×224 px, bicubic, crop 0.875", NETWORK, "model.onnx", "2.4e-06", "scratch"):
        assert shown in page.text
    for hidden in ("eacher", "andidate", "Pareto", "Distill", "rating 0"):
        assert hidden not in page.text, hidden
    assert {"rect", "svg"} <= set(page.tags)


def test_training_goes_as_far_as_the_run(training: Path) -> None:
    student = training / "students" / Architecture.parse(NETWORK).fingerprint
    (training / "summary.json").unlink()
    page = Page(write_report(training))
    assert "reaches 76.5 %" in page.text
    assert f"distilnas export --run {training}" in page.text

    shutil.rmtree(student / "evaluate")
    page = Page(write_report(training))
    assert "trained but not tested yet" in page.text
    assert f"distilnas evaluate --run {training}" in page.text

    shutil.rmtree(student)
    page = Page(write_report(training))
    assert "The network is not trained yet." in page.text
    assert f"distilnas retrain --run {training}" in page.text
    assert NETWORK in page.text

    for step in ("network", "data"):
        shutil.rmtree(training / step)
    assert Page(write_report(training)).sections == ["network", "architecture", "training", "data", "provenance"]


def test_accuracy_of_an_earlier_training_is_not_shown(training: Path) -> None:
    (training / "summary.json").unlink()
    step = training / "students" / Architecture.parse(NETWORK).fingerprint / "retrain" / "step.json"
    step.write_text(json.dumps(json.loads(step.read_text()) | {"key": "f" * 16}))
    assert "76.5" not in Page(write_report(training)).text


def test_damaged_network_is_named(training: Path) -> None:
    step = training / "network" / "step.json"
    step.write_text(step.read_text().replace("mb_k5", "xx_k5"))
    with pytest.raises(UsageError, match=r"network/step\.json is damaged"):
        write_report(training)


def test_rounds_are_a_table_two_plots_and_links(rounds: Path) -> None:
    page = Page(write_report(rounds))
    assert page.sections == ["rounds", "parts"]
    assert page.plots == ["rounds-macs", "rounds-params"]
    links = [target for target in page.loads if not target.startswith("#")]
    assert links == ["round-1/report.html", "scaled-1/report.html", "round-2/report.html"]
    assert "The student of round 2 reaches 77.3 % top-1" in page.text
    assert "that of round 1 reached 76.1 %" in page.text
    assert page.text.count("teacher resnet50") == 1
    assert "/somewhere" not in page.text
    assert "not made yet" not in page.text
    teachers, students = json.loads(page.data["figure-rounds-macs"])["data"]
    assert teachers["y"] == [80.1, 79.2]
    assert students["y"] == [76.1, 77.3]


def test_links_lead_from_where_the_page_lies(rounds: Path, tmp_path: Path) -> None:
    page = Page(write_report(rounds, tmp_path / "elsewhere" / "page.html"))
    assert "../rounds/round-1/report.html" in page.loads


def test_rounds_go_as_far_as_the_run(rounds: Path) -> None:
    (rounds / "summary.json").unlink()
    shutil.rmtree(rounds / "round-2")
    (rounds / "scaled-1" / "report.html").unlink()
    page = Page(write_report(rounds))
    assert [target for target in page.loads if not target.startswith("#")] == ["round-1/report.html"]
    assert "The student of round 1 reaches 76.1 %" in page.text
    assert "of 2" in page.text
    assert f"distilnas run {rounds}/config.yaml --run {rounds}" in page.text
    for name in ("round-1", "scaled-1"):
        shutil.rmtree(rounds / name)
    page = Page(write_report(rounds))
    assert "The first round is not finished." in page.text
    assert not page.plots


def test_the_summary_alone_is_enough(rounds: Path) -> None:
    for name in ("config.yaml", "round-1", "scaled-1", "round-2"):
        path = rounds / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = Page(write_report(rounds))
    assert "The student of round 2 reaches 77.3 %" in page.text
    assert all(target.startswith("#") for target in page.loads)


def test_a_round_that_was_done_again_counts_as_it_is_now(rounds: Path) -> None:
    part = rounds / "round-2" / "summary.json"
    part.write_text(part.read_text().replace("77.3", "78.8"))
    assert "reaches 78.8 % top-1" in Page(write_report(rounds)).text


@pytest.mark.parametrize("content", ["recipe: [", "- recipe", "\x00"])
def test_damaged_configuration_is_named(rounds: Path, content: str) -> None:
    (rounds / "config.yaml").write_text(content)
    with pytest.raises(UsageError, match=r"config\.yaml(: | is damaged)"):
        write_report(rounds)


def test_features_of_another_solution_are_not_shown(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run", small_space())
    page = Page(write_report(run))
    # three images, each with its input and four channels as teacher, student block and assembled
    assert page.tags.count("img") == 3 * (1 + 4 * 3)
    record = run / "features" / "features.json"
    channels = json.loads(record.read_text())["blocks"][0]["channels"]
    assert f"{channels - 1} channels" in page.text
    assert "(1 constant)" in page.text
    record.write_text(record.read_text().replace("| head", "id | head"))
    assert "features" not in Page(write_report(run)).sections


@pytest.mark.parametrize("name", ["inputs", "3/channels", "3/block", "3/correlation/assembled"])
def test_features_that_do_not_fit_are_damaged(tmp_path: Path, name: str) -> None:
    run = write_sample_run(tmp_path / "run", small_space())
    path = run / "features" / "features.npz"
    arrays, meta = read_arrays(path, kind="features", schema=1)
    for changed in ({key: a for key, a in arrays.items() if key != name}, arrays | {name: arrays[name][:-1]}):
        write_arrays(path, changed, meta)
        with pytest.raises(UsageError, match=r"features\.npz"):
            write_report(run)
