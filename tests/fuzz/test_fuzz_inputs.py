"""Hostile configurations, run folders, tables, architectures, weights, images and archives, by the thousand."""

import csv
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from calls import LONG, SHORT, call, examples, refused
from hostile import ODD, changed, damaged
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save
from tiny_run import CONFIG, tiny_settings, write_images
from tiny_shrink import CONFIG as SHRINK

from distilnas import checksums
from distilnas.data import read_folder, read_tar
from distilnas.recipes.dna.recipe import run_dna
from distilnas.runtime.checkpoints import load_tree, save_tree
from distilnas.runtime.weights import read_state
from distilnas.space.darts import parse_architecture


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is finished, and a space to put what is damaged."""
    root = tmp_path_factory.mktemp("fuzz")
    settings = tiny_settings(root, write_images(root / "images"), "export.opset=13", "export.program=false")
    run_dna(settings, root / "whole")
    shutil.copytree(root / "whole", root / "run")
    return root


def files(root: Path) -> list[Path]:
    """Files of the run that programs read, below it."""
    found = (p.relative_to(root / "whole") for p in (root / "whole").rglob("*") if p.is_file())
    return sorted(p for p in found if p.suffix not in (".html", ".md") and p.name != ".lock")


def put(root: Path, path: Path, data: bytes) -> None:
    (root / "run" / path).write_bytes(data)


def mend(root: Path) -> None:
    """The run as it was."""
    shutil.rmtree(root / "run")
    shutil.copytree(root / "whole", root / "run")


def believed(root: Path, path: Path) -> None:
    """Sums of what is there now, as one who forges a run would write them."""
    folder, run = (root / "run" / path).parent, root / "run"
    if folder != run and path.name != "step.json":
        record = json.loads((folder / "step.json").read_text())
        (folder / "step.json").write_text(json.dumps(checksums.sealed(record, folder, record["files"])))
    elif path.name == "step.json":
        record = json.loads((run / path).read_text())
        if isinstance(record, dict):
            plain = {key: value for key, value in record.items() if key != "record_sha256"}
            (run / path).write_text(json.dumps(plain | {"record_sha256": checksums._own_sum(plain)}))
    else:
        (run / "files.json").unlink(missing_ok=True)


def damaged_run(root: Path, data: st.DataObject) -> None:
    """A change to a file of a run is told by `check` and stops what reads it."""
    path = data.draw(st.sampled_from(files(root)))
    whole = (root / "whole" / path).read_bytes()
    new = data.draw(damaged(whole))
    put(root, path, new)
    try:
        unsealed = path.name in ("started.json", "files.json", "run.json") and path.parent == Path()
        assert call("check", root / "run", codes=(0, 1, 2)) == 1 or new == whole or unsealed or path.name == "step.json"
        call("report", root / "run")
    finally:
        mend(root)


def forged_run(root: Path, data: st.DataObject) -> None:
    """A file of a run with absurd content but right sums ends in one line."""
    path = data.draw(st.sampled_from([path for path in files(root) if path.suffix == ".json"]))
    put(root, path, json.dumps(data.draw(changed(json.loads((root / "whole" / path).read_text())))).encode())
    verbs = [("report", root / "run"), ("zoo", "ls", "--run", root / "run", "--front")]
    try:
        believed(root, path)
        call("check", root / "run", codes=(0, 1, 2))
        call(*data.draw(st.sampled_from(verbs)))
    finally:
        mend(root)


def configuration(root: Path, data: st.DataObject) -> None:
    base = data.draw(st.sampled_from([CONFIG, SHRINK, yaml.safe_load((root / "whole" / "config.yaml").read_text())]))
    base = {**base, "data": {**base["data"], "path": str(root / "images")}}
    text = yaml.safe_dump(data.draw(changed(base))).encode()
    if data.draw(st.booleans()):
        text = data.draw(damaged(text))
    (root / "odd.yaml").write_bytes(text)
    call("config", data.draw(st.sampled_from(["show", "validate"])), root / "odd.yaml")


def overrides(root: Path, data: st.DataObject) -> None:
    keys = st.sampled_from(
        ["data.path", "space.fitted.depths", "teacher.model", "solve.max_macs", "runtime.threads", "x"]
    )
    odd = st.one_of(st.text(max_size=30), st.sampled_from(ODD).map(str))
    given = [f"{data.draw(keys)}={data.draw(odd)}" for _ in range(data.draw(st.integers(1, 3)))]
    call("config", "validate", root / "tiny.yaml", *given)


def tables(root: Path, data: st.DataObject) -> None:
    """Ratings, truths and spaces of any content."""
    whole = root / "whole"
    truth = {"a": {"accuracy": 1.0}, "b": {"accuracy": 2.0}, "c": {"accuracy": 0.0}}
    (root / "truth.json").write_text(json.dumps(data.draw(changed(truth))))
    text = io.StringIO()
    csv.writer(text).writerows([["architecture", "score"], *((name, str(n)) for n, name in enumerate(truth))])
    (root / "scores.csv").write_bytes(data.draw(damaged(text.getvalue().encode())))
    (root / "ratings.npz").write_bytes(data.draw(damaged((whole / "rate" / "ratings.npz").read_bytes())))
    space = data.draw(changed(json.loads((whole / "space" / "space.json").read_text())))
    (root / "space.json").write_text(json.dumps(space))
    which = data.draw(st.integers(0, 2))
    if which == 0:
        call("rank", "--truth", root / "truth.json", "--scores", root / "scores.csv")
    elif which == 1:
        call("solve", "--ratings", root / "ratings.npz", "--space", whole / "space" / "space.json", "--max-macs", "1M")
    else:
        call("solve", "--ratings", whole / "rate" / "ratings.npz", "--space", root / "space.json", "--max-macs", "1M")


GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1)], normal_concat=[2], "
    "reduce=[('max_pool_3x3', 0), ('none', 1)], reduce_concat=[2])"
)


def architectures(root: Path, data: st.DataObject) -> None:
    """Read alone: one that is right but large may take as long as it likes to build."""
    text = (root / "whole" / "solve" / "architecture.json").read_text()
    kind = data.draw(st.integers(0, 2))
    odd = json.dumps(data.draw(changed(json.loads(text)))) if kind == 0 else text if kind == 1 else GENOTYPE
    if kind:
        odd = data.draw(damaged(odd.encode())).decode(errors="replace")
    refused(lambda: parse_architecture(odd))


def checkpoints(root: Path, data: st.DataObject) -> None:
    save_tree(root / "tree.safetensors", {"a": torch.ones(3), "b": [1, {"c": None}]})
    torch.save({"a.weight": torch.ones(3)}, root / "state.pth")
    kinds: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
        "odd.tree": ((root / "tree.safetensors").read_bytes(), load_tree),
        "odd.pth": ((root / "state.pth").read_bytes(), read_state),
        "odd.safetensors": (save({"a": torch.ones(3)}), read_state),
    }
    name = data.draw(st.sampled_from(sorted(kinds)))
    whole, read = kinds[name]
    (root / name).write_bytes(data.draw(damaged(whole)))
    refused(lambda: read(root / name))


def encoded(mode: str, kind: str) -> bytes:
    out, image = io.BytesIO(), Image.new(mode, (8, 8))
    more = {"save_all": True, "append_images": [image]} if kind == "GIF" else {}
    image.save(out, kind, **more)
    return out.getvalue()


IMAGES = [
    ("RGB", "PNG"),
    ("I;16", "PNG"),
    ("P", "GIF"),
    ("CMYK", "JPEG"),
    ("LA", "PNG"),
    ("RGB", "WEBP"),
    ("1", "TIFF"),
]
NAMES = ["../../x.png", "/etc/x.png", "a/b.png", "a/\x01.png", "a/" + "n" * 90 + ".png", "a/con.png", "a/-rf.png"]


def images(root: Path, data: st.DataObject) -> None:
    folder = root / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    mode, kind = data.draw(st.sampled_from(IMAGES))
    odd = data.draw(damaged(encoded(mode, kind)))
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.png").write_bytes(encoded("RGB", "PNG"))
    (folder / "a" / f"1.{kind.lower()}").write_bytes(odd)
    refused(lambda: [images.pil(i) for images in [read_folder(folder, check="none")] for i in range(len(images))])


def archives(root: Path, data: st.DataObject) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in [*(f"{c}/{i}.png" for c in "ab" for i in range(9)), data.draw(st.sampled_from(NAMES))]:
            entry, content = tarfile.TarInfo(name), encoded("RGB", "PNG")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    whole = out.getvalue()
    (root / "odd.tar").write_bytes(data.draw(damaged(whole)) if data.draw(st.booleans()) else whole)
    refused(lambda: read_tar(root / "odd.tar"))


KINDS = (
    damaged_run, forged_run, configuration, overrides, tables, architectures, checkpoints, images, archives,
)  # fmt: skip


def feed(kind: Callable[[Path, st.DataObject], None], root: Path, number: int) -> None:
    @examples(number)
    @given(data=st.data())
    def fed(data: st.DataObject) -> None:
        kind(root, data)

    fed()


@pytest.mark.parametrize("kind", KINDS)
def test_some_hostile_inputs(kind: Callable[[Path, st.DataObject], None], root: Path):
    feed(kind, root, SHORT)


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_hostile_inputs(kind: Callable[[Path, st.DataObject], None], root: Path):
    feed(kind, root, LONG // len(KINDS))
