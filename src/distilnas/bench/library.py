"""``bench library``: a library of cuts with ratings, the choice and the assembled student, against the teacher's fit.

What recipe ``shrink`` does before any training of the student, on images that are noise: EfficientNet-Lite0 at 48 px,
1,500 images for the closed form, 512 for ratings. The baseline is what anybody does before, fine-tuning the teacher: 4
epochs of 10,000 images in batches of 64, by one timed step.
"""

from collections.abc import Callable, Sequence
from functools import partial

import timm
import torch
from torch import Tensor, nn

from distilnas.bench.floors import ceilings, macs_per_second
from distilnas.bench.report import Report
from distilnas.bench.retrain import training_step
from distilnas.bench.settings import BenchSettings
from distilnas.bench.timing import interleave, peak_bytes
from distilnas.costing.measures import MEASURES, Part
from distilnas.runtime.device import PRECISIONS
from distilnas.runtime.seeds import torch_seed
from distilnas.solve import Limit
from distilnas.surgery.assemble import assemble
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import Unit, chain_of, ends_of
from distilnas.surgery.choose import best_choices
from distilnas.surgery.library import Library
from distilnas.surgery.moments import PER_COLUMN, num_columns
from distilnas.teachers.units import propose_units

MODEL, SIZE, CLASSES, BATCH = "tf_efficientnet_lite0", 48, 10, 125
SHARE = 0.42  # of the multiply-adds
FIT_STEPS, FIT_BATCH = 4 * 10_000 // 64, 64


def run(name: str, settings: BenchSettings) -> Report:
    """Library in the faster precision, choice, assembly and a training step in turns."""
    model = "mobilenetv2_035" if settings.quick else MODEL
    numbers = (16, 8) if settings.quick else (1500, 512)
    units = teacher_units(model, settings)
    calibration, rating = (batches(number, seed, settings) for seed, number in enumerate(numbers))
    dtype = torch.float32 if settings.quick else torch.bfloat16
    build = partial(build_library, units, calibration, rating, dtype=dtype)
    library = build()
    macs = [int(MEASURES["macs"](Part(unit.module, unit.in_shape))) for unit in units]
    limits = [Limit(cost="macs", max=int(SHARE * sum(macs)))]
    chosen = best_choices(library.trunks(), limits)[0]
    step = teacher_step(model, settings)
    works = {
        "library": build,
        "choice": lambda: best_choices(library.trunks(), limits),
        "assembly": lambda: assemble(library, chosen.choice, calibration),
        "training step": step,
    }
    times = interleave(works, turns=settings.turns, warmup=0)
    before, fit = "before any training", f"fit of {FIT_STEPS} steps"
    times[before] = [sum(turn) for turn in zip(*(times[part] for part in list(works)[:3]), strict=True)]
    times[fit] = [FIT_STEPS * seconds for seconds in times["training step"]]
    ceiling = ceilings(settings)
    least = {"moments": moment_macs(units, numbers[0]), "ratings": rating_macs(library, macs, numbers[1])}
    few = calibration[:2]
    memory = {
        "library": peak_bytes(lambda: build_library(units, few, rating[:1], dtype=dtype), settings.device()),
        "training step": peak_bytes(step, settings.device()),
    }
    return Report(
        name=name,
        what=f"library, choice and assembly at {SHARE:.0%} of the MACs of {model}, {SIZE} px, {numbers[0]} and "
        f"{numbers[1]} images, against fine-tuning it",
        times=times,
        work=(rated(library), "candidates"),
        ours=before,
        baseline=fit,
        floors={"matrix products at the device's ceiling": sum(least.values()) / macs_per_second(ceiling)},
        facts={"macs": least, "peak_bytes": memory, "ceilings": ceiling},
    )


def teacher_units(model: str, settings: BenchSettings) -> tuple[Unit, ...]:
    """The network with random weights as a row of units."""
    network = _network(model).to(settings.device().fabric.device).eval()
    return chain_of(network, ends_of(propose_units(network, SIZE)), (3, SIZE, SIZE))


def _network(model: str) -> nn.Module:
    with torch_seed(0):
        return timm.create_model(model, num_classes=CLASSES)


def batches(number: int, seed: int, settings: BenchSettings) -> Sequence[Tensor]:
    """So many images of noise, as a run has them."""
    with torch_seed(seed):
        return settings.device().images(torch.randn(number, 3, SIZE, SIZE)).split(BATCH)


def teacher_step(model: str, settings: BenchSettings) -> Callable[[], None]:
    """A step of fine-tuning, in the precision that runs take by default."""
    device = settings.device(PRECISIONS[0])
    with torch_seed(1):
        images, labels = torch.randn(FIT_BATCH, 3, SIZE, SIZE), torch.randint(CLASSES, (FIT_BATCH,))
    network = device.module(_network(model).train())
    return training_step(network, device.images(images), labels.to(device.fabric.device), device)


def moment_macs(units: Sequence[Unit], images: int) -> int:
    """Products of what every cut group's reading layers see with itself, of the places that are used."""
    total = 0
    for unit in units:
        for path in dict.fromkeys(read.path for group in unit.groups for read in group.read):
            columns = num_columns(unit.module.get_submodule(path))
            total += columns**2 * min(PER_COLUMN * columns, images * unit.out_shape[-1] ** 2)
    return total


def rating_macs(library: Library, macs: Sequence[int], images: int) -> int:
    """What follows each candidate in the network, once an image; the candidates' own layers are left aside."""
    widths = [i for i, parts in enumerate(library.widths) for part in parts for _ in part]
    drops = [library.units[out[-1]].block for out in library.drops]
    last = {unit.block: i for i, unit in enumerate(library.units)}
    behind = [*widths, *(last[block] for block in drops)]
    return images * sum(sum(macs[i + 1 :]) for i in behind)


def rated(library: Library) -> int:
    """Candidates of the library."""
    return sum(len(part) for parts in library.widths for part in parts) + len(library.drops) + len(library.exits)
