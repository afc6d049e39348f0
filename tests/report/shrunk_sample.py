"""The record of a shrinking run, made up: two students, answers to 400 images, 60 students of other budgets."""

import json
from pathlib import Path

import numpy as np

from distilnas.records.steps import Data, Partition, Preprocessing, Teacher
from distilnas.report.compared import Answers, difference
from distilnas.report.shrunk import (
    Compared,
    CurvePoint,
    Explored,
    HeldOutTeacher,
    Photo,
    ShrunkNetwork,
    ShrunkRecord,
    ShrunkSummary,
)

CLASSES = ("ok", "</script> & crack", "broken")
TEACHER = {"macs": 24_000_000, "params": 2_200_000, "bytes": 9_000_000}


def sample(folder: Path) -> ShrunkRecord:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 400, p=[0.6, 0.3, 0.1])

    def answers(share: float) -> Answers:
        found = np.where(rng.random(400) < share, labels, rng.integers(0, 3, 400))
        return Answers(labels=labels, found=found, classes=3)

    teacher = answers(0.9)
    students, compared = [], {}
    for slug, budget in (("macs-50pct", {"macs": "50%"}), ("macs-25pct", {"macs": "25%", "params": "2M"})):
        found = answers(0.8)
        photos = tuple(Photo(name=f"ok/{i}.jpg", label=0, teacher=0, student=1) for i in range(5))
        pixels = rng.integers(0, 255, (5, 96, 96, 3), dtype=np.uint8)
        compared[slug] = Compared(answers=found, photos=photos, pixels=pixels)
        files = {"weights": f"students/{slug}/export/model.safetensors", "onnx": f"students/{slug}/export/model.onnx"}
        costs = {"macs": 12_000_000, "params": 900_000, "bytes": 3_700_000}
        students.append(
            ShrunkNetwork(top1=75.0, **costs, budget=budget, difference=difference(found, teacher), artefacts=files)
        )
    parent = ShrunkNetwork(name="mobilenetv2_100", top1=80.0, **TEACHER)
    wants = {"resolution": 64, "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "crop_pct": 1.0}
    return ShrunkRecord(
        folder=folder,
        config="recipe: shrink\n",
        data=Data(source="folder", path="photos", fingerprint="ab", classes=CLASSES, counts={"test": 400}),
        teacher=Teacher(
            name="mobilenetv2_100", preprocessing=Preprocessing(**wants), partition=Partition(policy="units"), blocks=()
        ),
        found=ShrunkSummary(
            run="sample",
            teacher=parent,
            students=tuple(students),
            curve=tuple(CurvePoint(macs=m, params=m // 10, bytes=m // 3, top1=70.0, stderr=1.0) for m in (5, 10, 20)),
            alternatives=(),
            held_out_teacher=HeldOutTeacher(macs=24_000_000, top1=80.0),
            rating={"num_candidates": 99, "num_rated": 50, "num_images": 512},
            space={"num_architectures": 123456789},
        ),
        summary=None,
        seconds={},
        answers=teacher,
        compared=compared,
        explored=explored(rng),
        sizes={"teacher/teacher.safetensors": 9_100_000},
    )


def explored(rng: np.random.Generator) -> Explored:
    shares = {name: {f"{s}%": int(s * most / 100) for s in range(100, 20, -10)} for name, most in TEACHER.items()}
    rows = []
    for _ in range(60):
        kept = rng.choice([1.0, 0.5, 0.25, None], 9).tolist()
        sizes = {name: int(rng.uniform(0.3, 1) * most) for name, most in TEACHER.items()}
        rows.append({"rating": float(rng.random()), "stderr": 0.01, "side": None, **sizes, "kept": kept})
    return Explored(
        teacher=dict(TEACHER),
        grid=shares,
        units=tuple(f"blocks.{i}" for i in range(9)),
        students=tuple(json.loads(json.dumps(rows))),
    )
