"""What the device can do at best: large matrix products and copies."""

import torch

from distilnas.bench.settings import BenchSettings
from distilnas.bench.timing import interleave

_DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}


def ceilings(settings: BenchSettings) -> dict[str, float]:
    """Multiply-adds per second of matrix products (``macs_per_second 32-true``, ...), bytes per second of copies.

    A copy of n bytes reads and writes n: it counts 2 n. The best turn counts, not the median: it is a ceiling.
    """
    device = settings.device()
    side = 256 if settings.quick else 2048 if settings.on_cpu else 8192
    works = {}
    for precision, dtype in _DTYPES.items():
        a = torch.randn(side, side, device=device.fabric.device).to(dtype)
        works[f"macs_per_second {precision}"] = (lambda a=a: a @ a, side**3)
    source = torch.randn(side, side, 16, device=device.fabric.device)
    target = torch.empty_like(source)
    works["copied_bytes_per_second"] = (lambda: target.copy_(source), 2 * source.numel() * source.element_size())
    times = interleave({name: work for name, (work, _) in works.items()}, turns=max(3, settings.turns))
    return {name: amount / min(times[name]) for name, (_, amount) in works.items()}


def macs_per_second(ceiling: dict[str, float]) -> float:
    """The ceiling of matrix products in the better precision."""
    return max(value for name, value in ceiling.items() if name.startswith("macs_per_second"))
