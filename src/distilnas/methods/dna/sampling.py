"""Which paths of a cell are trained in a step."""

from collections.abc import Callable

import numpy as np

Path = tuple[int, ...]
Sampler = Callable[[tuple[int, ...], np.random.Generator], list[Path]]


def uniform(shape: tuple[int, ...], rng: np.random.Generator) -> list[Path]:
    """One path, every op of every layer equally likely (single-path one-shot; DNA section 3.2)."""
    return [tuple(int(rng.integers(n)) for n in shape)]


def fair(shape: tuple[int, ...], rng: np.random.Generator) -> list[Path]:
    """As many paths as the layer with most ops has: over them every op of such a layer occurs exactly once.

    Strict fairness of FairNAS. A layer with fewer ops repeats shuffled rounds of all its ops, so counts differ by at
    most 1.
    """
    length = max(shape, default=1)
    columns = [np.concatenate([rng.permutation(n) for _ in range(-(-length // n))])[:length] for n in shape]
    return [tuple(int(column[i]) for column in columns) for i in range(length)]


SAMPLERS: dict[str, Sampler] = {"uniform": uniform, "fair": fair}
