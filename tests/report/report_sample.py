"""A made-up run folder with every artefact and plausible numbers, for tests of the report and for looking at it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distilnas.space import Architecture, Candidate, Choice, FittedSpace, MBConv, Op, SearchSpace
from distilnas.tables import CellCosts, CellRatings, CostTable, RatingTable, unrated
from distilnas.tables.files import write_arrays

RESOLUTION = 224
EPOCHS = 20
KEY = "0" * 16
SHOWN = ("a.png", "b.png", "c.png")
BATCHES = 4


def small_space() -> SearchSpace:
    """Three blocks, 4 ops, cells of depth 1 and 2 in two widths."""
    return FittedSpace(depths=(1, 2)).fit(channels=(48, 96, 192), reductions=(4, 8, 16))


def write_sample_run(
    folder: Path,
    space: SearchSpace,
    *,
    classes: Sequence[str] = ("cat", "dog"),
    skipped: Sequence[str] = (),
    seed: int = 0,
) -> Path:
    """Write a finished run for ``space``; the same seed gives the same files."""
    rng = np.random.default_rng(seed)
    ratings, costs = _ratings(space, rng), _costs(space)
    ratings.save(folder / "rate" / "ratings.npz")
    costs.save(folder / "cost" / "costs.npz")
    front = _front(space, ratings, costs)
    picked = front[len(front) // 2]
    hashes = _students(folder, space, front, picked, rng)
    _write(folder / "run.json", {"schema": 1, "identity": {"seed": seed}})
    (folder / "config.yaml").write_text(f"recipe: dna\nseed: {seed}\ndistill:\n  epochs: {EPOCHS}\n")
    _write_steps(folder, space, classes, skipped)
    _write(folder / "space" / "space.json", space.to_dict())
    _write(folder / "distill" / "history.json", {"epochs": _distill(space, rng), "seconds": 5400.0})
    _write(folder / "teacher" / "history.json", _training(79.0, rng))
    _write(folder / "solve" / "solution.json", _solution(space, front, picked))
    points = [{key: point[key] for key in ("rating", "costs", "choice")} for point in front]
    _write(
        folder / "solve" / "front.json", {"macs": points, "params": sorted(points, key=lambda p: p["costs"]["params"])}
    )
    _write(folder / "additivity" / "additivity.json", _additivity(picked["rating"], rng))
    _write(folder / "summary.json", _summary(space, ratings, picked, hashes, seed))
    write_features(folder, space, _solved(space, picked)["architecture"], (len(space.body),), rng)
    return folder


def write_features(
    folder: Path, space: SearchSpace, architecture: str, blocks: Sequence[int], rng: np.random.Generator
) -> None:
    """A student that follows the teacher, better in its own block than assembled; the last channel is constant."""
    arrays: dict[str, np.ndarray] = {"inputs": rng.integers(0, 255, (len(SHOWN), 64, 64, 3), dtype=np.uint8)}
    rows = []
    for number in blocks:
        channels, side = 2 * space.body[number - 1].widths[-1], RESOLUTION // space.reductions[number - 1]
        arrays[f"{number}/channels"] = rng.permutation(channels)[:4]
        maps: dict[str, np.ndarray] = {"teacher": rng.normal(size=(len(SHOWN), 4, side, side)).astype(np.float32)}
        correlation = {}
        for name, noise in (("block", 0.4), ("assembled", 1.0)):
            maps[name] = maps["teacher"] + noise * rng.normal(size=maps["teacher"].shape).astype(np.float32)
            values = np.append(1 / np.sqrt(1 + noise**2 * rng.uniform(0.5, 1.5, channels - 1)), np.nan)
            arrays[f"{number}/correlation/{name}"] = values
            q1, median, q3 = np.nanpercentile(values, (25, 50, 75))
            correlation[name] = {"mean": float(np.nanmean(values)), "q1": q1, "median": median, "q3": q3}
        arrays |= {f"{number}/{name}": array for name, array in maps.items()}
        size = {"block": number, "channels": channels, "height": side, "width": side, "compared": channels - 1}
        rows.append(size | {"correlation": correlation})
    images = [{"name": name, "label": None} for name in SHOWN]
    record = {"schema": 1, "architecture": architecture, "num_images": 64, "images": images, "blocks": rows}
    write_arrays(folder / "features" / "features.npz", arrays, {"kind": "features", "schema": 1})
    _write(folder / "features" / "features.json", record)


NETWORK = "stem 32/2 silu | 24/2 mb_k5_e3_silu id | 40/2 mb_k7_e6_silu | head 1280 silu"


def write_sample_training(folder: Path, *, classes: Sequence[str] = ("cat", "dog"), seed: int = 0) -> Path:
    """A finished run of the recipe retrain."""
    rng = np.random.default_rng(seed)
    name = Architecture.parse(NETWORK).fingerprint
    student = folder / "students" / name
    _write(folder / "run.json", {"schema": 1, "identity": {"recipe": "retrain", "seed": seed}})
    (folder / "config.yaml").write_text("recipe: retrain\n")
    counts = {"train": 28000, "validation": 2000, "rating": 0, "test": 5000}
    data = {"source": "folder", "path": "/data/pets", "fingerprint": "9f2c", "classes": list(classes), "counts": counts}
    sizes = {"params": 4_200_000, "macs": 335_000_000, "resolution": RESOLUTION, "architecture": NETWORK}
    _write_step(folder / "data", data)
    _write_step(folder / "network", sizes | {"hash": name}, {"weights": None})
    _write_step(student / "retrain", sizes)
    _write_step(student / "evaluate", {"top1": 76.5, "top5": 93.1, "images": 5000}, {"retrain": KEY})
    _write(student / "retrain" / "history.json", _training(76.5, rng))
    preprocessing = {"resolution": RESOLUTION, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    _write(student / "retrain" / "student.json", {"preprocessing": preprocessing | {"crop_pct": 0.875}})
    measured = {"top1": 76.5, "top5": 93.1, "params": 4_200_000, "macs": 335_000_000, "hash": name}
    _write(folder / "summary.json", _training_summary(folder.name, measured | {"architecture": NETWORK}, seed))
    return folder


def _training_summary(run: str, student: dict[str, Any], seed: int) -> dict[str, Any]:
    return {
        "run": run,
        "recipe": "retrain",
        "student": student,
        "onnx": {"max_abs_difference": 2.4e-06, "checked_images": 32},
        "artefacts": {"onnx": f"students/{student['hash']}/export/model.onnx", "report": "report.html"},
        "seconds": {"data": 32.0, "network": 0.4, "retrain": 15400.0, "export": 12.0},
        "provenance": {"distilnas": "0.1.0", "device": "cuda:0", "seed": seed},
    }


def write_sample_rounds(folder: Path) -> Path:
    """A finished progressive run of two rounds, each part with its summary and a report to link to."""
    teacher = {"name": "resnet50", "top1": 80.1, "params": 25_000_000, "macs": 4_100_000_000}
    rows: list[dict[str, Any]] = []
    for number, top1 in ((1, 76.1), (2, 77.3)):
        student = {"top1": top1, "params": 4_000_000 + number, "macs": 300_000_000 + number, "hash": f"{number:012x}"}
        part = {"recipe": "dna", "teacher": teacher, "student": student, "seconds": {"distill": 60.0 * number}}
        _write(folder / f"round-{number}" / "summary.json", {"run": f"round-{number}", **part})
        rows.append({"round": number, "teacher": teacher, "student": student})
        (folder / f"round-{number}" / "report.html").write_text("")
    grown = {"top1": 79.2, "params": 24_000_000, "macs": 4_000_000_000, "hash": "a" * 12}
    _write(folder / "scaled-1" / "summary.json", _training_summary("scaled-1", grown, 0))
    (folder / "scaled-1" / "report.html").write_text("")
    rows[0]["scaled"] = grown
    rows[1]["teacher"] = {**grown, "name": "/somewhere/scaled-1/students/aaa/export"}
    (folder / "config.yaml").write_text("recipe: progressive\nrounds: 2\n")
    _write(folder / "summary.json", {"run": folder.name, "recipe": "progressive", "rounds": rows})
    return folder


def _write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1))


def _write_steps(folder: Path, space: SearchSpace, classes: Sequence[str], skipped: Sequence[str]) -> None:
    data = {
        "source": "folder",
        "path": "/data/pets",
        "fingerprint": "9f2c1a77d0be",
        "classes": list(classes),
        "counts": {"train": 28000, "validation": 2000, "rating": 1000, "test": 5000},
        "skipped": list(skipped),
    }
    sides = [RESOLUTION // r for r in space.reductions]
    blocks = [
        {
            "path": f"blocks.{b + 1}",
            "channels": 2 * spec.widths[-1],
            "height": s,
            "width": s,
            "reduction": RESOLUTION // s,
        }
        | {"macs": int(2.1e8 * (b + 1))}
        for b, (spec, s) in enumerate(zip(space.body, sides, strict=True))
    ]
    teacher = {
        "name": "tf_efficientnet_b3",
        "params": 12233232,
        "macs": 1843000000,
        "paper_flops": 1890000000,
        "val_top1": 79.4,
        "weights": "timm/tf_efficientnet_b3.ns_jft_in1k, head fitted to the classes",
        "preprocessing": {"resolution": RESOLUTION, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
        | {"interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center"},
        "partition": {"policy": "stage", "image_shape": [3, RESOLUTION, RESOLUTION], "taps": blocks},
        "blocks": blocks,
    }
    results = {"data": data, "teacher": teacher, "distill": {}, "rate": {}, "solve": {}}
    for name, result in results.items():
        inputs = {"distill": {"loss": "mse", "label_loss": 0.5}} if name == "distill" else {}
        _write_step(folder / name, result, inputs)


def _write_step(folder: Path, result: dict[str, Any], inputs: dict[str, Any] | None = None) -> None:
    record = {"schema": 1, "name": folder.name, "key": KEY, "inputs": inputs or {}, "result": result}
    _write(folder / "step.json", record | {"seconds": 60.0, "files": {}})


def _ratings(space: SearchSpace, rng: np.random.Generator) -> RatingTable:
    cells = tuple(
        tuple(_cell_ratings(c.layers, c.width, b, rng) for c in spec.cells) for b, spec in enumerate(space.body)
    )
    cells = (*cells, unrated([()], BATCHES))
    return RatingTable(space=space.fingerprint, metric="relative_l1", num_images=1000, cells=cells)


def _cell_ratings(layers: tuple[tuple[Op, ...], ...], width: int, block: int, rng: np.random.Generator) -> CellRatings:
    """Wider, deeper, larger ops are better, with diminishing returns."""
    gain = np.zeros(())
    for ops in layers:
        layer = np.array([_strength(op) for op in ops]) + rng.normal(0, 0.006, len(ops))
        gain = gain[..., None] + layer
    mean = 0.35 + 0.05 * block + 1.4 / np.sqrt(width) + 0.25 * np.exp(-gain) + rng.normal(0, 0.004, gain.shape)
    batches = (mean + rng.normal(0, 0.004, (BATCHES, *mean.shape))).astype(np.float32)
    return CellRatings(mean=mean, stderr=np.full(mean.shape, 0.003), batches=batches)


def _strength(op: Op) -> float:
    return 0.05 * op.kernel + 0.06 * op.expansion if isinstance(op, MBConv) else 0.0


def _costs(space: SearchSpace) -> CostTable:
    """MBConv's convolutions without squeeze-and-excite: enough for plausible numbers."""
    cells = []
    for b, spec in enumerate(space.body):
        side = RESOLUTION // space.reductions[b]
        block = []
        for cell in spec.cells:
            stem = np.array([10_838_016, 464])[:, None, None] if b == 0 else 0
            first = [[_layer_costs(op, w, cell.width, side) for op in cell.layers[0]] for w in space.in_widths(b)]
            rest = [[_layer_costs(op, cell.width, cell.width, side) for op in ops] for ops in cell.layers[1:]]
            later = tuple(np.array(layer).T for layer in rest)
            block.append(CellCosts(first=np.array(first).transpose(2, 0, 1) + stem, rest=later))
        cells.append(tuple(block))
    width, widths = space.blocks[-1].families[0].out, space.body[-1].widths
    head = np.array([[w * width * 49, w * width] for w in widths]).T[:, :, None]
    cells.append((CellCosts(first=head, rest=()),))
    return CostTable(
        space=space.fingerprint,
        costs=("macs", "params"),
        in_widths=tuple(space.in_widths(b) for b in range(len(space.blocks))),
        cells=tuple(cells),
    )


def _layer_costs(op: Op, before: int, after: int, side: int) -> tuple[int, int]:
    if not isinstance(op, MBConv):
        return (0, 0)
    middle = op.expansion * before
    params = before * middle + op.kernel**2 * middle + middle * after
    return params * side**2, params


def _front(space: SearchSpace, ratings: RatingTable, costs: CostTable) -> list[dict[str, Any]]:
    """Choices of least rating + price x MACs for a sweep of prices, worst first."""
    found: dict[Choice, dict[str, Any]] = {}
    for price in np.geomspace(1e-10, 1e-7, 80):
        choice = tuple(_cheapest(space, ratings, costs, b, price) for b in range(len(space.blocks)))
        found[choice] = {
            "rating": ratings.total(choice),
            "costs": costs.total(space, choice),
            "choice": [{"cell": c.cell, "path": list(c.path)} for c in choice],
        }
    return sorted(found.values(), key=lambda point: point["costs"]["macs"])


def _cheapest(space: SearchSpace, ratings: RatingTable, costs: CostTable, b: int, price: float) -> Candidate:
    best = []
    for c, cell in enumerate(space.blocks[b].families):
        value = ratings.cells[b][c].mean + price * costs.cells[b][c].dense()[0, 0].reshape(cell.shape)
        path = tuple(int(i) for i in np.unravel_index(np.argmin(value), cell.shape))
        best.append((float(value[path]), Candidate(cell=c, path=path)))
    return min(best, key=lambda pair: pair[0])[1]


def _solved(space: SearchSpace, point: Mapping[str, Any], kind: str | None = None) -> dict[str, Any]:
    choice = tuple(Candidate(cell=c["cell"], path=tuple(c["path"])) for c in point["choice"])
    text = {"architecture": str(space.architecture(choice)), "optimal": True, "bound": point["rating"], "seconds": 1.4}
    return {**point, **text} | ({"kind": kind} if kind else {})


def _solution(space: SearchSpace, front: list[dict[str, Any]], picked: dict[str, Any]) -> dict[str, Any]:
    at = front.index(picked)
    nearest = [_solved(space, point, "runner-up") for point in front[max(0, at - 3) : at]]
    diverse = [_solved(space, point, "diverse") for point in front[: max(0, at - 3) : 8]]
    rival = (nearest or [_solved(space, front[0])])[-1]["architecture"]
    return {
        "schema": 1,
        "budgets": {"macs": {"max": int(picked["costs"]["macs"] * 1.02), "min": None}},
        "num_architectures": str(space.num_architectures),
        "solution": _solved(space, picked),
        "alternatives": nearest[::-1] + diverse,
        "tie": {"tied": True, "difference": 0.0021, "stderr": 0.0029, "p_value": 0.47, "rival": rival},
    }


def _distill(space: SearchSpace, rng: np.random.Generator) -> list[dict[str, Any]]:
    falls = [(0.25 + 0.08 * b, 0.75, 5 + b) for b in range(len(space.body))]
    return [
        {"epoch": e}
        | {f"block {b + 1}": lo + d * np.exp(-e / t) + rng.normal(0, 0.008) for b, (lo, d, t) in enumerate(falls)}
        for e in range(EPOCHS)
    ]


def _training(top1: float, rng: np.random.Generator) -> dict[str, Any]:
    reached = [1 - np.exp(-(e + 1) / 7) for e in range(EPOCHS)]
    epochs = [
        {"epoch": e, "loss": 4.4 - 2.7 * r + rng.normal(0, 0.03), "val_top1": top1 * r + rng.normal(0, 0.5)}
        for e, r in enumerate(reached)
    ]
    return {"epochs": epochs, "seconds": 3600.0}


def _students(
    folder: Path, space: SearchSpace, front: list[dict[str, Any]], picked: dict[str, Any], rng: np.random.Generator
) -> list[str]:
    """Training logs of the picked network (first) and three others; returns their hashes."""
    others = [point for point in front if point is not picked][:3]
    hashes = []
    for top1, point in zip((77.1, 75.2, 74.6, 75.9), (picked, *others), strict=False):
        choice = tuple(Candidate(cell=c["cell"], path=tuple(c["path"])) for c in point["choice"])
        hashes.append(space.architecture(choice).fingerprint)
        _write(folder / "students" / hashes[-1] / "retrain" / "history.json", _training(top1, rng))
    return hashes


def _additivity(rating: float, rng: np.random.Generator) -> dict[str, Any]:
    predicted = np.concatenate([[rating], rating + rng.uniform(0.02, 0.5, 30)])
    measured = 0.3 + 0.22 * predicted + rng.normal(0, 0.012, predicted.size)
    return {"predicted": predicted.tolist(), "measured": measured.tolist(), "kendall_tau": 0.81, "spearman_rho": 0.93}


def _summary(
    space: SearchSpace, ratings: RatingTable, picked: Mapping[str, Any], hashes: Sequence[str], seed: int
) -> dict[str, Any]:
    costs = picked["costs"]
    total = space.num_candidates
    random = [
        {"top1": top1, "macs": int(costs["macs"] * share), "params": int(costs["params"] * share), "hash": name}
        for top1, share, name in zip((75.2, 74.6, 75.9), (0.97, 1.01, 0.93), hashes[1:], strict=False)
    ]
    choice = tuple(Candidate(cell=c["cell"], path=tuple(c["path"])) for c in picked["choice"])
    student = {
        "top1": 77.1,
        "params": costs["params"],
        "macs": costs["macs"],
        "architecture": str(space.architecture(choice)),
        "hash": hashes[0],
    }
    return {
        "run": "pets-b3",
        "recipe": "dna",
        "teacher": {"name": "tf_efficientnet_b3", "top1": 78.4, "params": 12233232, "macs": 1843000000},
        "space": {"name": space.name, "num_architectures": space.num_architectures},
        "rating": {
            "num_candidates": total,
            "num_rated": ratings.num_rated,
            "num_images": 1000,
            "metric": ratings.metric,
        },
        "solution": {"rating": picked["rating"], **costs, "optimal": True, "budgets": {}},
        "student": student,
        "random": random,
        "artefacts": {
            "architecture": "solve/solution.json",
            "weights": f"students/{hashes[0]}/export/model.safetensors",
        }
        | {"onnx": f"students/{hashes[0]}/export/model.onnx", "report": "report.html"},
        "seconds": {
            "data": 32.0,
            "teacher": 3600.0,
            "space": 0.4,
            "distill": 5400.0,
            "rate": 940.0,
            "cost": 3.2,
            "solve": 1.4,
        }
        | {"additivity": 21.0, "retrain": 15400.0, "export": 12.0},
        "provenance": {"distilnas": "0.1.0", "python": "3.11.9", "packages": {"torch": "2.6.0", "timm": "1.0.15"}}
        | {
            "platform": "Linux-x86_64",
            "device": "cuda:0",
            "threads": 16,
            "seed": seed,
            "config_hash": "3f9a0c1d2e4b5a67",
        },
        "onnx": {"max_abs_difference": 2.4e-06, "checked_images": 64},
    }
