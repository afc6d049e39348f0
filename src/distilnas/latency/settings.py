"""What a latency is measured with."""

from dataclasses import dataclass
from typing import Literal, get_args

from distilnas.errors import UsageError

Runtime = Literal["onnxruntime", "torch"]
LatencyDevice = Literal["cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class LatencySettings:
    """``runtime``: what runs the network (torch: as TorchScript); ``threads``: of one operator; ``batch``: images at a
    time. A latency is that of a whole batch. ``table``: the file of ``distilnas latency import``, of another device."""

    runtime: Runtime = "onnxruntime"
    device: LatencyDevice = "cpu"
    threads: int = 1
    batch: int = 1
    table: str | None = None

    def __post_init__(self) -> None:
        for name, value, valid in (("runtime", self.runtime, Runtime), ("device", self.device, LatencyDevice)):
            if value not in get_args(valid):
                raise UsageError(f"latency.{name} is one of {', '.join(get_args(valid))}, got {value!r}.")
        if self.threads < 1 or self.batch < 1:
            raise UsageError(f"latency.threads and latency.batch are from 1, got {self.threads} and {self.batch}.")
