"""Records for other programs: what was written is read back with the programs' own packages."""

import importlib
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from killing import Killed, KillingProgress
from tiny_run import write_images
from tiny_shrink import tiny_shrink

from distilnas.recipes.catalogue import run_recipe
from distilnas.runtime import ranks
from distilnas.runtime.progress import CallbackProgress, Epoch, Event, SilentProgress
from distilnas.runtime.sinks import watched

Points = dict[str, list[tuple[int, float]]]
HISTORIES = {
    "teacher/fit teacher": "teacher",
    "students/macs-70pct/recover/recover student": "students/macs-70pct/recover",
}


def of_tensorboard(folder: Path) -> Points:
    module = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = module.EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def of_mlflow(folder: Path) -> Points:
    client = importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=(folder / "store").as_uri())
    (experiment,) = [one for one in client.search_experiments() if one.name == "distilnas"]
    (run,) = client.search_runs([experiment.experiment_id])
    known = run.data.metrics
    return {tag: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, tag)] for tag in known}


def logged(data: bytes) -> Iterator[bytes]:
    """Records of a log as LevelDB has it, shorter than its blocks of 32 KiB: each behind sum, length and kind; a file
    begins with 7 bytes."""
    at = 7
    while at + 7 <= len(data):
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        assert kind == 1, "a record in pieces"
        yield data[at + 7 : at + 7 + length]
        at += 7 + length


def of_wandb(folder: Path) -> Points:
    """Of the files of all processes, which have one identity."""
    records = importlib.import_module("wandb.proto.wandb_internal_pb2")
    found: Points = {}
    identities = set()
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in logged(path.read_bytes()):
            record = records.Record()
            record.ParseFromString(data)
            if record.HasField("run"):
                identities.add(record.run.run_id)
            rows = [record.history.item, record.summary.update]
            for items in rows:
                values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
                step = int(values.get("epoch", 0))
                for tag, value in values.items():
                    if items is record.history.item or tag.startswith("summary/"):
                        found.setdefault(tag, []).append((step, value))
    assert len(identities) == 1
    return found


READERS: dict[str, Callable[[Path], Points]] = {"tensorboard": of_tensorboard, "wandb": of_wandb, "mlflow": of_mlflow}


@pytest.fixture(params=list(READERS))
def sink(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed (extra {request.param})")
    if request.param == "mlflow":
        pytest.importorskip("mlflow.tracking")
    return request.param


def epoch(folder: Path, number: int, **values: float) -> Epoch:
    return Epoch(folder=folder / "teacher", name="fit", number=number, values=values)


def test_what_was_written_is_read(sink: str, tmp_path: Path) -> None:
    """Two processes, one record: three epochs, and what the run came to."""
    with watched(tmp_path, [sink], SilentProgress()) as first:
        first.epoch(epoch(tmp_path, 0, loss=2.0, lr=0.5))
        first.epoch(epoch(tmp_path, 1, loss=1.0, lr=0.25))
    with watched(tmp_path, [sink], SilentProgress()) as second:
        second.epoch(epoch(tmp_path, 2, loss=0.5, lr=0.125))
        second.finish({"student": {"top1": 87.5, "name": "small"}, "seconds": {"teacher": 3.0}})
    found = READERS[sink](tmp_path / "log" / sink)
    assert found["teacher/fit/loss"] == [(0, 2.0), (1, 1.0), (2, 0.5)]
    assert found["teacher/fit/lr"] == [(0, 0.5), (1, 0.25), (2, 0.125)]
    assert found["summary/student.top1"][-1][1] == 87.5
    assert not any("seconds" in tag or "name" in tag for tag in found)


def test_a_finished_run_writes_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"student": {"top1": 1}}')
    with watched(tmp_path, ["tensorboard"], SilentProgress()) as progress:
        progress.finish({"student": {"top1": 1}})
    assert not (tmp_path / "log").exists()


def test_only_the_first_rank_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others work in folders of their own, outside the run."""
    monkeypatch.setattr(ranks, "leads", lambda: False)
    with watched(tmp_path / "run", list(READERS), SilentProgress()) as progress:
        progress.epoch(epoch(tmp_path / "of-its-own", 0, loss=1.0))
        progress.finish({"student": {"top1": 1}})
    assert not (tmp_path / "run").exists()


def test_without_sinks_epochs_may_be_anywhere(tmp_path: Path) -> None:
    with watched(tmp_path / "run", (), SilentProgress()) as progress:
        progress.epoch(epoch(tmp_path / "of-its-own", 0, loss=1.0))


class Full:
    """A sink that opens and then cannot write."""

    @classmethod
    def open_sink(cls, _: Path) -> "Full":
        return cls()

    def scalars(self, group: str, values: Any, step: int) -> None:
        raise OSError("disk full")


def missing(name: str) -> Any:
    raise ImportError(f"no {name}")


@pytest.mark.parametrize(("opened", "words"), [(missing, "pip install"), (lambda _: Full, "disk full")])
def test_a_sink_that_fails_is_said_once(
    opened: Callable[[str], Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distilnas.runtime.sinks.watching.importlib.import_module", opened)
    events: list[Event] = []
    with watched(tmp_path, ["mlflow"], CallbackProgress(events.append)) as progress:
        for number in range(3):
            progress.epoch(epoch(tmp_path, number, loss=1.0))
    (said,) = [event.text for event in events if not event.values]
    assert "mlflow records no more" in said
    assert words in said
    assert [event.done for event in events if event.values] == [1, 2, 3]


def test_a_run_tells_every_training_and_what_it_came_to(tmp_path: Path) -> None:
    """Against the histories of its steps; the run is killed in the teacher's training once, and goes on."""
    pytest.importorskip("tensorboard")
    images = write_images(tmp_path / "images")
    settings = tiny_shrink(tmp_path, images, "runtime.log=[tensorboard]", "runtime.checkpoint_seconds=0")
    with pytest.raises(Killed):
        run_recipe(settings, tmp_path / "run", progress=KillingProgress(2))
    summary = run_recipe(settings, tmp_path / "run")
    found = of_tensorboard(tmp_path / "run/log/tensorboard")
    for training, place in HISTORIES.items():
        for row in json.loads((tmp_path / "run" / place / "history.json").read_text())["epochs"]:
            for name in row.keys() - {"epoch"}:
                assert found[f"{training}/{name}"] == [(row["epoch"], pytest.approx(row[name]))]
        assert found[f"{training}/lr"][0][1] > 0
    assert found["summary/student.top1"] == [(0, pytest.approx(summary["student"]["top1"]))]
    written = sorted((tmp_path / "run/log").rglob("*"))
    assert run_recipe(settings, tmp_path / "run") == summary
    assert sorted((tmp_path / "run/log").rglob("*")) == written
