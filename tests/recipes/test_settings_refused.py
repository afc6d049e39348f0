"""Settings that would fail hours later, take all memory or fork without end are refused when they are read."""

import os
from pathlib import Path

import pytest
from tiny_run import tiny_settings

from distilnas.errors import UsageError
from distilnas.training.optim import OptimSettings


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("runtime.workers=100000", "runtime.workers must lie between 0 and"),
        ("recipe=[]", "unknown recipe"),
        ("runtime.workers=-1", "runtime.workers must lie"),
        ("runtime.threads=1000000", "runtime.threads must lie between 1 and"),
        ("runtime.threads=0", "runtime.threads must lie"),
        ("runtime.checkpoint_seconds=-1", "must not be negative"),
        ("runtime.checkpoint_seconds=nan", "a finite number"),
        ("retrain.optim.lr=nan", "setting retrain.optim.lr: a finite number is needed, got nan"),
        ("retrain.optim.lr=inf", "a finite number"),
        ("retrain.optim.weight_decay=-1", "weight_decay must not"),
        ("retrain.optim.eps=-1", "refuses its settings"),
        ("retrain.optim.min_lr_ratio=-1", "min_lr_ratio"),
        ("retrain.optim.decay=0", "decay"),
        ("retrain.epochs=1000000000", "setting retrain.epochs: at most 100,000"),
        ("teacher.fit.epochs=1000000", "setting teacher.fit.epochs: at most"),
        ("distill.batch_size=100000000", "setting distill.batch_size: at most"),
        ("data.resolution=100000", "setting data.resolution: at most 4,096"),
        ("data.cache_mb=nan", "a finite number"),
        ("data.max_bad_share=nan", "a finite number"),
        ("distill.lr_per_block=[0.1, nan]", "a finite number"),
        ("solve.max_macs=40MB", "not an amount: '40MB'"),
        ("solve.min_params=lots", "not an amount"),
        ("solve.alternatives=1000000", "setting solve.alternatives: at most"),
        ("random.number=1000000", "setting random.number|random.number must lie"),
        ("random.min_share=2", "random.min_share"),
        ("space.fitted.depths=[100000]", "setting space.fitted.depths: at most"),
        ("teacher.model_kwargs.x=nan", "a finite number"),
    ],
)
def test_refused_when_read(tmp_path: Path, override: str, message: str):
    with pytest.raises(UsageError, match=message):
        tiny_settings(tmp_path, tmp_path, override)


@pytest.mark.parametrize(
    "override", ["runtime.workers=8", "runtime.threads=64", "solve.max_macs=45%", "retrain.epochs=1000"]
)
def test_sensible_ones_are_not(tmp_path: Path, override: str):
    tiny_settings(tmp_path, tmp_path, override)


def test_a_large_machine_may_use_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 256)
    assert tiny_settings(tmp_path, tmp_path, "runtime.threads=512").runtime.threads == 512


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop", "lamb", "adamp", "lion", "adafactor"])
def test_usual_optimizers_pass_the_trial(optimizer: str):
    OptimSettings(optimizer=optimizer)
