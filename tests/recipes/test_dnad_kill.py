"""A search that dies in the middle and is started again ends with the bits of one that was never interrupted."""

from pathlib import Path

import pytest
from tiny_dnad_run import dnad_settings

from distilnas.methods.dnad.bilevel import BilevelTraining
from distilnas.methods.dnad.shrink import ShrinkTraining
from distilnas.recipes.dnad.recipe import DNAD


class Killed(BaseException):
    """As a signal would end the process."""


@pytest.mark.parametrize(("method", "training"), [("shrink", ShrinkTraining), ("bilevel", BilevelTraining)])
def test_a_killed_search_ends_with_the_same_networks(tmp_path: Path, monkeypatch, method: str, training: type):
    settings = dnad_settings(tmp_path, f"search.method={method}", "runtime.checkpoint_seconds=0")
    step, done = training.step, 0

    def dying(self, *args):
        nonlocal done
        done += 1
        if done == 3:
            raise Killed
        return step(self, *args)

    monkeypatch.setattr(training, "step", dying)
    with pytest.raises(Killed):
        DNAD.run(settings, tmp_path / "killed", until="search")
    assert (tmp_path / "killed" / "search" / "checkpoint.safetensors").exists()
    for run in ("killed", "whole"):
        DNAD.run(settings, tmp_path / run, until="search")
    for name in ("networks.json", "archive.json" if method == "shrink" else "alphas.json"):
        killed, whole = ((tmp_path / run / "search" / name).read_text() for run in ("killed", "whole"))
        assert killed == whole, name
