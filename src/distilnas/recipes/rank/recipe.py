"""The recipe ``rank``: the table of steps of each seed, and what the seeds come to together."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distilnas import ranking
from distilnas.files import read_json
from distilnas.recipes.dna.recipe import check, open_dna
from distilnas.recipes.dna.steps import COST, DISTILL, SPACE, DnaJob
from distilnas.recipes.frame import Recipe, Series, provenance_of, seconds_of, write_results
from distilnas.recipes.rank.settings import RankSettings
from distilnas.recipes.rank.steps import Asked, Compare, ScoreOneShot, ScoreUntrained, TrainOneShot, rate_by
from distilnas.recipes.rank.truth import Truth
from distilnas.recipes.settings import Settings
from distilnas.recipes.students import DATA
from distilnas.recipes.teaching import TEACHER, EvaluateTeacher, Teaching
from distilnas.runtime.progress import Progress
from distilnas.runtime.store import StepRecord

BASELINES = ("params", "macs", "depth")


def run_seeds(settings: RankSettings, folder: Path, progress: Progress) -> dict[str, Any]:
    """Run all seeds; the content of ``summary.json``."""
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


def seed_recipe(settings: RankSettings, seed: int) -> Recipe[Settings, Teaching]:
    """One seed: a DNA run's steps as far as the supernet, then ratings by each metric and their ranking."""
    asked = Asked(settings=settings, truth=Truth(settings, seed))
    rated = {name: rate_by(name, settings) for name in settings.all_ratings()}
    trained = (TrainOneShot(settings=settings.one_shot),) if settings.one_shot else ()
    one_shot = tuple(ScoreOneShot(asked=asked, trained=step) for step in trained)
    untrained = (ScoreUntrained(asked=asked),) if settings.zero_cost else ()
    compared = Compare(asked=asked, rated=rated, scored=(*one_shot, *untrained))

    def check_all(job: DnaJob) -> None:
        asked.truth.check(check(job).space)

    def finish(job: DnaJob, records: Mapping[str, StepRecord]) -> dict[str, Any]:
        return {
            "seed": seed,
            "teacher": records["teacher"].result["name"],
            "teacher_top1": records["evaluate-teacher"].result["top1"],
            "ranking": read_json(records["ranking"].folder / "ranking.json"),
            "baselines": _baselines(job, asked),
            "seconds": seconds_of(recipe, records, digits=1),
            "provenance": provenance_of(job, settings),
        }

    steps = (DATA, TEACHER, DISTILL, *rated.values(), *trained, *one_shot, *untrained, compared)
    recipe = Recipe(
        name="rank",
        settings=Settings,
        steps=(*steps, EvaluateTeacher(timed=False)),
        open=open_dna,
        check=check_all,
        finish=finish,
    )
    return recipe


def _run_seed(settings: RankSettings, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    progress.message(f"seed {seed}")
    return seed_recipe(settings, seed).run(replace(settings.dna, seed=seed), folder, progress=progress)


def _baselines(job: DnaJob, asked: Asked) -> dict[str, dict[str, Any]]:
    """What size alone says of the networks."""
    choices, space, costs = list(asked.networks(job).values()), job.get(SPACE), job.get(COST)
    depth = {"depth": ranking.depth_scores(space, choices)}
    sizes = {cost: ranking.cost_scores(space, costs, cost, choices) for cost in costs.costs}
    return asked.truth.rank({name: values for name, values in (sizes | depth).items() if name in BASELINES})


def _tau(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over the seeds, the values themselves, and over how many networks they are."""
    values = [record["kendall_tau"] for record in records]
    mean, stderr = ranking.mean_stderr(values) if len(values) > 1 else (values[0], None)
    return {"mean": mean, "stderr": stderr, "values": values, "n": records[0]["n"]}


def _refuse(settings: RankSettings, folder: Path, verb: str) -> str:
    return (
        f"the recipe 'rank' runs whole: for the step {verb!r} give the run of a seed, e.g. "
        f"--run {folder / f'seed-{settings.seeds[0]}'}."
    )


RANK = Series(name="rank", settings=RankSettings, do=run_seeds, refuse=_refuse)
