"""Randomness as a pure function of named numbers, so that a resumed run draws what the uninterrupted one drew."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(seed: int, *keys: int) -> int:
    """A 63-bit seed for the use that ``keys`` name (epoch, step, block, ...); equal arguments give equal seeds.

    Different keys of one length give different seeds; trailing zeros do not count (NumPy pads short sequences so).
    """
    return int(np.random.SeedSequence([seed, *keys]).generate_state(1, np.uint64)[0] >> 1)


def derive_rng(seed: int, *keys: int) -> np.random.Generator:
    """A NumPy generator for the use that ``keys`` name."""
    return np.random.default_rng([seed, *keys])


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Torch's and NumPy's global generators start from ``seed`` inside and are as before afterwards."""
    state = np.random.get_state()  # noqa: NPY002 - timm's mixup draws from the global generator
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
