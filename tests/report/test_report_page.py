"""The page as a whole: what is on it, what is left out, that it is one safe and small file."""

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_sample import small_space, write_sample_run

from distilnas.errors import UsageError
from distilnas.report import write_report
from distilnas.report.read import read_run
from distilnas.space import BlockSpec, CellSpec, FittedSpace, SearchSpace

SECTIONS = [
    "networks",
    "architecture",
    "blocks",
    "training",
    "ratings",
    "front",
    "proof",
    "additivity",
    "features",
    "data",
    "provenance",
]
LATER = [
    "features",
    "summary.json",
    "students",
    "additivity",
    "solve",
    "cost",
    "rate",
    "distill",
    "space",
    "teacher",
    "data",
]


class Page(HTMLParser):
    """What a browser would see: sections, loads, plots, scripts' data, visible text and all tag names."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.loads: list[str] = []
        self.plots: list[str] = []
        self.tags: list[str] = []
        self.styles: list[str] = []
        self.data: dict[str, str] = {}
        self.text = ""
        self.policy = ""
        self._open = self._id = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.tags.append(tag)
        self._open, self._id = tag, found.get("id", "")
        if tag == "section":
            self.sections.append(found["id"])
        if "data-figure" in found:
            self.plots.append(found["data-figure"])
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        self.loads += [found[key] for key in ("src", "href", "srcset", "data") if key in found]

    def handle_data(self, data: str) -> None:
        if self._open == "script" and self._id:
            self.data[self._id] = data
        elif self._open == "style":
            self.styles.append(data)
        elif self._open != "script":
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._open = self._id = ""


def remove(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_sample_run(tmp_path / "run", small_space())


def test_full_run_has_every_section_and_every_plot_has_its_data(run: Path) -> None:
    page = Page(write_report(run))
    assert page.sections == SECTIONS
    assert "not made yet" not in page.text
    ratings = [f"ratings-{b}" for b in range(3)]
    training = ["distill", "training-loss", "training-val_top1"]
    assert page.plots == ["accuracy", *training, *ratings, "front-macs", "front-params", "additivity", "similarity-3"]
    for name in page.plots:
        assert json.loads(page.data[f"figure-{name}"])["data"]


def test_full_run_states_the_result(run: Path) -> None:
    text = Page(write_report(run)).text
    assert "The student reaches 77.1 % top-1 against 78.4 % of its teacher tf_efficientnet_b3" in text
    assert "proved optimum" in text
    assert "cannot be told apart" in text
    assert "1.3 points below the teacher" in text


def test_default_place_and_given_place(run: Path, tmp_path: Path) -> None:
    assert write_report(run) == run / "report.html"
    assert write_report(run, tmp_path / "elsewhere" / "page.html").is_file()


@pytest.mark.parametrize("steps", range(1, len(LATER) + 1))
def test_partial_run_leaves_out_what_is_missing_and_names_the_command(run: Path, steps: int) -> None:
    remove(run, LATER[:steps])
    page = Page(write_report(run))
    assert page.sections == [name for name in SECTIONS if name != "features"]
    assert ("not made yet: distilnas" in page.text) == (steps > 1)
    assert set(page.data) == {f"figure-{name}" for name in page.plots}
    for verb, folder in (("rate", "rate"), ("solve", "solve"), ("distill", "distill"), ("retrain", "students")):
        named = f"distilnas {verb} --run {run}" in page.text
        assert named or (run / folder).exists()


def test_nothing_is_loaded_from_elsewhere(run: Path) -> None:
    page = Page(write_report(run))
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in page.loads)
    assert not {"link", "iframe", "object", "base"} & set(page.tags)
    assert not any("url(" in style or "@import" in style for style in page.styles)
    assert page.policy.startswith("default-src 'none'")


def test_names_of_users_are_escaped(tmp_path: Path) -> None:
    evil = "<video src=x onerror=alert(1)></script><b>"
    run = write_sample_run(tmp_path / "run", small_space(), classes=(evil, "dog"), skipped=(evil + ".png",))
    teacher = run / "teacher" / "step.json"
    record = json.loads(teacher.read_text())
    record["result"]["name"] = evil
    teacher.write_text(json.dumps(record))
    (run / "config.yaml").write_text(f"name: '{evil}'\n")
    features = run / "features" / "features.json"
    features.write_text(features.read_text().replace("a.png", evil))
    page = Page(write_report(run))
    assert not {"video", "b"} & set(page.tags)
    assert page.text.count(evil) >= 5


def huge_space() -> SearchSpace:
    """One cell of 6 ops at each of 6 layers: 6**6 = 46,656 paths."""
    ops = FittedSpace(kernels=(3, 5, 7), expansions=(3, 6)).ops()
    small = small_space()
    block = BlockSpec(stride=2, families=(CellSpec(width=64, layers=(ops,) * 6),))
    return replace(small, name="huge", blocks=(*small.body[:2], block, small.blocks[-1]))


def test_a_cell_of_46656_paths_does_not_swell_the_file(tmp_path: Path) -> None:
    small = write_report(write_sample_run(tmp_path / "small", small_space())).stat().st_size
    space = huge_space()
    assert space.body[-1].num_candidates == 46_656
    huge = write_report(write_sample_run(tmp_path / "huge", space)).stat().st_size
    assert huge < small + 100_000
    assert huge < 6_000_000


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


ARTEFACTS = [
    "data/step.json",
    "teacher/step.json",
    "teacher/history.json",
    "space/space.json",
    "distill/history.json",
    "rate/ratings.npz",
    "cost/costs.npz",
    "solve/solution.json",
    "solve/front.json",
    "additivity/additivity.json",
    "features/features.json",
    "features/features.npz",
    "summary.json",
]


@pytest.mark.parametrize("content", [b"", b"{]", b"[1, 2]", b'{"result": {}, "schema": 1}', b"\xff\xfe\x00"])
@pytest.mark.parametrize("name", ARTEFACTS)
def test_damaged_artefact_is_named(run: Path, name: str, content: bytes) -> None:
    (run / name).write_bytes(content)
    with pytest.raises(UsageError, match=name.rpartition("/")[2].removesuffix(".json")):
        write_report(run)
    assert not (run / "report.html").exists()


def test_truncated_table_is_damaged(run: Path) -> None:
    path = run / "rate" / "ratings.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UsageError, match=r"ratings\.npz"):
        write_report(run)


def test_artefacts_of_two_runs_are_refused(run: Path, tmp_path: Path) -> None:
    other = write_sample_run(tmp_path / "other", huge_space())
    shutil.copy(other / "rate" / "ratings.npz", run / "rate" / "ratings.npz")
    with pytest.raises(UsageError, match="belongs to space"):
        write_report(run)


@pytest.mark.parametrize(
    ("name", "where"),
    [("solution.json", ("solution",)), ("solution.json", ("alternatives", 0)), ("front.json", ("params", -1))],
)
def test_choice_outside_the_space_is_refused_on_reading(run: Path, name: str, where: tuple[str | int, ...]) -> None:
    path = run / "solve" / name
    content = found = json.loads(path.read_text())
    for key in where:
        found = found[key]
    found["choice"][0]["cell"] = 99
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="not in space"):
        read_run(run)


def test_summary_of_another_solution_is_not_mixed_in(tmp_path):
    """After solving for another budget the old student's numbers must not stand beside the new architecture."""
    run = tmp_path / "run"
    write_sample_run(run, small_space())
    summary = json.loads((run / "summary.json").read_text())
    solved = json.loads((run / "solve" / "solution.json").read_text())["solution"]
    summary["student"]["architecture"] = solved["architecture"]
    (run / "summary.json").write_text(json.dumps(summary))
    assert read_run(run).summary is not None
    summary["student"]["architecture"] = solved["architecture"].replace("| head", "id | head")
    (run / "summary.json").write_text(json.dumps(summary))
    assert read_run(run).summary is None
