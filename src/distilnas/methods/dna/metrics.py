"""How far a candidate is from its teacher block, image by image, and what rating follows.

A *local* metric compares the candidate's output with the teacher's feature after the block. A *stitched* metric puts
the candidate in place of its block, lets the rest of the teacher run and compares the logits with the teacher's own:
then only that counts which the teacher would have used, and all blocks are rated in one unit. The paper rates locally
(``relative_l1``, equation 9); stitching is our addition.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from distilnas.tables import CellRatings


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """Standard deviations of a teacher's tensor over all rating images (and pixels).

    ``std``: over all channels; ``channel_std`` (C,): of each channel, 0 where it is constant up to rounding.
    """

    std: float
    channel_std: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What outputs are compared with on one batch.

    ``target``: the teacher's feature (B, C, H, W) or, for stitched metrics, its logits (B, C); ``spread`` is that of
    such targets, ``labels`` (B,) are the images' classes.
    """

    target: Tensor
    spread: Spread
    labels: Tensor


Score = Callable[[Tensor, Reference], Tensor]
"""From an output, shaped as the target, to (B,): the distance on each image, 0 for the teacher's own output."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score and how a candidate's rating follows from the scores of all images: their mean, or its ``root``.

    ``stitched``: outputs and targets are logits behind the rest of the teacher; ``labels``: the score reads labels.
    """

    name: str
    score: Score
    stitched: bool = False
    labels: bool = False
    root: bool = False

    def summarise(self, batches: Sequence[np.ndarray]) -> CellRatings:
        """Ratings of candidates from their scores on each batch, (..., B) each, with standard errors over images.

        The root is taken of the mean over all images, not of each image's score, so that a rating estimates one number
        whatever the number of images. Its standard error follows by the delta method, and its values per batch are
        linearised about it: then their mean over batches (of equal size) is the rating and their scatter its error, as
        it is for a plain mean.
        """
        images = np.concatenate(batches, axis=-1)
        mean = images.mean(-1)
        stderr = images.std(-1, ddof=1) / np.sqrt(images.shape[-1])
        per_batch = np.stack([batch.mean(-1) for batch in batches])
        if not self.root:
            return CellRatings(mean=mean, stderr=stderr, batches=per_batch)
        rating = np.sqrt(mean)
        slope = np.divide(0.5, rating, out=np.zeros_like(rating), where=rating > 0)  # all scores 0: no error
        return CellRatings(mean=rating, stderr=slope * stderr, batches=rating + slope * (per_batch - mean))


def relative_l1(output: Tensor, reference: Reference) -> Tensor:
    """Mean |Y - S| over the standard deviation of Y (DNA, equation 9)."""
    return _per_image((output - reference.target).abs()) / reference.spread.std


def relative_mse(output: Tensor, reference: Reference) -> Tensor:
    """Mean squared error over the variance of Y."""
    return _per_image((output - reference.target).square()) / reference.spread.std**2


def channel_mse(output: Tensor, reference: Reference) -> Tensor:
    """Mean over channels of each channel's squared error over its variance; channels constant in Y do not count."""
    live = reference.spread.channel_std > 0
    errors = (output - reference.target).square().flatten(2).mean(2)
    return (errors[:, live] / reference.spread.channel_std[live].square()).mean(1)


def cosine(output: Tensor, reference: Reference) -> Tensor:
    """1 - cosine similarity of the pixels' channel vectors, mean over pixels: blind to a pixel's magnitude."""
    return 1 - _per_image(F.cosine_similarity(output, reference.target, dim=1))


def kl(output: Tensor, reference: Reference) -> Tensor:
    """KL divergence of the output's class probabilities from the teacher's, in nats."""
    log_p, log_q = reference.target.log_softmax(1), output.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1).clamp_min(0)  # below 0 by rounding only


def ce_increase(output: Tensor, reference: Reference) -> Tensor:
    """Cross entropy of the labels, less the teacher's own, in nats; below 0 where the candidate helps the teacher."""
    wrong = [F.cross_entropy(logits, reference.labels, reduction="none") for logits in (output, reference.target)]
    return wrong[0] - wrong[1]


def _per_image(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="relative_l1", score=relative_l1),
        Metric(name="relative_mse", score=relative_mse),
        Metric(name="channel_mse", score=channel_mse),
        Metric(name="cosine", score=cosine),
        Metric(name="stitched_kl", score=kl, stitched=True),
        Metric(name="stitched_sqrt_kl", score=kl, stitched=True, root=True),
        Metric(name="stitched_logit_mse", score=relative_mse, stitched=True),
        Metric(name="stitched_sqrt_logit_mse", score=relative_mse, stitched=True, root=True),
        Metric(name="stitched_ce", score=ce_increase, stitched=True, labels=True),
    )
}
