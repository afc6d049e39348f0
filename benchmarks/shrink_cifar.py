"""A teacher cut in closed form, measured before any training.

``python benchmarks/shrink_cifar.py DATA MODEL WEIGHTS --resolution 48 [--macs 60,42,25]``: DATA is an image folder
with train and test, WEIGHTS a file of the fine-tuned teacher (``mean`` and ``std`` 0.5 as for EfficientNet-Lite, or
``--imagenet``). Prints the seconds of one core that each part took, and top-1 on the test images.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from distilnas.data import ImageSet, Preprocessing, eval_transform, make_loader, make_splits, read_image_data
from distilnas.solve import Limit
from distilnas.surgery.alternatives import on_paper
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import chain_of, ends_of
from distilnas.surgery.choose import best_choices, choose, different_choices, measure
from distilnas.teachers import create_teacher
from distilnas.teachers.units import propose_units

SECONDS: dict[str, float] = {}


@contextmanager
def clock(name: str) -> Iterator[None]:
    start = time.process_time()
    yield
    SECONDS[name] = SECONDS.get(name, 0.0) + time.process_time() - start


def tensors(images: ImageSet, pre: Preprocessing, batch: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    loader = make_loader(
        images, eval_transform(pre), batch_size=batch, seed=0, epoch=0, shuffle=False, drop_last=False, workers=0
    )
    found = list(loader)
    return [x for x, _ in found], torch.cat([y for _, y in found])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("model")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--resolution", type=int, default=48)
    parser.add_argument("--linear", action="store_true", help="linear maps among the candidates")
    parser.add_argument("--imagenet", action="store_true")
    parser.add_argument("--macs", default="60,42,25")
    parser.add_argument("--calibration", type=int, default=1500)
    parser.add_argument("--choices", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    pre = Preprocessing(resolution=args.resolution)
    if not args.imagenet:
        pre = Preprocessing(resolution=args.resolution, mean=(0.5,) * 3, std=(0.5,) * 3)
    data = read_image_data(args.data)
    splits = make_splits(data.train, data.test, test_fraction=0.2, validation=200, rating_images=512, seed=0)
    some = np.random.default_rng(0).permutation(len(splits.train))[: args.calibration]
    calibration, _ = tensors(splits.train.subset(np.sort(some)), pre, 125)
    held_out, labels = tensors(splits.rating, pre, 64)
    test, truth = tensors(splits.test, pre, 250)
    model = create_teacher(args.model, num_classes=len(splits.train.classes), weights=args.weights)
    with clock("units"):
        units = chain_of(model, ends_of(propose_units(model, args.resolution)), (3, args.resolution, args.resolution))
    with clock("library"):
        library = build_library(units, calibration, held_out, linear=args.linear, dtype=torch.bfloat16)
    with clock("costs"):
        trunks = library.trunks()
    whole = on_paper(trunks[0], library.whole())
    assert whole is not None
    total = {name: int(value) for name, value in whole.solution.costs.items()}
    teacher = measure(library, [unit.module for unit in units], test, truth)
    print(json.dumps({"teacher": teacher.top1, **total, "students": sum(t.problem.num_architectures for t in trunks)}))
    for share in map(float, args.macs.split(",")):
        limits = [Limit(cost="macs", max=int(share / 100 * total["macs"]))]
        with clock(f"choice {share:g}"):
            found = best_choices(trunks, limits)
            if args.choices > 1:
                found += different_choices(trunks, limits, args.choices, 3)[1:]
        with clock(f"assembly {share:g}"):
            built = choose(library, found, calibration, held_out, labels)
        for one in built:
            result = measure(library, one.modules, test, truth)
            record = {"macs": share, "top1": result.top1, "divergence": round(result.divergence, 4)}
            record |= {"held out": one.measured.top1, "held out divergence": round(one.measured.divergence, 4)}
            record |= {"rating": round(one.chosen.solution.rating, 4), **one.chosen.solution.costs}
            print(json.dumps(record), one.chosen.choice if len(built) == 1 else "", flush=True)
    print(json.dumps({name: round(seconds, 1) for name, seconds in SECONDS.items()}))


if __name__ == "__main__":
    main()
