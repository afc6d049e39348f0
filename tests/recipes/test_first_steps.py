"""Every recipe for ImageNet's size takes its first steps at true shapes (224 px, B7 teacher, batch 8) within 8 GB."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("first_steps.py")
LIMIT_MB = 8 * 1024
SLOW = pytest.mark.slow  # minutes each; those of other recipes are as large
B7_WIDTHS = [48, 80, 160, 224, 384, 640]  # of EfficientNet-B7's stages, as in DNA's released code
STRIDES = [4, 2, 2, 1, 2, 1]  # of the paper's blocks, the stem's stride of 2 in the first


def _first_steps(name: str, folder: Path) -> dict[str, Any]:
    command, environment = [sys.executable, str(SCRIPT), name, str(folder)], os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["peak_mb"] < LIMIT_MB
    return found


@pytest.mark.parametrize("name", ["dna-imagenet-search", pytest.param("dna-progressive", marks=SLOW)])
def test_search(tmp_path: Path, name: str) -> None:
    """All six blocks train; the exits emit the teacher's widths; the last block's six candidates are rated."""
    found = _first_steps(name, tmp_path)
    assert found["strides"] == STRIDES
    assert len(found["losses"]) == 6
    assert all(math.isfinite(loss) for loss in found["losses"].values())
    assert found["rated"] == 6 * [[8, found["channels"][-1], 7, 7]]
    if name == "dna-imagenet-search":
        assert found["channels"] == B7_WIDTHS
        assert found["teacher_params"] == 66_347_960 - 990 * 2561  # timm's tf_efficientnet_b7 with 10 classes


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dna-imagenet-retrain", 4_243_318 - 990 * 1281),  # DNA-a with 10 classes in place of 1000
        pytest.param("dna-imagenet-retrain-paper", 4_243_318 - 990 * 1281, marks=SLOW),
        pytest.param("dna-cifar10-transfer", 5_273_896 - 990 * 1281, marks=SLOW),  # DNA-c
        pytest.param("dna-cifar100-transfer", 5_273_896 - 990 * 1281, marks=SLOW),
    ],
)
def test_retraining(tmp_path: Path, name: str, params: int) -> None:
    assert _first_steps(name, tmp_path)["params"] == params


@SLOW
def test_scaled(tmp_path: Path) -> None:
    """As large as DNA-B7, counted with 1000 classes."""
    found = _first_steps("dna-scale", tmp_path)
    head = int(found["architecture"].rsplit("head ", 1)[1].split()[0])
    assert 0.98 * 64_900_000 < found["params"] + 990 * (head + 1) <= 64_900_000
