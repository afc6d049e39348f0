"""A student's feature beside the teacher's, channel by channel: maps of some images, correlations over all of them."""

import numpy as np
import torch
from torch import Tensor

from distilnas.records.features import STUDENTS, BlockFeatures, Correlations, Similarity

SHOWN_CHANNELS = 8
_ROUNDING = 1e-12  # of the squared mean: with less variance a float32 channel varies by rounding only


class Comparison:
    """One block: maps of the shown images, and correlations over all images, taken in batch by batch."""

    def __init__(self) -> None:
        self.num_images = 0
        self._pairs = {name: PairedMoments() for name in STUDENTS}
        self._maps: dict[str, list[np.ndarray]] = {name: [] for name in ("teacher", *STUDENTS)}

    def add(self, teacher: Tensor, students: dict[str, Tensor], counting: int, shown: list[int]) -> None:
        """Take in features (B, C, H, W), of which the first ``counting`` count and those at ``shown`` are kept."""
        self.num_images += counting
        for name, feature in {"teacher": teacher, **students}.items():
            self._maps[name].append(feature[shown].float().cpu().numpy())
        for name, pairs in self._pairs.items():
            for i in range(counting):
                pairs.add(teacher[i], students[name][i])

    def describe(self, block: int) -> BlockFeatures:
        """The block's number from 1, its feature (C, H, W), and how its channels correlate.

        ``compared``: the channels that vary in the teacher; the statistics are None when there is none.
        """
        channels, height, width = self._maps["teacher"][0].shape[1:]
        values = {name: pairs.correlations() for name, pairs in self._pairs.items()}
        return BlockFeatures(
            block=block + 1,
            channels=channels,
            height=height,
            width=width,
            compared=int(np.isfinite(values["block"]).sum()),
            correlation=Correlations(**{name: _statistics(r) for name, r in values.items()}),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """``channels`` (k,): those of highest teacher variance; the shown images' maps of these, (n, k, H, W), as
        ``teacher``, ``block`` and ``assembled``; ``correlation/block`` and ``correlation/assembled`` (C,).
        """
        channels = np.argsort(-self._pairs["block"].variances()[0], kind="stable")[:SHOWN_CHANNELS]
        maps = {name: np.concatenate(parts)[:, channels] for name, parts in self._maps.items()}
        correlations = {f"correlation/{name}": pairs.correlations() for name, pairs in self._pairs.items()}
        return {"channels": channels, **maps, **correlations}


class PairedMoments:
    """Per channel the joint second moments of two features over images and positions, in float64.

    Images are merged one by one about the mean so far (Chan, Golub and LeVeque, 1983): no large sums cancel.
    """

    def __init__(self) -> None:
        self._number = 0
        self._mean = self._scatter = torch.zeros(())  # (C, 2, 1) and (C, 2, 2) from the first image on

    def add(self, one: Tensor, other: Tensor) -> None:
        """Take in an image's maps, (C, H, W) each."""
        pairs = torch.stack([one, other], 1).double().flatten(2)  # (C, 2, positions)
        mean, more = pairs.mean(2, keepdim=True), pairs.shape[2]
        around, step, total = pairs - mean, mean - self._mean, self._number + more
        self._scatter = self._scatter + around @ around.mT + step @ step.mT * (self._number * more / total)
        self._mean, self._number = self._mean + step * (more / total), total

    def variances(self) -> np.ndarray:
        """(2, C)."""
        return (self._scatter.diagonal(dim1=1, dim2=2) / self._number).T.cpu().numpy()

    def correlations(self) -> np.ndarray:
        """(C,) Pearson: NaN where the first is constant; 0 where only the other is, or is not finite."""
        variances, means = self.variances(), self._mean.squeeze(2).T.cpu().numpy()
        live = variances > _ROUNDING * means**2
        covariance = self._scatter[:, 0, 1].cpu().numpy() / self._number
        scale = np.sqrt(variances[0] * variances[1], where=live.all(0), out=np.ones(len(covariance)))
        return np.where(live[0], np.where(live[1], covariance / scale, 0.0), np.nan)


def _statistics(values: np.ndarray) -> Similarity | None:
    """Mean and quartiles of the finite ones."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, median, high = np.percentile(finite, (25, 50, 75)).tolist()
    return Similarity(mean=float(finite.mean()), q1=low, median=median, q3=high)
