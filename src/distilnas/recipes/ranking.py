"""How true ratings are: block-wise distillation on a space whose networks' true accuracies are known.

Each seed is a DNA run in ``seed-S`` as far as its supernet; every metric rates all candidates with it, the ratings are
summed for every network of the truth and compared. The one-shot baseline (SPOS) sees the same images.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save

from distilnas import ranking
from distilnas.baselines import spos
from distilnas.baselines.zerocost import ZERO_COST
from distilnas.errors import UsageError
from distilnas.files import read_json, write_bytes, write_json
from distilnas.networks import StudentNet
from distilnas.recipes.dna import DnaRun
from distilnas.recipes.materials import finish_training
from distilnas.recipes.ranking_settings import RankSettings
from distilnas.recipes.ranking_truth import Truth
from distilnas.recipes.running import drive, write_results
from distilnas.recipes.settings import plain
from distilnas.recipes.teaching import DnaMaterials
from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.runtime.provenance import provenance
from distilnas.runtime.seeds import derive_seed, torch_seed
from distilnas.runtime.store import StepRecord, key_of
from distilnas.space import Choice
from distilnas.tables import RatingTable

BASELINES = ("params", "macs", "depth")
ZERO_COST_IMAGES = 32


class RankRun(DnaRun):
    """One seed: a DNA run's steps as far as the supernet, then ratings by each metric and their ranking."""

    def __init__(self, *args: Any, ranking_settings: RankSettings) -> None:
        super().__init__(*args)
        self.asked = ranking_settings

    @cached_property
    def truth(self) -> Truth:
        """The true accuracies."""
        return Truth(self.asked, self.settings.seed)

    @cached_property
    def networks(self) -> dict[str, Choice]:
        """The truth's networks as choices of the run's space."""
        return self.truth.choices(self.search_space)

    def check(self) -> None:
        super().check()
        self.truth.check(self.resolved[1])

    def rate_by(self, name: str) -> StepRecord:
        """Rate every candidate by a metric, or as one of ``ratings`` says."""
        return self._rate(f"ratings/{name}", self.asked.all_ratings()[name])

    def train_one_shot(self) -> StepRecord:
        """Train the one-shot supernet on the same training images."""
        settings = self.asked.one_shot
        assert settings is not None

        def work(folder: Path) -> dict[str, Any]:
            net = self._new_one_shot()
            loop = self.materials.loop(folder, self.splits.train, settings, name="train one-shot supernet")
            log = spos.train_one_shot(net, settings, loop, device=self.device, seed=derive_seed(self.settings.seed, 21))
            tensors = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
            write_bytes(folder / "supernet.safetensors", save(tensors))
            return finish_training(folder, log)

        inputs = {"data": self.data().key, "space": self.space().key, "one_shot": plain(asdict(settings))}
        return self._step("one-shot", inputs, work)

    def score_one_shot(self) -> StepRecord:
        """Score all networks of the truth with the one-shot supernet, on the rating images."""
        trained = self.train_one_shot()

        def work(folder: Path) -> dict[str, Any]:
            scores = self.one_shot_scores(list(self.networks.values()))
            rows = zip(self.networks, scores.loss.tolist(), scores.accuracy.tolist(), strict=True)
            write_json(folder / "scores.json", {name: {"loss": loss, "accuracy": hits} for name, loss, hits in rows})
            return {"num_networks": len(self.networks)}

        return self._step("one-shot-scores", {"one_shot": trained.key, **self.truth.key}, work)

    def one_shot_scores(self, choices: list[Choice]) -> spos.Scores:
        """Scores of any networks of the space with the trained one-shot supernet, on the rating images."""
        net = self._new_one_shot()
        net.load_state_dict(load_file(self.train_one_shot().folder / "supernet.safetensors"))
        return spos.score(
            net,
            self._rating_batches,
            choices=choices,
            device=self.device,
            progress=self.progress,
            max_networks=len(choices),
        )

    def score_untrained(self) -> StepRecord:
        """Zero-cost scores of all networks of the truth, freshly initialised."""

        def work(folder: Path) -> dict[str, Any]:
            images = self.device.images(next(iter(self._rating_batches()))[0][:ZERO_COST_IMAGES])
            scores = {}
            with self.progress.task("score untrained", len(self.networks)) as task:
                for name, choice in self.networks.items():
                    with torch_seed(derive_seed(self.settings.seed, 23)):
                        network = StudentNet(self.search_space.architecture(choice))
                    network = self.device.module(network)
                    scores[name] = {score: ZERO_COST[score](network, images) for score in self.asked.zero_cost}
                    _check_finite(name, scores[name])
                    task.advance()
            write_json(folder / "scores.json", scores)
            return {"num_networks": len(scores)}

        inputs = {"data": self.data().key, "space": self.space().key, "scores": list(self.asked.zero_cost)}
        return self._step("zero-cost", inputs | self.truth.key, work)

    def compare(self) -> StepRecord:
        """Every score against the truth, with scatter plots."""
        rated = {name: self.rate_by(name) for name in self.asked.all_ratings()}
        one_shot = self.score_one_shot() if self.asked.one_shot else None
        untrained = self.score_untrained() if self.asked.zero_cost else None

        def work(folder: Path) -> dict[str, Any]:
            tables = {name: RatingTable.load(step.folder / "ratings.npz") for name, step in rated.items()}
            choices = list(self.networks.values())
            scores = {name: -ranking.rating_sums(table, choices) for name, table in tables.items()}
            if one_shot:
                rows = ranking.read_columns(one_shot.folder / "scores.json", plain="loss")
                scores["one_shot_loss"] = -_in_order(rows.numbers("loss"), self.networks)
                scores["one_shot_accuracy"] = _in_order(rows.numbers("accuracy"), self.networks)
            if untrained:
                rows = ranking.read_columns(untrained.folder / "scores.json", plain="score")
                scores |= {score: _in_order(rows.numbers(score), self.networks) for score in self.asked.zero_cost}
            records = self.truth.rank(scores, folder)
            if self.asked.fit is not None:
                records |= self._rank_fitted(tables, folder)
            write_json(folder / "ranking.json", records)
            return {name: record["kendall_tau"] for name, record in records.items()}

        keys = {name: step.key for name, step in rated.items()}
        keys |= {step.name: step.key for step in (one_shot, untrained) if step}
        inputs = {"scores": keys, "budgets": list(self.asked.budgets), "fit": self.asked.fit, **self.truth.key}
        return self._step("ranking", inputs, work)

    def _rank_fitted(self, tables: Mapping[str, RatingTable], folder: Path) -> dict[str, dict[str, Any]]:
        """Records of the fitted ratings; one that cannot be fitted is told of and left out."""
        records = {}
        for name, table in tables.items():
            try:
                fitted = self.truth.fit(table, self.networks)
            except UsageError as error:
                self.progress.message(f"{name} is not fitted: {error}")
                continue
            records[f"{name}_fitted"] = self.truth.rank_fitted(name, fitted, self.networks, folder)
        return records

    def baselines(self) -> dict[str, dict[str, Any]]:
        """What size alone says of the networks."""
        choices = list(self.networks.values())
        depth = {"depth": ranking.depth_scores(self.search_space, choices)}
        sizes = {cost: ranking.cost_scores(self.search_space, self.costs, cost, choices) for cost in self.costs.costs}
        return self.truth.rank({name: values for name, values in (sizes | depth).items() if name in BASELINES})

    def _new_one_shot(self) -> spos.OneShot:
        number = len(self.data().result["classes"])
        return spos.build_one_shot(self.search_space, number, seed=derive_seed(self.settings.seed, 20))


def run_rank(
    settings: RankSettings, folder: Path, *, progress: Progress | None = None, until: str | None = None
) -> dict[str, Any]:
    """Run all seeds, continuing where ``folder`` stands; returns the content of its ``summary.json``."""
    if until is not None:
        raise UsageError(
            f"the recipe 'rank' runs whole: for the step {until!r} give the run of a seed, e.g. "
            f"--run {folder / f'seed-{settings.seeds[0]}'}."
        )
    progress = progress or SilentProgress()
    seeds = [_run_seed(settings, seed, folder / f"seed-{seed}", progress) for seed in settings.seeds]
    names = [name for name in seeds[0]["ranking"] if all(name in seed["ranking"] for seed in seeds)]
    records = {name: [seed["ranking"][name] for seed in seeds] for name in names}
    summary = {
        "run": folder.name,
        "recipe": settings.recipe,
        "kendall_tau": {name: _tau(found) for name, found in records.items()},
        "baselines": {name: record["kendall_tau"] for name, record in seeds[0]["baselines"].items()},
        "seeds": seeds,
    }
    write_results(folder, summary=summary)
    return summary


def _run_seed(settings: RankSettings, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    dna = replace(settings.dna, seed=seed)
    progress.message(f"seed {seed}")

    def finish(run: RankRun) -> dict[str, Any]:
        steps = {"data": run.data(), "teacher": run.teacher(), "distill": run.distill(), "ranking": run.compare()}
        steps |= {f"rate {name}": run.rate_by(name) for name in settings.all_ratings()}
        if settings.one_shot:
            steps |= {"one-shot": run.train_one_shot(), "one-shot-scores": run.score_one_shot()}
        if settings.zero_cost:
            steps["zero-cost"] = run.score_untrained()
        tested = run.evaluate_teacher()
        return {
            "seed": seed,
            "teacher": run.teacher().result["name"],
            "teacher_top1": tested.result["top1"],
            "ranking": read_json(steps["ranking"].folder / "ranking.json"),
            "baselines": run.baselines(),
            "seconds": {name: round(step.seconds, 1) for name, step in steps.items()},
            "provenance": provenance(seed=seed, config_hash=key_of(settings.to_dict()), device=run.device.name),
        }

    materials = DnaMaterials(dna, progress=progress)
    return drive(
        folder,
        dna,
        lambda run: RankRun(run, materials, ranking_settings=settings),
        steps={},
        finish=finish,
        until=None,
    )


def _check_finite(network: str, scores: Mapping[str, float]) -> None:
    for score, value in scores.items():
        if not math.isfinite(value):
            raise UsageError(f"the zero-cost score {score} of {network} is {value}; leave {score} out of zero_cost.")


def _in_order(scores: Mapping[str, float], names: Mapping[str, Any]) -> np.ndarray:
    return np.array([scores[name] for name in names])


def _tau(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over the seeds, the values themselves, and over how many networks they are."""
    values = [record["kendall_tau"] for record in records]
    mean, stderr = ranking.mean_stderr(values) if len(values) > 1 else (values[0], None)
    return {"mean": mean, "stderr": stderr, "values": values, "n": records[0]["n"]}
