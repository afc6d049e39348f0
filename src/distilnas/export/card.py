"""A student's page for a model hub: what it is, what it was measured at, how to run it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from distilnas.files import write_text
from distilnas.networks.files import CONFIG, read_config

CARD = "README.md"

_USE = """```python
import json, numpy, onnxruntime
from PIL import Image, ImageOps

config = json.load(open("student.json"))
wants = config["preprocessing"]
side, scaled = wants["resolution"], int(wants["resolution"] / wants["crop_pct"])
image = ImageOps.fit(Image.open("photo.jpg").convert("RGB"), (scaled, scaled))
edge = (scaled - side) // 2
pixels = numpy.asarray(image.crop((edge, edge, edge + side, edge + side))) / 255
pixels = ((pixels - wants["mean"]) / wants["std"]).transpose(2, 0, 1)
session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(None, {"images": pixels[None].astype("float32")})
print(config["classes"][logits[0].argmax()])
```"""


def card_paths(run: Path, summary: Mapping[str, Any]) -> list[str]:
    """Where the pages of the exported students of the ``summary`` of ``run`` are or belong, relative to the run."""
    return [(folder / CARD).relative_to(run).as_posix() for folder, _ in _exported(run, summary)]


def write_cards(run: Path, summary: Mapping[str, Any]) -> None:
    """A page beside each exported student of the ``summary`` of ``run`` that has none: one that is there may have been
    edited, and goes with its folder when the student is made anew."""
    teacher, agreement = summary.get("teacher") or {}, summary.get("labels") == "teacher"
    for folder, student in _exported(run, summary):
        if not (folder / CARD).exists():
            name = f"{teacher.get('name') or summary['run']}, {student['macs'] / 1e6:.3g} M multiply-adds"
            config = read_config(folder / CONFIG)
            write_text(folder / CARD, model_card(name, config, teacher, student, agreement=agreement))


def _exported(run: Path, summary: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The folder of each exported student, and what the summary says of it."""
    for student in summary.get("students") or [{**summary, **summary.get("student", {})}]:
        weights = student.get("artefacts", {}).get("weights")
        folder = (run / weights).parent if weights else run
        if (folder / CONFIG).is_file():
            yield folder, student


def model_card(
    name: str,
    config: Mapping[str, Any],
    teacher: Mapping[str, Any],
    student: Mapping[str, Any],
    *,
    agreement: bool = False,
) -> str:
    """Markdown with the hub's header. ``config``: ``student.json``; ``teacher``, ``student``: what was measured of
    them, empty where it is not known; ``agreement``: with the teacher, in place of accuracy."""
    parent = (config.get("parent") or {}).get("model") or teacher.get("name")
    tags = ["image-classification", "distilnas", "onnx"]
    head = {"library_name": "distilnas", "pipeline_tag": "image-classification", "tags": tags}
    wants = config["preprocessing"]
    prepared = wants.get("own") or f"mean {wants.get('mean')}, std {wants.get('std')}"
    lines = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {name}",
        f"A student of distilnas{', made of its parent with its weights' if 'parent' in config else ''}.",
        "## What it is",
        f"- parent: {parent or 'a network of its own'}; the parent's licence holds for this student too",
        f"- images: {wants['resolution']} pixels, {prepared}",
        f"- classes: {', '.join(map(str, config.get('classes') or [])) or config['num_classes']}",
        *([_measured(teacher, student, agreement=agreement)] if student else []),
        "## Use\nNeeds numpy, Pillow and onnxruntime only.\n\n" + _USE,
        'As a torch module that can be trained further: `torch.export.load("model.pt2").module()`, or with distilnas '
        "`from distilnas.networks import load_student; model = load_student(folder)`.",
        "## Limits\nMeasured on one set of test images and one seed. Other cameras, places and classes are not known "
        "to work: check on your own images before use.",
    ]
    return "\n\n".join(lines) + "\n"


def _measured(teacher: Mapping[str, Any], student: Mapping[str, Any], *, agreement: bool) -> str:
    """A table of parent and student."""
    rows = {"parent": teacher, "student": student}
    accuracy = "agreement with the parent" if agreement else "test top-1"
    head = f"## Measured\n\n| | {accuracy} | MACs | parameters | bytes |\n|---|---|---|---|---|"
    return "\n".join([head, *(_row(name, row) for name, row in rows.items() if row)])


def _row(name: str, row: Mapping[str, Any]) -> str:
    top1 = "" if row.get("top1") is None else f"{row['top1']:.2f} %"
    costs = ["" if row.get(cost) is None else f"{row[cost]:,}" for cost in ("macs", "params", "bytes")]
    return f"| {name} | {' | '.join([top1, *costs])} |"
