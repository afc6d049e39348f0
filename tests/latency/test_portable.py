"""A library measured as on another device: by the exported file alone, in a process that has nothing else."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

from distilnas.errors import UsageError
from distilnas.files import write_json
from distilnas.latency import LatencySettings
from distilnas.latency.design import design_key, design_of
from distilnas.latency.portable import read_folder, write_folder
from distilnas.latency.table import read_table
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import chain_of, ends_of
from distilnas.surgery.library import Library
from distilnas.teachers.units import propose_units


@pytest.fixture(scope="module")
def library() -> Library:
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=3, channels=[16, 16, 32, 32]).eval()
    units = chain_of(model, ends_of(propose_units(model, 32)), (3, 32, 32))
    return build_library(units, [torch.randn(8, 3, 32, 32)], [torch.randn(2, 3, 32, 32)] * 2, ratios=(1.0, 0.5))


@pytest.fixture(scope="module")
def exported(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "folder"
    write_folder(folder, library, LatencySettings())
    asked = json.loads((folder / "list.json").read_text())
    write_json(folder / "list.json", asked | {"seconds": 0.05})
    return folder


def test_there_and_back(library: Library, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no times yet"):
        read_folder(exported)
    for _ in range(2):  # -I: nothing of this environment but site packages
        subprocess.run([sys.executable, "-I", "stopwatch.py", "."], cwd=exported, check=True)
    assert [path.name for path in sorted(exported.glob("times-*"))] == ["times-1.json", "times-2.json"]
    table = read_folder(exported)
    assert table.elsewhere
    write_json(tmp_path / "table.json", table.to_dict())
    assert read_table(tmp_path / "table.json", design_key(library, design_of(library))) == table
    guess, whole = table.guess(library.whole()), library.whole()
    assert guess.low <= table.estimate(whole) / table.teacher.median <= guess.high


def test_what_does_not_belong_together(library: Library, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="new or empty"):
        write_folder(exported, library, LatencySettings())
    other = tmp_path / "other"
    shutil.copytree(exported, other)
    times = {"key": "another", "rows": [], "version": "1", "processor": "p"}
    write_json(other / "times-9.json", times)
    with pytest.raises(UsageError, match="another export"):
        read_folder(other)
