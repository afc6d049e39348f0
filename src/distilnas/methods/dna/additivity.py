"""Does the sum of the blocks' ratings say how well the assembled network imitates the teacher?

Ratings feed every block with the teacher's features; in a network errors accumulate. For a sample of choices, the
assembled supernet path runs on the rating images from the first block to the last, and its distance from the teacher
there (by the metric of the ratings; stitched: behind the teacher's head) is compared with the predicted sum. The
solver's choice is then held against the others: one that is proved by its ratings and measures badly is told of.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr

from distilnas.errors import UsageError
from distilnas.methods.dna.judge import Batches, Judge
from distilnas.methods.dna.metrics import METRICS
from distilnas.runtime.device import Device
from distilnas.space import Choice
from distilnas.supernet import Supernet
from distilnas.tables import RatingTable
from distilnas.teachers import TeacherBlocks


@dataclass(frozen=True, kw_only=True)
class Additivity:
    """``predicted[n]``: rating sum of choice n; ``measured[n]``: metric between assembled path and teacher at the end.

    The first choice is the solution. ``kendall_tau`` and ``spearman_rho`` (over all choices) are None for fewer than
    three, and where all predictions or all measurements are equal.
    """

    predicted: tuple[float, ...]
    measured: tuple[float, ...]
    kendall_tau: float | None
    spearman_rho: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


_ENOUGH = 5


@dataclass(frozen=True, kw_only=True)
class Held:
    """The solution held against other assembled ``networks``, of which so many measure ``better``."""

    networks: int
    better: int

    @property
    def contradicted(self) -> bool:
        """Whether at least half of enough networks measure better than the one that is rated best."""
        return self.networks >= _ENOUGH and 2 * self.better >= self.networks

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self) | {"contradicted": self.contradicted}


def hold(found: Additivity, others: Sequence[int]) -> Held:
    """The first choice of ``found``, the solution, held against those at the indices ``others``."""
    better = sum(found.measured[n] < found.measured[0] for n in others)
    return Held(networks=len(others), better=better)


@torch.no_grad()
def measure_additivity(
    supernet: Supernet,
    teacher: TeacherBlocks,
    table: RatingTable,
    choices: Sequence[Choice],
    batches: Batches,
    *,
    device: Device,
) -> Additivity:
    """Run the assembled paths of ``choices`` on the rating images."""
    supernet = device.module(supernet)  # type: ignore[assignment]
    judge = Judge(teacher, METRICS[table.metric], batches, device)
    last = len(supernet.blocks) - 1
    scores: list[list[np.ndarray]] = [[] for _ in choices]
    for images, labels in batches():
        batch = judge.look(images, labels)
        for n, choice in enumerate(choices):
            with device.autocast():
                output = supernet.imitate(batch.images, [(c.cell, c.path) for c in choice[:-1]])[-1]
            scores[n].append(judge.scores(batch, last, [output])[0].cpu().double().numpy())
    measured = [float(judge.metric.summarise(parts).mean) for parts in scores]
    predicted = [table.total(choice) for choice in choices]
    if not np.isfinite(measured).all():
        bad = choices[int(np.argmin(np.isfinite(measured)))]
        raise UsageError(
            f"the assembled path of choice {bad} is not finite on the rating images: distillation diverged there. "
            "Lower distill.optim.lr and run in a new folder."
        )
    enough = len(choices) >= 3 and len(set(predicted)) > 1 and len(set(measured)) > 1
    return Additivity(
        predicted=tuple(predicted),
        measured=tuple(measured),
        kendall_tau=_correlation(kendalltau, predicted, measured) if enough else None,
        spearman_rho=_correlation(spearmanr, predicted, measured) if enough else None,
    )


def _correlation(statistic: Callable[..., Any], predicted: list[float], measured: list[float]) -> float:
    return float(statistic(predicted, measured).statistic)
