"""Feature maps of student and teacher: the numbers against an independent computation, and what the step keeps."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image
from tiny_run import tiny_settings

from distilnas.errors import UsageError
from distilnas.files import read_json
from distilnas.recipes.dna.feature_maps import PairedMoments
from distilnas.recipes.dna.features import FeatureSettings, default_block, run_features
from distilnas.recipes.dna.recipe import run_dna, with_teacher
from distilnas.recipes.dna.steps import DATA, DISTILL, SOLVE, SPACE, TEACHER, rating_batches
from distilnas.recipes.frame import Job
from distilnas.recipes.settings import Settings
from distilnas.recipes.solving import read_choice
from distilnas.runtime.store import Run
from distilnas.tables.files import read_arrays

NUMBERS = st.floats(-100, 100, width=32)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def settings(images: Path, tmp_path: Path) -> Settings:
    return tiny_settings(tmp_path, images)


def kept(run: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    arrays, _ = read_arrays(run / "features" / "features.npz", kind="features", schema=1)
    return read_json(run / "features" / "features.json"), arrays


def moments(pairs: np.ndarray) -> PairedMoments:
    """``pairs`` (images, 2, C, H, W) taken in image by image."""
    found = PairedMoments()
    for one, other in torch.from_numpy(pairs):
        found.add(one, other)
    return found


@given(npst.arrays(np.float32, st.tuples(*map(st.just, (3, 2, 2, 2, 3))), elements=NUMBERS))
def test_correlation_is_that_of_numpy(pairs: np.ndarray):
    found = moments(pairs)
    for c, r in enumerate(found.correlations()):
        one, other = pairs[:, :, c].transpose(1, 0, 2, 3).reshape(2, -1).astype(float)
        assert found.variances()[:, c] == pytest.approx([one.var(), other.var()], abs=1e-6)
        if min(one.std(), other.std()) > 1e-3:
            assert r == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-6)


def test_scale_and_offset_do_not_count_but_the_sign_does():
    one = np.random.default_rng(0).normal(size=(4, 3, 5, 5))
    students = np.stack([3 * one[:, 0] + 100, -one[:, 1], one[:, 2]], 1)
    assert moments(np.stack([one, students], 1)).correlations() == pytest.approx([1, -1, 1])


def test_constant_channels():
    """Constant in the teacher: nothing to imitate. Constant or not finite in the student: nothing imitated."""
    one = np.random.default_rng(0).normal(size=(2, 4, 3, 3)).astype(np.float32)
    other = one.copy()
    one[:, 0], other[:, 1], other[:, 2] = 0.1, 1000.3, np.inf
    r = moments(np.stack([one, other], 1)).correlations()
    assert np.isnan(r[0])
    assert list(r[1:3]) == [0, 0]
    assert r[3] == pytest.approx(1)


# (sides, index): the paper's size where there is one, else the nearest as a ratio; of equal ones the last
@pytest.mark.parametrize(
    ("sides", "block"),
    [((112, 56, 28, 14, 14, 7), 4), ((128, 64, 32, 16, 8), 3), ((8, 4, 2, 1), 0), ((56, 28, 7), 2), ((12, 6, 6), 0)],
)
def test_default_block_has_maps_like_the_papers(sides: tuple[int, ...], block: int):
    assert default_block(sides) == block
    assert FeatureSettings().indices(sides) == (block,)


def test_blocks_are_numbered_from_one():
    assert FeatureSettings(blocks=2).indices((8, 4)) == (1,)
    assert FeatureSettings(blocks="all").indices((8, 4)) == (0, 1)
    for wrong in (0, 3):
        with pytest.raises(UsageError, match="from 1 to 2"):
            FeatureSettings(blocks=wrong).indices((8, 4))


def test_step_agrees_with_a_plain_computation(run: Path, settings: Settings):
    """Features of all rating images at once per batch, correlated by numpy; maps picked by hand."""
    record = run_features(settings, run, FeatureSettings(blocks="all"))
    _, arrays = kept(run)
    with Run(run) as store, torch.no_grad():
        job = Job(store, settings, *with_teacher(settings))
        rating, choice = job.get(DATA).rating, read_choice(job.result(SOLVE)["choice"], job.get(SPACE))
        features: list[list[np.ndarray]] = [[], [], []]
        for images, _ in rating_batches(job):
            teacher = job.get(TEACHER).features(images)
            imitated = job.get(DISTILL).imitate(images, [(c.cell, c.path) for c in choice[:-1]])
            b, (cell, path) = 2, (choice[2].cell, choice[2].path)
            block: Any = job.get(DISTILL).blocks[b]
            alone = block.cells[cell](block.entry(teacher[b]), path)
            for found, feature in zip(features, (teacher[b + 1], alone, imitated[b]), strict=True):
                found.append(feature.numpy())
    target, alone, assembled = (np.concatenate(parts) for parts in features)
    live = target.std(axis=(0, 2, 3)) > 0
    for name, student in (("block", alone), ("assembled", assembled)):
        for c in np.flatnonzero(live):
            expected = np.corrcoef(target[:, c].ravel(), student[:, c].ravel())[0, 1]
            assert arrays[f"3/correlation/{name}"][c] == pytest.approx(expected, abs=1e-5)
    shown = [int(np.flatnonzero(rating.labels == label)[0]) for label in range(3)]
    channels = arrays["3/channels"]
    variances = target.var(axis=(0, 2, 3))
    assert variances[channels] == pytest.approx(np.sort(variances)[::-1][:8])
    for name, feature in (("teacher", target), ("block", alone), ("assembled", assembled)):
        assert arrays[f"3/{name}"] == pytest.approx(feature[sorted(shown)][:, channels], abs=1e-5)

    assert (record["num_images"], [row["block"] for row in record["blocks"]]) == (16, [1, 2, 3, 4])
    assert record["blocks"][2]["compared"] == live.sum()
    quartiles = np.percentile(arrays["3/correlation/block"][live], (25, 50, 75))
    described = record["blocks"][2]["correlation"]["block"]
    assert [described[key] for key in ("q1", "median", "q3")] == pytest.approx(quartiles)
    assert described["mean"] == pytest.approx(arrays["3/correlation/block"][live].mean())


def test_first_block_is_fed_the_same_either_way(run: Path, settings: Settings):
    run_features(settings, run, FeatureSettings(blocks=1))
    record, arrays = kept(run)
    assert np.array_equal(arrays["1/block"], arrays["1/assembled"])
    assert not np.array_equal(arrays["1/block"], arrays["1/teacher"])
    assert record["blocks"][0]["correlation"]["block"] == record["blocks"][0]["correlation"]["assembled"]


def test_shown_images_are_the_networks_inputs(run: Path, images: Path, settings: Settings):
    run_features(settings, run, FeatureSettings())
    record, arrays = kept(run)
    assert sorted(image["label"] for image in record["images"]) == ["blue", "green", "red"]  # in the rating's order
    for image, pixels in zip(record["images"], arrays["inputs"], strict=True):
        assert np.array_equal(pixels, np.asarray(Image.open(images / image["name"])))  # 32 pixels, as the run's


def test_images_of_the_user_are_completed_to_a_rating_batch(run: Path, images: Path, settings: Settings):
    """The first rating image alone stands in the batch that it is rated in: its maps are those of the default."""
    run_features(settings, run, FeatureSettings(blocks=2))
    batch = kept(run)[1]
    names = read_json(run / "features" / "features.json")["images"]
    first = images / names[0]["name"]
    record = run_features(settings, run, FeatureSettings(blocks=2, images=(first,)))
    _, alone = kept(run)
    assert (record["num_images"], record["images"]) == (1, [{"name": first.name, "label": None}])
    assert alone["inputs"].shape[0] == 1
    assert np.array_equal(alone["inputs"][0], batch["inputs"][0])
    both = sorted(set(alone["2/channels"]) & set(batch["2/channels"]))
    pick = [[list(found["2/channels"]).index(c) for c in both] for found in (alone, batch)]
    assert both
    for name in ("teacher", "block", "assembled"):
        assert alone[f"2/{name}"][0][pick[0]] == pytest.approx(batch[f"2/{name}"][0][pick[1]], abs=1e-5)


def test_many_images_fill_several_batches(run: Path, images: Path, settings: Settings):
    files = tuple(sorted((images / "red").iterdir()))[:11]  # rated in batches of 8
    record = run_features(settings, run, FeatureSettings(blocks=1, images=files))
    assert record["num_images"] == 11
    assert [image["name"] for image in record["images"]] == [file.name for file in files[:6]]
    assert kept(run)[1]["1/teacher"].shape[:2] == (6, 8)


def test_second_call_does_nothing_and_other_images_are_compared_anew(run: Path, images: Path, settings: Settings):
    file = run.parent / "photo.png"
    shutil.copy(images / "red" / "000.png", file)
    asked = FeatureSettings(images=(file,))
    assert not run_features(settings, run, asked)["skipped"]
    assert run_features(settings, run, asked)["skipped"]
    shutil.copy(images / "blue" / "000.png", file)
    assert not run_features(settings, run, asked)["skipped"]
    assert not run_features(settings, run, FeatureSettings())["skipped"]


def test_features_follow_the_solution(run: Path, images: Path, tmp_path: Path, settings: Settings):
    before = run_features(settings, run, FeatureSettings())
    student = read_json(run / "summary.json")["student"]
    other = tiny_settings(tmp_path, images, f"solve.min_macs={student['macs'] + 1}")
    run_dna(other, run, until="solve")
    after = run_features(other, run, FeatureSettings())
    assert not after["skipped"]
    assert after["architecture"] != before["architecture"]
    assert after["architecture"] == read_json(run / "solve" / "solution.json")["solution"]["architecture"]


@pytest.mark.parametrize("content", [None, b"no image", b"\x89PNG\r\n\x1a\n"])
def test_bad_images_are_refused_and_the_comparison_before_stays(run: Path, settings: Settings, content: bytes | None):
    run_features(settings, run, FeatureSettings())
    before = (run / "features" / "features.npz").read_bytes()
    file = run.parent / "bad.png"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read the image .*bad\.png"):
        run_features(settings, run, FeatureSettings(images=(file,)))
    with pytest.raises(UsageError, match="there is no block 9"):
        run_features(settings, run, FeatureSettings(blocks=9))
    assert (run / "features" / "features.npz").read_bytes() == before


def test_nothing_is_trained_for_it(images: Path, tmp_path: Path, settings: Settings):
    run_dna(settings, tmp_path / "new", until="cost")
    with pytest.raises(UsageError, match=r"distilnas solve --run .*new"):
        run_features(settings, tmp_path / "new", FeatureSettings())
    with pytest.raises(UsageError, match="not solved"):
        run_features(settings, tmp_path / "nowhere", FeatureSettings())
    assert not (tmp_path / "nowhere").exists()
