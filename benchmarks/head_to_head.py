"""Ours and what else people do to a trained network, with equal images after the cut.

``python -m benchmarks.head_to_head NAME DATA MODEL WEIGHTS --resolution 48 [--shares 60,42,25] [--seeds 0,1,2]
[--arms ...] [--epochs 4] --work DIR``: DATA is an image folder with train and test, WEIGHTS a file of the fine-tuned
teacher. Every arm is trained by the product's own recovery: the same views, loss and length. Ours finds its learning
rate as a user's run does, within its time; for the others three are tried for a quarter of the length with the first
seed, uncounted, and the best on held-out images is taken. One JSON record a student in
benchmarks/results/head_to_head/NAME; those that are there are not made again. ``benchmarks.head_to_head_page`` makes
the tables.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from benchmarks.rivals import free_units, least_cut, thin
from distilnas.costing import count, count_params
from distilnas.data import Preprocessing, eval_transform, make_loader
from distilnas.recipes.frame import Job
from distilnas.recipes.shrink.easy import shrink_settings
from distilnas.recipes.shrink.recipe import open_shrink, run_shrink
from distilnas.recipes.shrink.settings import ShrinkSettings
from distilnas.recipes.shrink.steps import LIBRARY, Shelf, calibration_batches
from distilnas.recipes.shrink.students import ShrinkJob
from distilnas.recipes.teaching import TEACHER, WEIGHTS
from distilnas.recovery import Lesson, RecoverySettings, recover
from distilnas.recovery.outputs import comparable
from distilnas.runtime.progress import SilentProgress
from distilnas.runtime.store import Run
from distilnas.solve.problem import Position
from distilnas.surgery.assemble import assemble
from distilnas.surgery.exits import new_head
from distilnas.surgery.library import Trunk, choice_in
from distilnas.surgery.students import parent_of, student_net
from distilnas.training import accuracies

RESULTS = Path(__file__).parent / "results" / "head_to_head"
RATES = (3e-4, 1e-3, 3e-3)
_TUNING = 0.25  # of the length
_STEPS = 512  # of the share that is cut
_AIM, _LEAST = 0.96, 0.92  # of the limit, of networks drawn at random


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A smaller network before its recovery, and the images it wants."""

    model: nn.Module
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """One seed: a finished run of the recipe, whose images, teacher and library all arms share."""

    job: ShrinkJob
    shelf: Shelf
    teacher: nn.Module
    taps: tuple[str, ...]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def pre(self) -> Preprocessing:
        return self.job.preprocessing

    @property
    def shape(self) -> tuple[int, int, int]:
        return (3, self.pre.resolution, self.pre.resolution)

    def macs(self, model: nn.Module) -> int:
        return count(model, self.shape).macs

    def limit(self, share: float) -> int:
        return int(share / 100 * self.shelf.teacher["macs"])

    def student(self, modules: Sequence[nn.Module]) -> nn.Module:
        settings = self.job.settings.teacher
        parent = parent_of(
            self.shelf.library.units,
            self.shape,
            model=settings.model,
            num_classes=len(self.job.materials.splits.train.classes),
        )
        return student_net(parent, modules)

    def test(self, model: nn.Module, pre: Preprocessing) -> float:
        images, device = self.job.materials.splits.test, self.job.device
        loader = make_loader(
            images, eval_transform(pre), batch_size=250, seed=0, epoch=0, shuffle=False, drop_last=False, workers=0
        )
        return accuracies(device.module(model), loader, device, ks=(1,))[0]


Arm = Callable[[World, int], Rival]


def most(limit: int, build: Callable[[float], nn.Module], world: World) -> nn.Module:
    """The largest of ``build(share to cut)`` within the limit."""
    return least_cut(build, lambda model: world.macs(model) <= limit, _STEPS)


def uniform_inner(world: World, limit: int) -> Rival:
    """Every unit's inner channels by one share, least magnitude first."""
    return Rival(
        model=most(limit, lambda share: world.student(thin(world.shelf.library, share)), world), preprocessing=world.pre
    )


def depth_cut(world: World, limit: int) -> Rival:
    """In each block the last units left out, as few as keep the limit; where all are too few, inner channels too."""
    library = world.shelf.library
    free = free_units(library)
    for number in range(1, max(map(len, free)) + 1):
        out = frozenset(i for block in free for i in block[-number:])
        model = world.student(thin(library, 0.0, out))
        if world.macs(model) <= limit:
            return Rival(model=model, preprocessing=world.pre)
    model = most(limit, lambda share: world.student(thin(library, share, out)), world)
    return Rival(model=model, preprocessing=world.pre)


def truncation(world: World, limit: int) -> Rival:
    """As many units from the first as fit, with a new classifier that begins at zero."""
    units = world.shelf.library.units
    classes = len(world.job.materials.splits.train.classes)
    best = None
    for last in range(len(units) - 1):
        head = new_head(units[last], classes)
        nn.init.zeros_(head.fc.weight)
        nn.init.zeros_(head.fc.bias)
        model = world.student([*(unit.copy() for unit in units[: last + 1]), head])
        if world.macs(model) <= limit:
            best = model
    assert best is not None
    return Rival(model=best, preprocessing=world.pre)


def resolution(world: World, limit: int) -> Rival:
    """The teacher itself with smaller images."""
    model = copy.deepcopy(world.teacher)
    side = world.pre.resolution
    while count(model, (3, side, side)).macs > limit:
        side -= 1
    return Rival(model=model, preprocessing=replace(world.pre, resolution=side))


def random_network(world: World, limit: int) -> Rival:
    """A network of our library drawn at random, repaired as ours."""
    trunk = world.shelf.trunks[0]
    drawn = tilted(trunk, limit, world.rng)
    modules = assemble(world.shelf.library, choice_in(trunk, drawn), calibration_batches(world.job))
    return Rival(model=world.student(modules), preprocessing=world.pre)


def tilted(trunk: Trunk, limit: int, rng: np.random.Generator, leaning: float = 0.0) -> list[Position]:
    """A network at 92 to 100 % of the limit: each block's candidate by itself, with probabilities that fall
    exponentially with its cost so that the mean keeps the limit, and with ``leaning`` times its rating.
    """
    blocks = [block.cells for block in trunk.problem.blocks]
    places = [[Position(c, i) for c, cell in enumerate(cells) for i in range(len(cell))] for cells in blocks]
    costs = [np.concatenate([cell.costs["macs"][0] for cell in cells]) / limit for cells in blocks]
    ratings = [leaning * np.concatenate([cell.ratings for cell in cells]) for cells in blocks]
    low, high = -1e3, 1e3
    for _ in range(60):
        tilt = (low + high) / 2
        mean = sum(float(_weights(c, r, tilt) @ c) for c, r in zip(costs, ratings, strict=True))
        low, high = (tilt, high) if mean > _AIM else (low, tilt)
    while True:
        pairs = zip(costs, ratings, strict=True)
        drawn = [int(rng.choice(len(c), p=_weights(c, r, high))) for c, r in pairs]
        if _LEAST <= sum(c[i] for c, i in zip(costs, drawn, strict=True)) <= 1:
            return [some[i] for some, i in zip(places, drawn, strict=True)]


def _weights(costs: np.ndarray, ratings: np.ndarray, tilt: float) -> np.ndarray:
    weights = np.exp(-tilt * (costs - costs.min()) - ratings)
    return weights / weights.sum()


def torch_pruning(world: World, limit: int, *, taylor: bool) -> Rival:
    """Torch-Pruning (Fang et al., CVPR 2023), also on the residual stream: uniform ratios by magnitude, or one global
    ranking by first-order Taylor importance of the true labels' loss on 512 training images."""
    import torch_pruning as tp

    example = torch.zeros(1, *world.shape)

    def build(share: float) -> nn.Module:
        model = copy.deepcopy(world.teacher).float().train(False).requires_grad_(True)
        importance = tp.importance.GroupTaylorImportance() if taylor else tp.importance.GroupMagnitudeImportance(p=2)
        pruner = tp.pruner.BasePruner(
            model,
            example,
            importance=importance,
            global_pruning=taylor,
            pruning_ratio=share,
            max_pruning_ratio=0.95,
            round_to=8,
            ignored_layers=[model.get_classifier()],
        )
        if taylor:
            _gradients(model, world)
        pruner.step()
        model.zero_grad()
        return model

    return Rival(model=most(limit, build, world), preprocessing=world.pre)


def _gradients(model: nn.Module, world: World) -> None:
    images = world.job.materials.splits.train.subset(np.arange(0, len(world.job.materials.splits.train), 16)[:512])
    for x, labels in world.job.materials.eval_batches(images, 128):
        functional.cross_entropy(model(x), labels).backward()


ARMS: dict[str, Arm] = {
    "depth-cut": depth_cut,
    "uniform-inner-width": uniform_inner,
    "torch-pruning-uniform": lambda world, limit: torch_pruning(world, limit, taylor=False),
    "lower-resolution": resolution,
    "torch-pruning-taylor": lambda world, limit: torch_pruning(world, limit, taylor=True),
    "random-of-library": random_network,
    "truncation": truncation,
}


@contextmanager
def clocked(record: dict[str, Any], name: str) -> Iterator[None]:
    begun = time.process_time()
    yield
    record[name] = round(time.process_time() - begun, 1)


def train(world: World, rival: Rival, settings: RecoverySettings, folder: Path) -> dict[str, Any]:
    """Recover the rival in place; what its held-out images say."""
    folder.mkdir(parents=True, exist_ok=True)
    image = torch.zeros(1, 3, rival.preprocessing.resolution, rival.preprocessing.resolution)
    lesson = Lesson(
        teacher=world.teacher,
        images=world.job.materials.splits.train,
        validation=world.job.materials.splits.validation,
        preprocessing=rival.preprocessing,
        teacher_preprocessing=world.pre,
        pairs=_pairs(world, rival.model, image),
        device=world.job.device,
        seed=world.job.settings.seed,
        checkpoint=folder / "checkpoint.safetensors",
        progress=SilentProgress(),
    )
    found = recover(rival.model, lesson, settings)
    for left in folder.iterdir():
        left.unlink()
    rounds = [{name: row[name] for name in row if name.startswith("val_")} for row in found.log.epochs]
    return {"before": found.before, "rounds": rounds, "updates": found.updates}


def _pairs(world: World, model: nn.Module, image: torch.Tensor) -> tuple[tuple[str, str], ...]:
    """What the loss compares: all blocks whose outputs still have the teacher's shape."""
    if hasattr(model, "parent"):
        borders = model.parent.borders  # type: ignore[union-attr]
        used = [i for i, block in enumerate(model.blocks) if type(block).__name__ != "Skip"]  # type: ignore[arg-type]
        last = max(used)
        return tuple((f"blocks.{i}", b.path) for i, b in enumerate(borders) if b.path in world.taps and i <= last)
    return comparable(model, world.teacher, world.taps, image=image, teacher_image=torch.zeros(1, *world.shape))


def tuned(world: World, arm: Arm, share: float, epochs: float, folder: Path, file: Path) -> dict[str, Any]:
    """Held-out top-1 and divergence after a quarter of the length with each rate; the best one's name is ``lr``."""
    if file.exists():
        return json.loads(file.read_text())
    tried = {}
    rival = arm(world, world.limit(share))
    for rate in RATES:
        one = replace(rival, model=copy.deepcopy(rival.model))
        settings = RecoverySettings(epochs=epochs * _TUNING).at(rate)
        tried[rate] = train(world, one, settings, folder)["rounds"][-1]
    best = max(RATES, key=lambda rate: (tried[rate]["val_top1"], -tried[rate]["val_kl"]))
    found = {"lr": best, "tried": {f"{rate:g}": row for rate, row in tried.items()}}
    _write(file, found)
    return found


def _write(file: Path, record: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1) + "\n")


def finished_run(args: argparse.Namespace, seed: int, shares: Sequence[float]) -> tuple[ShrinkSettings, Path]:
    """Settings and folder of the product's own run for all ``shares``."""
    settings = shrink_settings(
        args.model,
        args.data,
        weights=args.weights,
        budgets=[{"macs": f"{share:g}%"} for share in shares],
        resolution=args.resolution,
        epochs=args.epochs,
        seed=seed,
    )
    return settings, args.work / f"{args.name}-{seed}"


def open_world(settings: ShrinkSettings, folder: Path, seed: int) -> World:
    with Run(folder) as run:
        materials, teaching = open_shrink(settings, folder)
        job = Job(run, settings, materials, teaching)
        shelf = job.get(LIBRARY)
        taps = tuple(tap["path"] for tap in job.result(TEACHER)["partition"]["taps"])
        teacher = teaching.empty(len(materials.splits.train.classes))
        teacher.load_state_dict(load_file(job.do(TEACHER).folder / WEIGHTS))
    return World(job=job, shelf=shelf, teacher=teacher.eval(), taps=taps, rng=np.random.default_rng(seed))


def ours(settings: ShrinkSettings, folder: Path, results: Path, shares: Sequence[float]) -> None:
    """The product's own run for all budgets; its seconds are those of one thread."""
    summary = run_shrink(settings, folder)
    teacher = summary["teacher"]
    for share, row in zip(shares, summary["students"], strict=True):
        step = json.loads(next(folder.glob(f"students/macs-{share:g}pct/recover/step.json")).read_text())
        history = json.loads(next(folder.glob(f"students/macs-{share:g}pct/recover/history.json")).read_text())
        rounds = [{k: v for k, v in epoch.items() if k.startswith("val_")} for epoch in history["epochs"]]
        record = {
            "arm": "ours",
            "share": share,
            "seed": settings.seed,
            "macs": row["macs"],
            "params": row["params"],
            "limit": int(share / 100 * teacher["macs"]),
            "teacher": teacher,
            "closed_form": row["top1_before_training"],
            "top1": row["top1"],
            "rounds": rounds,
            "lr": step["result"]["lr"],
            "seconds": summary["seconds"],
            "budgets": len(shares),
            "versions": summary["provenance"],
        }
        _write(results / f"ours-{share:g}-{settings.seed}.json", record)


def arguments(*, epochs: float) -> argparse.ArgumentParser:
    """What every study of a finished run is told."""
    parser = argparse.ArgumentParser()
    for name in ("name", "data", "model", "weights"):
        parser.add_argument(name)
    parser.add_argument("--resolution", type=int, default=48)
    parser.add_argument("--epochs", type=float, default=epochs)
    parser.add_argument("--work", type=Path, required=True)
    return parser


def main() -> None:
    parser = arguments(epochs=4)
    parser.add_argument("--shares", default="60,42,25")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default=",".join(ARMS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    shares = [float(share) for share in args.shares.split(",")]
    results, seeds = RESULTS / args.name, [int(seed) for seed in args.seeds.split(",")]
    for seed in seeds:
        settings, folder = finished_run(args, seed, shares)
        ours(settings, folder, results, shares)
        world = open_world(settings, folder, seed)
        for name in args.arms.split(","):
            for share in shares:
                file = results / f"{name}-{share:g}-{seed}.json"
                if file.exists():
                    continue
                temporary = args.work / "training"
                tuning = file.with_name(file.stem.removesuffix(f"-{seed}") + "-tuning.json")
                rate = tuned(world, ARMS[name], share, args.epochs, temporary, tuning)["lr"]
                record: dict[str, Any] = {"arm": name, "share": share, "seed": seed, "limit": world.limit(share)}
                with clocked(record, "search_seconds"):
                    rival = ARMS[name](world, world.limit(share))
                side = rival.preprocessing.resolution
                record |= {"macs": count(rival.model, (3, side, side)).macs, "params": count_params(rival.model)}
                record |= {"lr": rate, "resolution": side, "top1_before": world.test(rival.model, rival.preprocessing)}
                with clocked(record, "recovery_seconds"):
                    record |= train(world, rival, RecoverySettings(epochs=args.epochs).at(rate), temporary)
                record["top1"] = world.test(rival.model, rival.preprocessing)
                _write(file, record)
                print(json.dumps({k: record[k] for k in ("arm", "share", "seed", "macs", "top1_before", "top1")}))


if __name__ == "__main__":
    main()
