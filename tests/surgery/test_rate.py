"""Ratings against the whole network with the candidate in its place."""

from unittest import mock

import pytest
import torch
from small import chain, images, teacher
from torch.nn import functional

from distilnas.surgery.chain import quick
from distilnas.surgery.rate import Trial, rate


@pytest.fixture(scope="module")
def units():
    return chain(teacher())


def divergence(units, modules, x):
    """Kullback-Leibler divergence as torch has it."""
    with torch.no_grad():
        y = z = x
        for unit in units:
            y = unit.module(y)
        for module in modules:
            z = module(z)
        kind = {"reduction": "none", "log_target": True}
        return functional.kl_div(functional.log_softmax(z, 1), functional.log_softmax(y, 1), **kind).sum(1).double()


def test_rating_is_the_divergence_of_the_network_with_the_candidate(units):
    out = next(i for i, unit in enumerate(units) if unit.droppable)
    batches = [images(6, seed=1), images(6, seed=2)]
    (found,) = rate(units, [Trial(first=out, last=out, modules=())], batches)
    rest = [unit.module for i, unit in enumerate(units) if i != out]
    values = divergence(units, rest, torch.cat(batches))
    assert found.mean == pytest.approx(float(values.mean()), rel=1e-3)
    assert found.stderr == pytest.approx(float(values.std()) / 12**0.5, rel=1e-3)
    assert found.batches.tolist() == pytest.approx([float(values[:6].mean()), float(values[6:].mean())], rel=1e-3)


def test_the_teacher_s_own_units_rate_nought(units):
    trials = [Trial(first=i, last=i, modules=(unit.module,)) for i, unit in enumerate(units)]
    assert [found.mean for found in rate(units, trials, [images(4)])] == [0.0] * len(units)


def test_the_teacher_s_units_are_made_quick_once_for_all_trials(units):
    first = next(i for i, unit in enumerate(units) if unit.droppable)
    trials = [
        Trial(first=i, last=len(units) - 1, modules=tuple(u.module for u in units[i:])) for i in (first, first + 1)
    ]
    with mock.patch("distilnas.surgery.rate.quick", side_effect=quick) as copies:
        rate(units, trials, [images(4)])
    assert copies.call_count == len(units)


def test_rating_changes_nothing_in_the_teacher(units):
    before = [value.clone() for unit in units for value in unit.module.state_dict().values()]
    out = next(i for i, unit in enumerate(units) if unit.droppable)
    rate(units, [Trial(first=out, last=out, modules=())], [images(4)], dtype=torch.bfloat16)
    after = [value for unit in units for value in unit.module.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("model", ["mobilenetv3_small_050", "resnet18", "convnext_atto"])
def test_quick_copies_give_the_same(model):
    x = images(3)
    for unit in chain(teacher(model)):
        fast = quick(unit.module, x, torch.float32)
        with torch.no_grad():
            y = unit.module(x)
            torch.testing.assert_close(fast(x), y, rtol=1e-3, atol=1e-3)
        x = y


def test_quick_copies_of_residual_units_have_no_batch_norms():
    x = images(3)
    for unit in chain(teacher("resnet18")):
        assert not any(
            isinstance(part, torch.nn.BatchNorm2d) for part in quick(unit.module, x, torch.float32).modules()
        )
        with torch.no_grad():
            x = unit.module(x)
