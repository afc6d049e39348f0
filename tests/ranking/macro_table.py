"""The published NAS-Bench-Macro table (Su et al., CVPR 2021), where it lies beside the checkout."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PATH = Path(__file__).parents[2].parent / "shared" / "data" / "nas-bench-macro_cifar10.json"


def need_table() -> None:
    if not PATH.exists():
        pytest.skip(f"the published table is not beside the checkout ({PATH.parent.name}/{PATH.name})")


@functools.cache
def published() -> dict[str, dict[str, Any]]:
    """All 6,561 records by name."""
    need_table()
    return json.loads(PATH.read_text())


def column(field: str) -> np.ndarray:
    return np.array([record[field] for record in published().values()], dtype=np.float64)
