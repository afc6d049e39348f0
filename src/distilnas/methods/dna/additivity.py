"""Does the sum of the blocks' ratings say how well the assembled network imitates the teacher?

Ratings feed every block with the teacher's features; in a network errors accumulate. For a sample of choices, the
assembled supernet path runs on the rating images from the first block to the last, and its distance from the teacher
there (by the metric of the ratings; stitched: behind the teacher's head) is compared with the predicted sum. The
solver's choice is then held against the others: one that is proved by its ratings and measures badly is told of.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr

from distilnas.errors import UsageError
from distilnas.methods.dna.judge import Batches, Judge
from distilnas.methods.dna.metrics import METRICS
from distilnas.records.solution import Additivity, Held
from distilnas.runtime.device import Device
from distilnas.space import Choice
from distilnas.supernet import Supernet
from distilnas.tables import RatingTable
from distilnas.teachers import TeacherBlocks

_ENOUGH = 5


def hold(found: Additivity, others: Sequence[int]) -> Held:
    """The first choice of ``found``, the solution, held against those at the indices ``others``.

    It is contradicted where at least half of enough networks measure better than the one that is rated best.
    """
    better = sum(found.measured[n] < found.measured[0] for n in others)
    contradicted = len(others) >= _ENOUGH and 2 * better >= len(others)
    return Held(networks=len(others), better=better, contradicted=contradicted)


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
