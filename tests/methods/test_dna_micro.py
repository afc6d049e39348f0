"""Gradient accumulation over the pieces of a batch, against sums written out."""

from typing import Any

import pytest
import torch
from killing import assert_same, states
from tiny_distill import gradients, training_of
from tiny_dna import some_batches, tiny_supernet, tiny_teacher
from torch import nn

from distilnas.methods.dna.losses import relative_mse
from distilnas.supernet import Supernet


def _without_batch_norm() -> Supernet:
    """Then every image is on its own, and the gradient of a mean over images is the mean of gradients."""
    supernet = tiny_supernet(trained=True)
    for module in list(supernet.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return supernet


@pytest.mark.parametrize("changes", [{}, {"feed": "student"}, {"label_loss": 0.5}])
def test_pieces_without_batch_norm_are_the_batch(changes: dict[str, Any]) -> None:
    batch = some_batches(size=8)[0]
    whole, pieces = _without_batch_norm(), _without_batch_norm()
    expected = training_of(whole, loss="mse", **changes).step(batch, 0, 0)
    found = training_of(pieces, loss="mse", batch_size=8, micro_batch=2, **changes).step(batch, 0, 0)
    torch.testing.assert_close(found, expected)
    for b in (0, 1):
        for got, want in zip(gradients(pieces, b), gradients(whole, b), strict=True):
            assert (got is None) == (want is None)
            if got is not None and want is not None:
                torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("images", "sizes"), [(8, [4, 4]), (11, [6, 5]), (3, [3])])
def test_accumulation_by_hand(images: int, sizes: list[int]) -> None:
    """Each piece has batch norm and variance of its own; its gradient counts by its share of the images.

    A small image set may give a batch that is not divisible: its pieces differ by one image at most.
    """
    batch = some_batches(size=images)[0]
    supernet, plain = tiny_supernet(trained=True), tiny_supernet(trained=True)
    training = training_of(supernet, batch_size=8, micro_batch=4)
    loss = training.step(batch, 0, 0)
    block: Any = plain.blocks[1]
    total = torch.zeros(())
    for piece in batch[0].split(sizes):
        features = tiny_teacher().features(piece)
        for cell, (path,) in zip(block.cells, training.paths(1, 0, 0), strict=True):
            value = relative_mse(cell(block.entry(features[1]), path), features[2])
            total = total + value * len(piece) / images
    total.backward()
    assert float(loss[1]) == pytest.approx(float(total.detach()) / 2, rel=1e-5)
    for got, want in zip(gradients(supernet, 1), gradients(plain, 1), strict=True):
        assert (got is None) == (want is None)
        if got is not None and want is not None:
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_one_update_a_batch() -> None:
    """Adam counts its updates; and a piece as large as the batch changes nothing."""
    batch = some_batches(size=8)[0]
    supernet, whole = tiny_supernet(trained=True), tiny_supernet(trained=True)
    training = training_of(supernet, batch_size=8, micro_batch=2)
    training.step(batch, 0, 0)
    steps = {float(s["step"]) for o in training.optimizers.values() for s in o.state_dict()["state"].values()}
    assert steps == {1.0}
    training_of(whole).step(batch, 0, 0)
    same = tiny_supernet(trained=True)
    training_of(same, batch_size=8, micro_batch=8).step(batch, 0, 0)
    assert_same(states(same), states(whole))
