"""Everything behind a block left out: a new classifier that reads what the block gives out."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from distilnas.networks.new_parts import PooledClassifier
from distilnas.surgery.chain import Unit
from distilnas.surgery.moments import MomentSum
from distilnas.surgery.refit import fit_held_out, set_map


def new_head(unit: Unit, num_classes: int) -> PooledClassifier:
    """A classifier that can stand behind ``unit``; its weights are without meaning."""
    channels = unit.out_shape[0 if unit.layout.kind == "nchw" else -1]
    return PooledClassifier(channels, num_classes, layout=unit.layout).requires_grad_(False).eval()


def fit_head(head: PooledClassifier, pooled: Sequence[Tensor], logits: Sequence[Tensor]) -> PooledClassifier:
    """``head`` with the least squares of the teacher's ``logits`` (B, classes) on what it reads, ``pooled`` (B, C).

    Both batch by batch; the ridge is chosen from half to half and grows where images are few.
    """
    halves = [MomentSum(*reversed(head.fc.weight.shape)) for _ in range(2)]
    for at, (feature, target) in enumerate(zip(pooled, logits, strict=True)):
        halves[at % 2].add(feature, target)
    start = np.zeros(tuple(head.fc.weight.shape))
    set_map(head.fc, fit_held_out([(half.moment(), half.cross()) for half in halves if half.samples], start))
    return head.to(pooled[0].device)
