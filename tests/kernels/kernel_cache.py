"""Kernels built in a folder of the test's own, or a reason to skip."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from distilnas.kernels.build import library

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no g++ or clang++ to compile the kernels with"
)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of compiled kernels, empty, as a process sees it that has loaded none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.cache_clear()
    yield tmp_path / "distilnas" / "kernels"
    library.cache_clear()
