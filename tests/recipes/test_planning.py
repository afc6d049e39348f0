"""A forecast: its arithmetic by formula, its counts and sizes against a real run, its shape on a tiny one."""

import dataclasses
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planning_samples import CPU, fix_measurements, seconds, step
from safetensors.torch import save
from tiny_run import CONFIG, tiny_settings

from distilnas.config import parse
from distilnas.errors import InfeasibleError, UsageError
from distilnas.files import read_json
from distilnas.methods.dna import RateSettings
from distilnas.methods.dna.rate import walk
from distilnas.networks import StudentNet
from distilnas.recipes import teaching
from distilnas.recipes.dna.probes import rating_batches
from distilnas.recipes.planner import plan
from distilnas.recipes.planning.disk import checkpoint_mb
from distilnas.recipes.planning.forecast import EFFICIENCY, Line, Work, largest_piece, line_through, seconds_at
from distilnas.recipes.planning.images import planned_images, stand_ins
from distilnas.recipes.planning.loading import hold, measure_loading
from distilnas.recipes.planning.meter import Meter, Sample, grow, sizes
from distilnas.recipes.planning.probes import classifier_steps, noise_images, settle
from distilnas.recipes.retrain.settings import RetrainSettings
from distilnas.recipes.settings import DataSettings, Settings
from distilnas.retrain import retrain
from distilnas.runtime.checkpoints import save_tree
from distilnas.space import Architecture
from distilnas.supernet import build_supernet
from distilnas.teachers import TeacherBlocks, create_teacher, propose
from distilnas.training import ClassifierSettings, OptimSettings
from distilnas.training.optim import make_optimizer

TEXT = "stem 8/2 relu | 8/2 mb_k3_e2_relu | 16/2 mb_k5_e2_relu | head 16 relu"
POSITIVE = st.floats(0, 1e6)


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    fix_measurements(monkeypatch)


# Arithmetic


@given(a=POSITIVE, b=st.floats(0, 100), x=st.integers(1, 100), more=st.integers(1, 100), far=st.integers(1, 4096))
def test_line_finds_what_made_its_points(a: float, b: float, x: int, more: int, far: int):
    true = Line(start=a, slope=b)
    assert line_through([(x, true.at(x)), (x + more, true.at(x + more))]).at(far) == pytest.approx(
        true.at(far), rel=1e-6, abs=1e-3
    )


def test_line_never_falls_and_one_point_goes_through_the_origin():
    assert line_through([(4, 10.0), (8, 9.0)]).at(100) == 9.0
    assert line_through([(4, 10.0)]).at(8) == 20.0
    assert line_through([(4, 10.0)], origin=10.0).at(8) == 10.0


@given(part=st.floats(0, 0.5), x=st.integers(2, 16), far=st.integers(32, 512), noise=st.floats(-0.9, 0.9))
def test_seconds_follow_the_line_within_bounds(part: float, x: int, far: int, noise: float):
    """A step of which so large a part does not grow is found; whatever noise does, half to all grows from the last."""
    true = Line(start=part, slope=(1 - part) / (2 * x))  # 1 s at 2 x images
    assert seconds_at([(x, true.at(x)), (2 * x, 1.0)], far) == pytest.approx(true.at(far))
    noisy = seconds_at([(x, true.at(x) * (1 + noise)), (2 * x, 1.0)], far)
    assert (1 + far / (2 * x)) / 2 - 1e-9 <= noisy <= far / (2 * x) + 1e-9
    assert seconds_at([(x, 5.0), (2 * x, 3.0)], 2 * x) == 3.0


@given(compute=POSITIVE, load=POSITIVE, fixed=POSITIVE, devices=st.integers(1, 64))
def test_work_overlaps_with_workers_and_divides_computing_alone(
    compute: float, load: float, fixed: float, devices: int
):
    work = Work(compute=compute, load=load, fixed=fixed, parallel=True)
    shared = compute if devices == 1 else compute / devices / EFFICIENCY
    assert work.seconds(workers=0, devices=devices) == pytest.approx(fixed + shared + load)
    assert work.seconds(workers=3, devices=devices) == pytest.approx(fixed + max(shared, load))
    alone = dataclasses.replace(work, parallel=False)
    assert alone.seconds(workers=0, devices=devices) == pytest.approx(fixed + compute + load)


@given(batch=st.integers(2, 512), start=st.floats(0, 100), slope=st.floats(0, 10), even=st.booleans())
def test_largest_piece_against_trying_all(batch: int, start: float, slope: float, even: bool):
    memory, limit = Line(start=start, slope=slope), 500.0
    fits = [n for n in range(2, batch + 1) if batch % n == 0 and memory.at(n) <= limit and not (even and n % 2)]
    assert largest_piece(batch, memory, limit, even=even) == max(fits, default=None)


@given(st.integers(2, 5000))
def test_sizes_grow_to_the_wanted_one(wanted: int):
    found = sizes(wanted)
    assert found[-1] == wanted
    assert found == sorted(set(found))
    assert all(n % 2 == 0 and after <= 4 * n for n, after in pairwise(found))
    assert len(found) >= 2 or wanted == 2


def test_growth_stops_at_time_and_memory():
    def measure(images: int, until: float) -> Sample:
        return Sample(images=images, steps=3, seconds={"step": images}, memory_mb=100.0 + images)

    assert [s.images for s in grow(measure, 256, seconds=60).samples] == [2, 4, 16, 64, 256]
    found = grow(measure, 256, seconds=60, limit_mb=200.0)
    assert [s.images for s in found.samples] == [2, 4, 16, 64]
    assert (found.scaled, found.seconds(), found.memory_mb) == (True, 256.0, 356.0)
    assert [s.images for s in grow(measure, 256, seconds=0).samples] == [2, 4]


def test_growth_stops_where_the_device_is_full():
    def measure(images: int, until: float, most: int = 16) -> Sample:
        if images > most:
            raise torch.OutOfMemoryError("full")
        return Sample(images=images, steps=3, seconds={"step": 1.0}, memory_mb=None)

    assert [s.images for s in grow(measure, 256, seconds=60).samples] == [2, 4, 16]
    with pytest.raises(UsageError, match="not even 2 images"):
        grow(partial(measure, most=1), 256, seconds=60)


# Images


def test_counts_are_those_of_the_run(images: Path, finished: Path, tmp_path: Path):
    settings = tiny_settings(tmp_path, images)
    found = planned_images(settings.data, seed=0, rating_images=settings.rate.images, resolution=32)
    counts = read_json(finished / "data" / "step.json")["result"]["counts"]
    assert found.to_dict() == {**counts, "classes": 3, "from": "data"}


@pytest.mark.parametrize(
    ("data", "given_images", "expected"),
    [
        # ImageNet and CIFAR: 10,000 validation and 256 rating images come from the training set
        ({"path": "data/imagenet"}, None, (1_281_167 - 10_256, 50_000, 1000, "known of imagenet")),
        ({"path": "c", "source": "cifar100"}, None, (50_000 - 10_256, 10_000, 100, "known of cifar100")),
        ({"path": "ImageNet-1k"}, 100_000, (100_000 - 10_256, 50_000, 1000, "--images")),
        ({"path": "photos", "test_fraction": 0.1}, 100_000, (90_000 - 10_256, 10_000, 1000, "--images")),
        ({"path": "photos", "train_images": 5000}, 100_000, (5000, 20_000, 1000, "--images")),
    ],
)
def test_counts_without_images(data: dict[str, Any], given_images: int | None, expected: tuple[Any, ...]):
    settings = DataSettings(**{"validation": 10_000, **data})
    found = planned_images(settings, seed=0, rating_images=256, resolution=32, images=given_images).to_dict()
    assert (found["train"], found["test"], found["classes"], found["from"]) == expected
    assert (found["validation"], found["rating"]) == (10_000, 256)


def test_a_number_must_be_known(images: Path):
    with pytest.raises(UsageError, match="Give it with --images"):
        planned_images(DataSettings(path="imagenette"), seed=0, rating_images=0, resolution=32)
    pattern = DataSettings(source="wds", path="nowhere/train-{000..146}.tar")
    found = planned_images(pattern, seed=0, rating_images=0, resolution=32, images=100, classes=2)
    assert (found.classes, found.count("train")) == (2, 75)  # 20 test and 5 validation images
    with pytest.raises(UsageError, match="leave them out"):
        planned_images(DataSettings(path=str(images)), seed=0, rating_images=0, resolution=32, images=100)


def test_stand_ins_look_like_photographs():
    """ImageNet's files have about 110 kB, at a mean of 400 x 350 pixels."""
    pictures = stand_ins(100, 10, 224)
    assert {pictures.pil(i).size for i in range(4)} == {(500, 400), (400, 500)}
    assert 40_000 < pictures.origin.sizes().mean() < 200_000  # type: ignore[union-attr]
    assert stand_ins(4, 2, 112).pil(1).size == (250, 200)
    assert stand_ins(4, 2, 224, cifar=True).pil(0).size == (32, 32)


def test_what_is_kept_in_memory_is_judged_as_the_run_does(images: Path, tmp_path: Path):
    found = planned_images(tiny_settings(tmp_path, images).data, seed=0, rating_images=16, resolution=32)
    train = found.splits.train
    for limit_mb in (0.1, 10.0):
        held = hold(train, limit_mb, seed=0)
        assert held.in_memory == isinstance(train.decoded(limit_mb).images, np.ndarray)
        assert held.memory_mb == pytest.approx(held.in_memory * len(train) * 32 * 32 * 3 / 1e6)
    assert not hold(stand_ins(100, 10, 64), 1e6, seed=0).in_memory  # of two sizes
    assert hold(noise_images(8, 8, 2), 0.0, seed=0).in_memory  # was there already


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_is_timed_per_image(workers: int):
    """A transform that sleeps: 4 ms an image, shared among processes."""
    found = measure_loading(stand_ins(640, 2, 16), slow_transform, workers=workers, seconds=0.5)
    assert 0.003 / max(1, workers) < found.seconds < 0.02
    assert (found.start > 0) == (workers > 0)


def slow_transform(image: Any) -> torch.Tensor:
    import time

    time.sleep(0.004)
    return torch.zeros(3, 2, 2)


# Probes


def test_noise_images_differ_and_share_memory():
    many = noise_images(1_000_000, 32, 7)
    assert len({many.raw(i).tobytes() for i in (0, 1, 2, 999_999)}) == 4  # type: ignore[union-attr]
    assert many.images.base is not None  # type: ignore[union-attr]
    assert many.labels[7] == 0


@pytest.mark.parametrize("metric", ["relative_l1", "stitched_kl"])
def test_rating_time_counts_every_evaluation_of_the_tree(metric: str, monkeypatch: pytest.MonkeyPatch):
    """With every timed call taking 1 s, rating takes as long as ``walk`` has calls: of layers, exits and scores."""
    monkeypatch.setattr(Meter, "timed", lambda self, work: (work(), 1.0))
    model = settle(create_teacher("resnet10t", num_classes=2, model_kwargs={"channels": [8, 8, 8, 8]}), 32, CPU)
    partition = propose(model, 32, "auto")
    fitted = {"width_ratios": [0.5, 1.0], "depths": [1, 3], "kernels": [3, 5], "expansions": [2]}
    space = parse({**CONFIG, "data": {"path": "x"}, "space": {"fitted": fitted}}, Settings).space.fitted
    assert space is not None
    search = space.fit([8] * 4, [4, 8, 16, 32])
    supernet = build_supernet(search, (8,) * 4, adapters="project", seed=0)
    settings = RateSettings(metric=metric, images=16, batch_size=4, stitch_batch=8)
    measure = rating_batches(supernet, TeacherBlocks(model, partition), settings, device=CPU, meter=Meter(CPU))
    calls = {"layer": 0, "exit": 0}
    for b, block in enumerate(supernet.blocks):
        calls["layer"] += 1  # the entry
        for cell in block.cells:  # type: ignore[union-attr]
            for op in (op for layer in cell.layers for op in layer):
                op.register_forward_hook(lambda *_: calls.update(layer=calls["layer"] + 1))
            x = torch.randn(2, max(search.in_widths(b)) if b else search.blocks[0].cells[0].stem.out_width, 8, 8)
            with torch.no_grad():
                calls["exit"] += sum(1 for _ in walk(cell, x, CPU))
    group = 2 if metric == "stitched_kl" else 1  # 8 images a call hold two candidates of 4
    expected = calls["layer"] + calls["exit"] * (1 + 1 / group)
    assert measure(4, 0.0).seconds["rate"] == expected


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux")
def test_memory_grows_with_the_batch():
    settings = ClassifierSettings(batch_size=64)
    train = partial(retrain, Architecture.parse(TEXT), num_classes=3)
    measure = classifier_steps(train, settings, classes=3, resolution=64, device=CPU, meter=Meter(CPU))
    found = grow(measure, 128, seconds=2)
    few, many = found.samples[0], found.samples[-1]
    assert many.images >= 32
    assert many.memory_mb > few.memory_mb + 10  # type: ignore[operator]
    assert found.memory.at(256) > found.memory.at(128)  # type: ignore[union-attr]
    assert many.seconds["step"] > few.seconds["step"] > 0


def test_settled_networks_pass_features_on():
    """A deep network of random weights in eval mode lets features vanish; settled, they keep their size."""
    torch.manual_seed(0)
    model = create_teacher("efficientnet_b0", num_classes=5)
    momenta = [m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    model.classifier.weight.data.zero_()  # type: ignore[union-attr]
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = model.eval()(images).std(0).max()
        after = settle(model, 64, CPU)(images).std(0).max()
    assert before == 0
    assert after > 1e-3
    assert not model.training
    assert [m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)] == momenta


# Whole forecasts


def test_forecast_of_a_tiny_run(images: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The steps are those of summary.json, all of them take time, and nothing is written."""
    settings = tiny_settings(tmp_path, images)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    forecast = plan(settings, seconds=3)
    assert sorted(tmp_path.rglob("*")) == before
    record = forecast.to_dict()
    summary = read_json(finished / "summary.json")
    known = {name for name, row in record["steps"].items() if row["seconds"] is not None}
    assert set(record["steps"]) >= set(summary["seconds"])
    assert known == set(summary["seconds"]) - {"solve", "export"}
    assert all(record["steps"][name]["seconds"] > 0 for name in ("teacher", "distill", "rate", "retrain", "evaluate"))
    assert record["total_seconds"] == pytest.approx(sum(r["seconds"] or 0 for r in record["steps"].values()), abs=0.1)
    assert record["total_hours"] == pytest.approx(record["total_seconds"] / 3600, abs=1e-3)
    assert record["device"] == "cpu"
    assert record["probe"]["distill"]["steps"] >= 3
    assert record["probe"]["distill"]["configured_batch"] == 16
    assert any("not known before the search" in text for text in record["assumptions"])


def test_disk_is_that_of_the_real_files(images: Path, finished: Path, tmp_path: Path, fixed: None):
    """Within 10 %, step by step: the files that a finished run left."""
    student = Architecture.parse(read_json(finished / "summary.json")["student"]["architecture"])
    forecast = plan(tiny_settings(tmp_path, images), seconds=1, architecture=student)
    folder = next((finished / "students").iterdir())
    real = {
        "teacher": [finished / "teacher" / teaching.WEIGHTS],
        "distill": [finished / "distill" / "supernet.safetensors"],
        "rate": [finished / "rate" / "ratings.npz"],
        "cost": [finished / "cost" / "costs.npz"],
        "retrain": [folder / "retrain" / "model.safetensors"],
        "export": [folder / "export" / f"model.{form}" for form in ("safetensors", "onnx", "pt2")],
        "report": [finished / "report.html"],
    }
    for name, paths in real.items():
        expected = sum(path.stat().st_size for path in paths) / 1e6
        assert step(forecast, name).disk_mb == pytest.approx(expected, rel=0.1), name
    everything = sum(path.stat().st_size for path in finished.rglob("*") if path.is_file()) / 1e6
    assert forecast.disk_mb == pytest.approx(everything, rel=0.1)


@pytest.mark.parametrize(("name", "ema"), [("adamw", None), ("sgd", 0.9), ("rmsprop", None)])
def test_checkpoint_has_the_size_of_a_real_one(name: str, ema: float | None, tmp_path: Path):
    model, optim = StudentNet(Architecture.parse(TEXT), num_classes=400), OptimSettings(optimizer=name)
    optimizer = make_optimizer(model, optim)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    state: dict[str, Any] = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    save_tree(tmp_path / "checkpoint", state | ({"ema": model.state_dict()} if ema else {}))
    real = (tmp_path / "checkpoint").stat().st_size / 1e6
    assert checkpoint_mb(model, optim, averaged=ema is not None) == pytest.approx(real, rel=0.25)


def test_seconds_by_formula(images: Path, finished: Path, tmp_path: Path, fixed: None):
    """Epochs times steps times the seconds of one, and twice as many epochs take twice as long."""
    once = plan(tiny_settings(tmp_path, images), seconds=1)
    found, counts = seconds(once), once.images
    twice = seconds(plan(tiny_settings(tmp_path, images, "distill.epochs=4", "retrain.epochs=2"), seconds=1))
    steps, tests = counts["train"] // 16, 2.0 * counts["validation"] / counts["test"]
    assert found["distill"] == pytest.approx(2 * steps * 2.0, abs=0.2)
    assert found["retrain"] == pytest.approx(counts["train"] // 24 * 2.0 + tests)
    assert found["rate"] == pytest.approx(2 * (2 * 2.0 + 2.0), abs=0.2)  # two batches: two teacher passes, all paths
    measured = read_json(finished / "additivity" / "additivity.json")["measured"]
    assert found["additivity"] == pytest.approx(2 * (2 * 2.0 + 2.0 * len(measured)), abs=0.2)
    assert found["evaluate"] == pytest.approx(2.0)  # top-1 and top-5 in one pass
    assert twice["distill"] == pytest.approx(2 * found["distill"], abs=0.2)
    assert twice["retrain"] == pytest.approx(2 * found["retrain"])
    assert twice["teacher"] == pytest.approx(found["teacher"], abs=0.5)


def test_orders_pieces_and_random_networks_by_formula(images: Path, tmp_path: Path, fixed: None):
    whole = seconds(plan(tiny_settings(tmp_path, images), seconds=1))
    options = ("distill.order=forward", "distill.micro_batch=4", "retrain.micro_batch=8", "random.number=3")
    found = seconds(plan(tiny_settings(tmp_path, images, *options), seconds=1))
    assert found["distill"] == pytest.approx(4 * 4 * whole["distill"], rel=0.1)  # four blocks, four pieces of a batch
    tests = whole["evaluate"]
    assert found["retrain"] > 2.5 * (whole["retrain"] - tests)
    assert found["random"] == pytest.approx(3 * (found["retrain"] + found["evaluate"]))


def test_devices_are_a_stated_projection(images: Path, tmp_path: Path, fixed: None):
    settings = tiny_settings(tmp_path, images, "distill.epochs=200")
    one, four = plan(settings, seconds=1), plan(settings, seconds=1, devices=4)
    assert seconds(four)["distill"] == pytest.approx(seconds(one)["distill"] / (4 * EFFICIENCY), rel=0.01)
    assert seconds(four)["evaluate"] == seconds(one)["evaluate"]
    assert any("4 devices are a projection" in text for text in four.assumptions)
    assert not any("projection" in text for text in one.assumptions)
    with pytest.raises(UsageError, match="devices must be at least 1"):
        plan(settings, devices=0)


def test_what_does_not_fit_gets_a_micro_batch(
    images: Path, tmp_path: Path, fixed: None, monkeypatch: pytest.MonkeyPatch
):
    """Of 100 MB at 16 images, 1 MB each: in 0.9 of 105 MB are 94.5, that is 8 of the divisors of 16."""
    monkeypatch.setattr(Meter, "limit_mb", 105.0)
    settings = tiny_settings(tmp_path, images, "data.cache_mb=0")
    forecast = plan(settings, seconds=1)
    assert any("set distill.micro_batch=8" in text for text in forecast.advice)
    assert any("set retrain.micro_batch=12" in text for text in forecast.advice)
    assert any("teacher.fit.micro_batch=12" in text for text in forecast.advice)
    assert any("rate.batch_size" in text for text in forecast.advice)
    monkeypatch.setattr(Meter, "limit_mb", 1e6)
    assert not plan(settings, seconds=1).advice
    monkeypatch.setattr(Meter, "limit_mb", 90.0)
    assert any("not even 2 images" in text for text in plan(settings, seconds=1).advice)


@pytest.mark.parametrize(
    "options",
    [
        ("rate.metric=stitched_ce", "distill.label_loss=0.1"),
        ("distill.feed=student", "distill.order=forward", "distill.sampling=fair"),
        ("retrain.mixup=0.2", "retrain.ema=0.9", "retrain.optim.lr_base_size=24", "distill.adapters=absorb"),
    ],
)
def test_variants_are_probed_as_they_run(options: tuple[str, ...], images: Path, tmp_path: Path):
    found = seconds(plan(tiny_settings(tmp_path, images, *options), seconds=1))
    assert all(found[name] > 0 for name in ("distill", "rate", "retrain"))


def test_rounds_are_the_sum_of_their_runs(images: Path, tmp_path: Path, fixed: None):
    from distilnas.recipes.progressive.settings import ProgressiveSettings

    dna = {**CONFIG, "data": {**CONFIG["data"], "path": str(images)}}
    recipe = {"recipe": "progressive", "rounds": 3, "dna": dna, "scale": {"params": "100%", "classes": 3}}
    settings = parse(recipe | {"retrain": CONFIG["retrain"]}, ProgressiveSettings)
    forecast = plan(settings, seconds=1)
    found = seconds(forecast)
    assert [name.split("/")[0] for name in found if name.endswith("/retrain")] == [
        "round-1",
        "scaled-1",
        "round-2",
        "scaled-2",
        "round-3",
    ]
    assert found["round-3/distill"] == found["round-2/distill"]
    assert found["round-1/teacher"] > found["round-2/teacher"]  # only the first teacher is fitted
    assert any("round 2" in text for text in forecast.assumptions)
    with pytest.raises(UsageError, match="stands in for the student of a search"):
        plan(settings, seconds=1, architecture=Architecture.parse(TEXT))
    single = parse(recipe | {"rounds": 1}, ProgressiveSettings)
    assert all(name.startswith("round-1/") for name in seconds(plan(single, seconds=1)))


def test_a_retraining(tmp_path: Path, fixed: None):
    (tmp_path / "a.txt").write_text(TEXT)
    data = {"path": "photos", "resolution": 32, "validation": 100}
    settings = parse(
        {"recipe": "retrain", "data": data, "network": {"file": str(tmp_path / "a.txt")}, "retrain": CONFIG["retrain"]},
        RetrainSettings,
    )
    forecast = plan(settings, seconds=1, images=1000, classes=5)
    steps = (1000 - 100 - 200) // 24
    assert seconds(forecast)["retrain"] == pytest.approx(steps * 2.0 + 2.0 * 100 / 200)
    assert forecast.images["classes"] == 5
    file = save(StudentNet(Architecture.parse(TEXT), num_classes=5).state_dict())
    assert step(forecast, "retrain").disk_mb == pytest.approx(len(file) / 1e6, rel=0.1)


def test_files_of_weights_need_not_exist(images: Path, tmp_path: Path, fixed: None):
    settings = tiny_settings(tmp_path, images, "teacher.weights=nowhere.pth")
    assert seconds(plan(settings, seconds=1))["teacher"] > 0


def test_what_the_run_would_refuse(images: Path, tmp_path: Path):
    with pytest.raises(InfeasibleError, match="smallest reachable macs"):
        plan(tiny_settings(tmp_path, images, "solve.max_macs=10"), seconds=1)
    with pytest.raises(UsageError, match=r"distill\.blocks names block 9"):
        plan(tiny_settings(tmp_path, images, "distill.blocks=[9]"), seconds=1)
    own = {**CONFIG, "data": {**CONFIG["data"], "path": str(images)}, "teacher": {"model": "own"}}
    with pytest.raises(UsageError, match="from Python"):
        plan(parse(own, Settings), seconds=1)


def test_a_tight_budget_still_has_a_student_to_forecast_with(images: Path, tmp_path: Path, fixed: None):
    """A limit that random draws hardly meet: what the solver says is the smallest."""
    settings = tiny_settings(tmp_path, images)
    with pytest.raises(InfeasibleError) as error:
        plan(tiny_settings(tmp_path, images, "solve.max_macs=10"), seconds=1)
    smallest = str(error.value).split("smallest reachable macs is ")[1].split()[0].rstrip(".,;").replace(",", "")
    limited = dataclasses.replace(settings, solve=dataclasses.replace(settings.solve, max_macs=smallest))
    assert any(f"{int(smallest):,} MACs" in text for text in plan(limited, seconds=1).assumptions)
