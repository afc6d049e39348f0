"""Spreads of the teacher's targets over all rating images, against NumPy on all images at once."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_dna import DEVICE, repeatable, some_batches, tiny_teacher
from torch import nn

from distilnas.methods.dna import METRICS
from distilnas.methods.dna.judge import Judge


def test_spreads_are_those_of_all_images_together() -> None:
    teacher, pairs = tiny_teacher(), [*some_batches(2), *some_batches(1, size=3, seed=9)]
    judge = Judge(teacher, METRICS["relative_l1"], repeatable(pairs), DEVICE)
    images = torch.cat([images for images, _ in pairs])
    for spread, feature in zip(judge.spreads, teacher.features(images)[1:], strict=True):
        assert spread.std == pytest.approx(feature.double().numpy().std(), rel=1e-6)
        np.testing.assert_allclose(spread.channel_std, feature.double().numpy().std((0, 2, 3)), rtol=1e-5)
    stitched = Judge(teacher, METRICS["stitched_kl"], repeatable(pairs), DEVICE)
    (spread,) = stitched.spreads
    assert spread.std == pytest.approx(teacher.logits(images).double().numpy().std(), rel=1e-6)


def test_a_channel_that_moves_by_rounding_only_has_no_spread() -> None:
    """Weights of 1e-8 move a float32 feature of 0.3 by a few units in the last place."""
    teacher, pairs = tiny_teacher(), some_batches()
    conv: Any = teacher.model.get_submodule("1.0")
    nn.init.constant_(conv.weight[4], 1e-8)
    nn.init.constant_(conv.bias[4:5], 0.3)
    judge = Judge(teacher, METRICS["channel_mse"], repeatable(pairs), DEVICE)
    assert torch.nonzero(judge.spreads[1].channel_std == 0).flatten().tolist() == [4]
    batch = judge.look(*pairs[0])
    target = batch.references[1].target
    far, near = target.clone(), target.clone()
    far[:, 5] += 1
    near[:, 4] += 1
    scores = judge.scores(batch, 1, [target, near, far])
    assert scores[0].tolist() == scores[1].tolist() == [0.0] * 4
    assert (scores[2] > 0).all()
