"""Compiling at first use: once, whole or not at all, and never a reason to fail."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kernel_samples import empty_cache, needs_compiler
from torch import nn

from distilnas.kernels import DepthwiseConv2d, build, use_fast_kernels

__all__ = ["empty_cache"]
DEPTHWISE = {"kernel_size": 3, "groups": 4, "bias": False}


def compiler(folder: Path, script: str) -> None:
    """A program that passes for g++."""
    program = folder / "g++"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.slow
@needs_compiler
def test_processes_that_race_find_whole_files(empty_cache):
    """Threads share nothing here but the folder, as processes do."""
    with ThreadPoolExecutor(3) as pool:
        targets = list(pool.map(lambda _: build._built(), range(3)))
    assert len(set(targets)) == 1
    assert os.listdir(empty_cache) == [targets[0].name]
    assert build.library() is not None


@needs_compiler
def test_what_is_compiled_needs_no_compiler_any_more(empty_cache, monkeypatch):
    built = build._built()
    written = built.stat().st_mtime_ns
    monkeypatch.setenv("PATH", "")
    assert build.library() is not None
    assert built.stat().st_mtime_ns == written


def test_without_a_compiler_pytorch_computes(empty_cache, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "")
    convolution = nn.Conv2d(4, 4, **DEPTHWISE)
    with caplog.at_level(logging.INFO, "distilnas.kernels.build"):
        assert [use_fast_kernels(convolution) for _ in range(3)] == [0, 0, 0]
    assert type(convolution) is nn.Conv2d
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    assert "no compiler (g++ or clang++) on the PATH" in caplog.text


@pytest.mark.parametrize(
    "script", ["echo broken >&2; exit 1", 'for last; do :; done; echo half > "$last"; exit 1', "exit 0"]
)
def test_a_compiler_that_fails_leaves_nothing(empty_cache, monkeypatch, tmp_path, script):
    compiler(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.library() is None
    assert os.listdir(empty_cache) == []


def test_a_file_that_is_no_library_is_not_used(empty_cache, monkeypatch, tmp_path):
    compiler(tmp_path, 'for last; do :; done; echo text > "$last"')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.library() is None


def test_a_folder_that_cannot_be_made_is_no_error(monkeypatch, empty_cache, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert build.library() is None


def test_the_switch_turns_them_off(empty_cache, monkeypatch):
    monkeypatch.setenv("DISTILNAS_KERNELS", "off")
    convolution = nn.Conv2d(4, 4, **DEPTHWISE)
    assert use_fast_kernels(convolution) == 0
    assert not isinstance(convolution, DepthwiseConv2d)
    assert not empty_cache.exists()
