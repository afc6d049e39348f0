"""The package's block-wise distillation against the released schedule written plainly; memory of a step."""

import pytest
import torch

from distilnas.bench import BenchSettings
from distilnas.bench.distill import (
    Case,
    Setup,
    block_gradients,
    drawn,
    make_states,
    naive_step,
    our_step,
    run,
    teacher_features,
)
from distilnas.bench.timing import peak_bytes

TINY = Case(
    teacher="cifar_resnet",
    space="nas-bench-macro",
    resolution=16,
    cpu=4,
    cuda=4,
    num_classes=10,
    model_kwargs={"widths": (8, 12, 16), "depths": (1, 1, 1)},
)
CPU = BenchSettings(accelerator="cpu", repeats=1, quick=True)


def test_both_schedules_learn_alike():
    """Three updates of every block along the same paths: the last losses depend on the updates before."""
    setup = Setup(TINY, CPU)
    (training, _), naive = setup.ours("32-true"), setup.naive()
    ours = [our_step(training, setup.images, step).tolist() for step in range(3)]
    theirs = [naive_step(naive, setup.images, drawn(training, step)) for step in range(3)]
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[1:] == [pytest.approx(losses, rel=1e-2) for losses in theirs[1:]]
    untrained = setup.naive()
    fresh = naive_step(untrained, setup.images, drawn(training, 2))
    assert fresh != pytest.approx(theirs[2], rel=1e-2)


def test_states_of_all_weights_are_made_without_changing_one():
    training, supernet = Setup(TINY, CPU).ours("32-true")
    before = [parameter.detach().clone() for parameter in supernet.parameters()]
    make_states(training.optimizers.values())
    states = sum(len(optimizer.state) for optimizer in training.optimizers.values())
    assert states == len(before)
    assert all(torch.equal(one, other) for one, other in zip(supernet.parameters(), before, strict=True))
    assert all(parameter.grad is None for parameter in supernet.parameters())


def test_mixed_precision_learns_nearly_alike():
    setup = Setup(TINY, CPU)
    exact, mixed = (setup.ours(precision)[0] for precision in ("32-true", "bf16-mixed"))
    losses = [our_step(training, setup.images, 0).tolist() for training in (exact, mixed)]
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)


def test_a_step_holds_the_activations_of_one_block_at_a_time():
    setup = Setup(TINY, BenchSettings(accelerator="cpu", batch=64))
    training, _ = setup.ours("32-true")
    our_step(training, setup.images, 0)
    features = teacher_features(training, setup.images)
    blocks = [
        peak_bytes(lambda i=i: block_gradients(training, i, features, 0), training.device)
        for i in range(len(training.specs))
    ]
    teacher = peak_bytes(lambda: teacher_features(training, setup.images), training.device)
    step = peak_bytes(lambda: our_step(training, setup.images, 0), training.device)
    assert max(blocks) < step <= 1.3 * (max(blocks) + teacher) < sum(blocks)


def test_the_teacher_of_the_baseline_is_the_same():
    """Features by its truncated copies against a pass through the whole."""
    setup = Setup(TINY, CPU)
    naive, (training, _) = setup.naive(), setup.ours("32-true")
    features = teacher_features(training, setup.images)
    for i, tap in enumerate(naive.taps):
        with torch.no_grad():
            torch.testing.assert_close(naive.teachers[i](setup.images)[tap], features[i + 1], rtol=1e-4, atol=1e-5)


def test_the_report_compares_both():
    report = run(TINY, "tiny", CPU)
    record = report.to_dict(CPU.device())
    assert record["baseline"] == "naive"
    assert record["ratio"] == pytest.approx(
        record["seconds_median"]["naive"] / record["seconds_median"][record["ours"]]
    )
    assert record["equal"]["largest_relative_difference_of_losses"] < 1e-5
    assert record["images_per_second"]["naive"] == pytest.approx(4 / record["seconds_median"]["naive"])
    assert {"teacher alone", "students alone"} < record["floors"].keys()
