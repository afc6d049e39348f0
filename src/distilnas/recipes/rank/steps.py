"""How true ratings are: block-wise distillation on a space whose networks' true accuracies are known.

Each seed is a DNA run in ``seed-S`` as far as its supernet; every metric rates all candidates with it, the ratings are
summed for every network of the truth and compared. The one-shot baseline (SPOS) sees the same images.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save

from distilnas import ranking
from distilnas.baselines import spos
from distilnas.baselines.zerocost import ZERO_COST
from distilnas.errors import UsageError
from distilnas.files import write_bytes, write_json
from distilnas.networks import StudentNet
from distilnas.recipes.dna.steps import SPACE, DnaJob, Rate, rating_batches
from distilnas.recipes.frame import Step
from distilnas.recipes.materials import finish_training
from distilnas.recipes.rank.settings import RankSettings
from distilnas.recipes.rank.truth import Truth
from distilnas.recipes.settings import plain
from distilnas.recipes.students import DATA
from distilnas.runtime.seeds import derive_seed, torch_seed
from distilnas.space import Choice
from distilnas.tables import RatingTable

ZERO_COST_IMAGES = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What a seed's run is compared by: the ``settings``, the ``truth``, and its networks as choices of the space."""

    settings: RankSettings
    truth: Truth

    def networks(self, job: DnaJob) -> dict[str, Choice]:
        """The networks of the truth by name."""
        return self.truth.choices(job.get(SPACE))


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainOneShot(Step[DnaJob, spos.OneShot]):
    """Train the one-shot supernet on the same training images."""

    name: str = "one-shot"
    settings: spos.SposSettings

    def keys(self, job: DnaJob) -> dict[str, Any]:
        return {"data": job.key(DATA), "space": job.key(SPACE), "one_shot": plain(self.settings)}

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        net = _new_one_shot(job)
        loop = job.materials.loop(folder, job.get(DATA).train, self.settings, name="train one-shot supernet")
        seed = derive_seed(job.settings.seed, 21)
        log = spos.train_one_shot(net, self.settings, loop, device=job.device, seed=seed)
        tensors = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
        write_bytes(folder / "supernet.safetensors", save(tensors))
        return finish_training(folder, log)

    def load(self, job: DnaJob) -> spos.OneShot:
        net = _new_one_shot(job)
        net.load_state_dict(load_file(job.do(self).folder / "supernet.safetensors"))
        return net


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreOneShot(Step[DnaJob, dict[str, np.ndarray]]):
    """Score all networks of the truth with the one-shot supernet, on the rating images; higher is better."""

    name: str = "one-shot-scores"
    asked: Asked
    trained: TrainOneShot

    def keys(self, job: DnaJob) -> dict[str, Any]:
        return {"one_shot": job.key(self.trained), **self.asked.truth.key}

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        networks = self.asked.networks(job)
        scores = one_shot_scores(job, self.trained, list(networks.values()))
        rows = zip(networks, scores.loss.tolist(), scores.accuracy.tolist(), strict=True)
        write_json(folder / "scores.json", {name: {"loss": loss, "accuracy": hits} for name, loss, hits in rows})
        return {"num_networks": len(networks)}

    def load(self, job: DnaJob) -> dict[str, np.ndarray]:
        rows = ranking.read_columns(job.do(self).folder / "scores.json", plain="loss")
        networks = self.asked.networks(job)
        loss, accuracy = (_in_order(rows.numbers(column), networks) for column in ("loss", "accuracy"))
        return {"one_shot_loss": -loss, "one_shot_accuracy": accuracy}


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreUntrained(Step[DnaJob, dict[str, np.ndarray]]):
    """Zero-cost scores of all networks of the truth, freshly initialised."""

    name: str = "zero-cost"
    asked: Asked

    def keys(self, job: DnaJob) -> dict[str, Any]:
        inputs = {"data": job.key(DATA), "space": job.key(SPACE), "scores": list(self.asked.settings.zero_cost)}
        return inputs | self.asked.truth.key

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        images = job.device.images(next(iter(rating_batches(job)))[0][:ZERO_COST_IMAGES])
        scores, networks = {}, self.asked.networks(job)
        with job.progress.task("score untrained", len(networks)) as task:
            for name, choice in networks.items():
                with torch_seed(derive_seed(job.settings.seed, 23)):
                    network = StudentNet(job.get(SPACE).architecture(choice))
                network = job.device.module(network)
                scores[name] = {score: ZERO_COST[score](network, images) for score in self.asked.settings.zero_cost}
                _check_finite(name, scores[name])
                task.advance()
        write_json(folder / "scores.json", scores)
        return {"num_networks": len(scores)}

    def load(self, job: DnaJob) -> dict[str, np.ndarray]:
        rows = ranking.read_columns(job.do(self).folder / "scores.json", plain="score")
        networks = self.asked.networks(job)
        return {score: _in_order(rows.numbers(score), networks) for score in self.asked.settings.zero_cost}


@dataclass(frozen=True, kw_only=True, eq=False)
class Compare(Step[DnaJob, None]):
    """Every score against the truth, with scatter plots. ``rated``: by the ratings' names; ``scored``: the others."""

    name: str = "ranking"
    asked: Asked
    rated: Mapping[str, Rate]
    scored: tuple[Step[DnaJob, dict[str, np.ndarray]], ...]

    def keys(self, job: DnaJob) -> dict[str, Any]:
        settings, keys = self.asked.settings, {name: job.key(step) for name, step in self.rated.items()}
        keys |= {step.name: job.key(step) for step in self.scored}
        return {"scores": keys, "budgets": list(settings.budgets), "fit": settings.fit, **self.asked.truth.key}

    def work(self, job: DnaJob, folder: Path) -> dict[str, Any]:
        networks, truth = self.asked.networks(job), self.asked.truth
        tables = {name: job.get(step) for name, step in self.rated.items()}
        choices = list(networks.values())
        scores = {name: -ranking.rating_sums(table, choices) for name, table in tables.items()}
        for step in self.scored:
            scores |= job.get(step)
        records = truth.rank(scores, folder)
        if self.asked.settings.fit is not None:
            records |= self._fitted(job, tables, networks, folder)
        write_json(folder / "ranking.json", records)
        return {name: record["kendall_tau"] for name, record in records.items()}

    def _fitted(
        self, job: DnaJob, tables: Mapping[str, RatingTable], networks: dict[str, Choice], folder: Path
    ) -> dict[str, dict[str, Any]]:
        """Records of the fitted ratings; one that cannot be fitted is told of and left out."""
        records, truth = {}, self.asked.truth
        for name, table in tables.items():
            try:
                fitted = truth.fit(table, networks)
            except UsageError as error:
                job.progress.message(f"{name} is not fitted: {error}")
                continue
            records[f"{name}_fitted"] = truth.rank_fitted(name, fitted, networks, folder)
        return records


def rate_by(name: str, settings: RankSettings) -> Rate:
    """Rate every candidate by a metric, or as one of ``ratings`` says."""
    return Rate(name=f"rate {name}", folder=f"ratings/{name}", settings=settings.all_ratings()[name])


def one_shot_scores(job: DnaJob, trained: TrainOneShot, choices: list[Choice]) -> spos.Scores:
    """Scores of any networks of the space with the trained one-shot supernet, on the rating images."""
    return spos.score(
        trained.load(job),
        partial(rating_batches, job),
        choices=choices,
        device=job.device,
        progress=job.progress,
        max_networks=len(choices),
    )


def _new_one_shot(job: DnaJob) -> spos.OneShot:
    number = len(job.result(DATA)["classes"])
    return spos.build_one_shot(job.get(SPACE), number, seed=derive_seed(job.settings.seed, 20))


def _check_finite(network: str, scores: Mapping[str, float]) -> None:
    for score, value in scores.items():
        if not math.isfinite(value):
            raise UsageError(f"the zero-cost score {score} of {network} is {value}; leave {score} out of zero_cost.")


def _in_order(scores: Mapping[str, float], names: Mapping[str, Any]) -> np.ndarray:
    return np.array([scores[name] for name in names])
