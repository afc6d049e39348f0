"""Run as a program: the first steps of a shipped recipe at its true shapes on synthetic images, in little memory.

``python first_steps.py RECIPE FOLDER`` prints one JSON record.
"""

import json
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from distilnas.methods.dna import distill
from distilnas.methods.dna.rate import walk
from distilnas.networks import StudentNet, save_student
from distilnas.networks.zoo import zoo_entry
from distilnas.recipes.catalogue import load_settings, run_recipe
from distilnas.recipes.dna.recipe import with_teacher
from distilnas.recipes.progressive.settings import ProgressiveSettings
from distilnas.recipes.settings import Settings, TeacherSettings
from distilnas.recipes.spaces import resolve_space
from distilnas.space import scale
from distilnas.supernet import build_supernet
from distilnas.teachers import Partition, TeacherBlocks

SYNTHETIC = ["source=synthetic", "path=null", "images=80", "classes=10"]
SYNTHETIC += ["validation=8", "train_images=16", "check=auto"]


def search(settings: Settings) -> dict[str, Any]:
    """Two steps of all blocks, and the ratings of one batch for all candidates of the last block."""
    materials, teaching = with_teacher(settings)
    teacher = teaching.new().eval()
    described = teaching.describe(teacher)
    space = resolve_space(settings.space, described["partition"])
    blocks = TeacherBlocks(teacher, Partition.from_dict(described["partition"]))
    channels = tuple(tap["channels"] for tap in described["partition"]["taps"])
    supernet = build_supernet(space, channels, adapters=settings.distill.adapters, seed=0)
    loop = materials.loop(Path("none"), materials.splits.train, settings.distill, name="distill")
    loop = replace(loop, checkpoint_seconds=None)
    log = distill(supernet, blocks, settings.distill, loop, device=materials.device, seed=0)
    images, _ = next(iter(materials.eval_batches(materials.splits.rating, 8)))
    feature = blocks.features(images)[-2]
    with torch.no_grad():
        entered = supernet.blocks[-1].entry(feature)  # type: ignore[operator]
        rated = [y.shape for cell in supernet.blocks[-1].cells for _, y in walk(cell, entered, materials.device)]  # type: ignore[union-attr]
    return {
        "losses": {name: value for name, value in log.epochs[0].items() if name != "epoch"},
        "channels": channels,
        "strides": blocks.partition.strides,
        "rated": [list(shape) for shape in rated],
        "teacher_params": described["params"],
    }


def small(settings: Settings) -> Settings:
    return replace(settings, runtime=replace(settings.runtime, workers=0, precision="32-true"))


def progressive(settings: ProgressiveSettings, folder: Path) -> dict[str, Any]:
    """The second round: a DNA network of the first teacher's size teaches."""
    architecture = scale(zoo_entry("dna-d").architecture, width=2.0, depth=2.6)  # type: ignore[arg-type]
    network = StudentNet(architecture, num_classes=10)
    save_student(folder, network, classes=(), preprocessing={"resolution": 224})
    return search(small(replace(settings.dna, teacher=TeacherSettings(student=str(folder)))))


def retraining(name: str, folder: Path) -> dict[str, Any]:
    """Two updates and an evaluation on the validation images, through the run's own steps."""
    overrides = [f"data.{word}" for word in SYNTHETIC] + ["data.label_key=null", "data.resolution=224"]
    overrides += ["retrain.epochs=1", "retrain.batch_size=8", "retrain.micro_batch=4"]
    overrides += ["runtime.workers=0", "runtime.precision=32-true"]
    settings = load_settings(name)
    if settings.network.weights:
        weights = folder / "published.pth.tar"
        torch.save({"state_dict": StudentNet(zoo_entry(settings.network.zoo).architecture).state_dict()}, weights)  # type: ignore[arg-type]
        overrides.append(f"network.weights={weights}")
    return run_recipe(load_settings(name, tuple(overrides)), folder / "run", until="retrain")


def main(name: str, folder: Path) -> dict[str, Any]:
    recipe = load_settings(name).recipe
    if recipe == "retrain":
        return retraining(name, folder)
    prefix = "dna." if recipe == "progressive" else ""
    words = [f"data.{word}" for word in SYNTHETIC]
    words += ["teacher.pretrained=false", "teacher.fit={epochs: 1}", "rate.images=16", "rate.batch_size=8"]
    words += ["distill.epochs=1", "distill.batch_size=8"]
    settings = load_settings(name, tuple(prefix + word for word in words))
    return progressive(settings, folder) if recipe == "progressive" else search(small(settings))


if __name__ == "__main__":
    torch.set_num_threads(2)
    found = main(sys.argv[1], Path(sys.argv[2]))
    peak = {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    sys.stdout.write(json.dumps(found | peak, default=str))
