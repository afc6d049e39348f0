"""Scores against formulas written in NumPy; ratings and their errors against plain statistics and the bootstrap."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, rel_entr

from distilnas.errors import UsageError
from distilnas.methods.dna import METRICS, Metric, RateSettings
from distilnas.methods.dna.metrics import Reference, Spread

RNG = np.random.default_rng(3)
S, Y = (RNG.normal(size=(4, 3, 5, 5)) * 2 + 1 for _ in range(2))
LOGITS, TRUE_LOGITS = (RNG.normal(size=(4, 3)) * 2 for _ in range(2))
LABELS = np.array([0, 2, 1, 2])


def _cross_entropy(logits: np.ndarray) -> np.ndarray:
    return -log_softmax(logits, axis=1)[np.arange(4), LABELS]


def _cosines() -> np.ndarray:
    dots = np.einsum("bchw,bchw->bhw", S, Y)
    return dots / np.linalg.norm(S, axis=1) / np.linalg.norm(Y, axis=1)


KL = rel_entr(np.exp(log_softmax(TRUE_LOGITS, axis=1)), np.exp(log_softmax(LOGITS, axis=1))).sum(1)
LOGIT_MSE = np.mean((LOGITS - TRUE_LOGITS) ** 2, axis=1) / np.var(TRUE_LOGITS)
FORMULAS = {
    "relative_l1": np.abs(S - Y).mean((1, 2, 3)) / Y.std(),
    "relative_mse": np.square(S - Y).mean((1, 2, 3)) / Y.var(),
    "channel_mse": (np.square(S - Y).mean((2, 3)) / Y.var((0, 2, 3))).mean(1),
    "cosine": 1 - _cosines().mean((1, 2)),
    "stitched_kl": KL,
    "stitched_sqrt_kl": KL,
    "stitched_logit_mse": LOGIT_MSE,
    "stitched_sqrt_logit_mse": LOGIT_MSE,
    "stitched_ce": _cross_entropy(LOGITS) - _cross_entropy(TRUE_LOGITS),
}


def _reference(target: np.ndarray) -> Reference:
    rest = tuple(axis for axis in range(target.ndim) if axis != 1)
    spread = Spread(std=float(target.std()), channel_std=torch.from_numpy(target.std(rest)))
    return Reference(target=torch.from_numpy(target), spread=spread, labels=torch.from_numpy(LABELS))


def _tensors(metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    return (LOGITS, TRUE_LOGITS) if metric.stitched else (S, Y)


@pytest.mark.parametrize("name", METRICS)
def test_scores_follow_their_formulas(name: str) -> None:
    output, target = _tensors(METRICS[name])
    scores = METRICS[name].score(torch.from_numpy(output), _reference(target))
    np.testing.assert_allclose(scores.numpy(), FORMULAS[name], rtol=1e-10)


@pytest.mark.parametrize("name", METRICS)
def test_the_teachers_own_output_scores_nothing(name: str) -> None:
    target = _tensors(METRICS[name])[1].astype(np.float32)
    scores = METRICS[name].score(torch.from_numpy(target), _reference(target))
    np.testing.assert_allclose(scores.numpy(), 0, atol=1e-6)
    rated = METRICS[name].summarise([scores.numpy().astype(np.float64)] * 2)
    assert np.isfinite([rated.mean, rated.stderr, *rated.batches]).all()


def test_constant_channels_do_not_count() -> None:
    target = Y.copy()
    target[:, 1] = 0.25
    live = [0, 2]
    expected = (np.square(S - target).mean((2, 3))[:, live] / target.var((0, 2, 3))[live]).mean(1)
    scores = METRICS["channel_mse"].score(torch.from_numpy(S), _reference(target))
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-10)


def test_only_the_metric_of_labels_reads_them() -> None:
    other = torch.from_numpy(LABELS[::-1].copy())
    for metric in METRICS.values():
        output, target = _tensors(metric)
        reference = _reference(target)
        changed = Reference(target=reference.target, spread=reference.spread, labels=other)
        same = torch.equal(*(metric.score(torch.from_numpy(output), r) for r in (reference, changed)))
        assert same is not metric.labels


def test_names_say_what_a_metric_is() -> None:
    for name, metric in METRICS.items():
        assert name == metric.name == RateSettings(metric=name).metric
        assert metric.stitched is name.startswith("stitched_")
        assert metric.root is ("sqrt" in name)
    with pytest.raises(UsageError, match="did you mean 'stitched_kl'"):
        RateSettings(metric="stiched_kl")


positive = arrays(np.float64, (3, 2, 4), elements=st.floats(1e-3, 1e3))  # batches, candidates, images


@given(positive)
def test_the_mean_of_batch_values_is_the_rating_and_their_scatter_its_error(scores: np.ndarray) -> None:
    """For equal batches, roots included; the images' scatter by the rule for smooth functions of a mean."""
    for name, power in (("stitched_kl", 1.0), ("stitched_sqrt_kl", 0.5)):
        rated = METRICS[name].summarise(list(scores))
        mean = scores.mean((0, 2))
        slope = power * mean ** (power - 1)
        images = np.concatenate(scores, axis=1)
        np.testing.assert_allclose(rated.mean, mean**power)
        np.testing.assert_allclose(rated.batches.mean(0), rated.mean)
        np.testing.assert_allclose(rated.batches.std(0), slope * scores.mean(2).std(0), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(rated.stderr, slope * images.std(1, ddof=1) / math.sqrt(12), rtol=1e-9)


@pytest.mark.parametrize("name", ["stitched_kl", "stitched_sqrt_kl"])
def test_errors_agree_with_the_bootstrap(name: str) -> None:
    """4,000 resamples of images, or of whole batches, rate anew; their standard deviation is known to 1 part in 90."""
    rng = np.random.default_rng(11)
    metric, n, batch = METRICS[name], 1600, 8
    hard = rng.gamma(3, 0.4, n // batch).repeat(batch)  # batches differ: images in one are alike
    scores = rng.gamma(0.7, 2.0, n) * hard
    rated = metric.summarise(np.split(scores, n // batch))

    def resampled(values: np.ndarray) -> float:
        means = np.array([rng.choice(values, len(values)).mean() for _ in range(4000)])
        return float((np.sqrt(means) if metric.root else means).std())

    assert float(rated.stderr) == pytest.approx(resampled(scores), rel=0.06)
    by_batches = float(rated.batches.std(ddof=1)) / math.sqrt(n // batch)
    assert by_batches == pytest.approx(resampled(scores.reshape(-1, batch).mean(1)), rel=0.06)
    assert by_batches > 1.2 * float(rated.stderr)


def test_the_root_is_of_the_mean_not_the_mean_of_roots() -> None:
    rated = METRICS["stitched_sqrt_logit_mse"].summarise([np.array([0.0, 16.0]), np.array([4.0, 16.0])])
    assert float(rated.mean) == 3.0
    assert rated.batches == pytest.approx([3 + (8 - 9) / 6, 3 + (10 - 9) / 6])
