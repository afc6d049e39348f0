"""A training step of NAS-Bench-Macro's largest network on the CPU: PyTorch's depthwise convolutions against ours."""

import copy
import os
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.timing import interleave, keep
from distilnas.kernels import DepthwiseConv2d, use_fast_depthwise
from distilnas.networks import StudentNet
from distilnas.ranking import NetworkNames
from distilnas.runtime.device import PRECISIONS, Device, keep_freed_memory
from distilnas.space import preset

NETWORK = "22222222"
BATCH, SIZE, THREADS = 125, 32, 2


def main() -> None:
    """Time whole steps (forward, backward, SGD) of all four in turns; check that the gradients agree."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    space = preset("nas-bench-macro")
    stock = StudentNet(space.architecture(NetworkNames(space).choice(NETWORK)), num_classes=10).train()
    stock = stock.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ours = copy.deepcopy(stock)
    if not use_fast_depthwise(ours):
        raise SystemExit("no fast kernels here: a compiler is needed, and DISTILNAS_KERNELS must not be off")
    images = torch.randn(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,))
    steps = {
        f"{name} {precision}": _step(copy.deepcopy(model), images, labels, Device("cpu", precision))
        for name, model in (("stock", stock), ("ours", ours))
        for precision in PRECISIONS
    }
    load = os.getloadavg()[0]
    seconds = interleave(steps, repeats=5)
    fastest = {name: min(value for key, value in seconds.items() if key.startswith(name)) for name in ("stock", "ours")}
    keep(
        "retrain",
        {
            "what": f"a training step of nas-bench-macro's {NETWORK}, batch {BATCH}, {SIZE} px, {THREADS} threads",
            "load_average_before_and_after": [load, os.getloadavg()[0]],
            "seconds_median": seconds,
            "images_per_second": {key: BATCH / value for key, value in seconds.items()},
            "ratio_of_the_fastest": fastest["stock"] / fastest["ours"],
            "largest_relative_difference_of_gradients": _difference(stock, ours, images, labels),
        },
    )


def _step(model: nn.Module, images: Tensor, labels: Tensor, device: Device) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        _backward(model, images, labels, device)
        optimizer.step()

    return step


def _backward(model: nn.Module, images: Tensor, labels: Tensor, device: Device) -> None:
    with device.autocast():
        loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()


def _difference(stock: nn.Module, ours: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Of the depthwise weights' gradients in float32: largest distance over length."""
    for model in (stock, ours):
        _backward(model, images, labels, Device("cpu"))
    pairs = zip(stock.modules(), ours.modules(), strict=True)
    grads = [(one.weight.grad, other.weight.grad) for one, other in pairs if isinstance(other, DepthwiseConv2d)]
    return max(float((one - other).norm() / one.norm()) for one, other in grads)


if __name__ == "__main__":
    main()
