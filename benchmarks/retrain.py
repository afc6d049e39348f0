"""A training step of NAS-Bench-Macro's largest network on the CPU: PyTorch's kernels against ours.

PyTorch twice: as it comes (tensors in its default memory order) and channels last. Set OMP_WAIT_POLICY=PASSIVE, as the
command line does.
"""

import copy
import os
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.timing import interleave, keep
from distilnas.kernels import use_fast_kernels
from distilnas.networks import StudentNet
from distilnas.ranking import NetworkNames
from distilnas.runtime.device import PRECISIONS, Device, keep_freed_memory
from distilnas.space import preset

NETWORK = "22222222"
BATCH, SIZE, THREADS = 125, 32, 2


def main() -> None:
    """Time whole steps (forward, backward, SGD) of all in turns; compare gradients with double precision."""
    keep_freed_memory()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    space = preset("nas-bench-macro")
    model = StudentNet(space.architecture(NetworkNames(space).choice(NETWORK)), num_classes=10).train()
    images, labels = torch.randn(BATCH, 3, SIZE, SIZE), torch.randint(10, (BATCH,))
    kinds = {
        "default order": (copy.deepcopy(model), images),
        "channels last": (_channels_last(copy.deepcopy(model)), _channels_last(images)),
        "ours": (_channels_last(copy.deepcopy(model)), _channels_last(images)),
    }
    if not use_fast_kernels(kinds["ours"][0]):
        raise SystemExit("no fast kernels here: a compiler is needed, and DISTILNAS_KERNELS must not be off")
    exact = _gradients(copy.deepcopy(model).double(), images.double(), labels)
    gradients = {name: _gradients(copy.deepcopy(network), batch, labels) for name, (network, batch) in kinds.items()}
    steps = {
        f"{name}, {precision}": _step(copy.deepcopy(network), batch, labels, Device("cpu", precision))
        for name, (network, batch) in kinds.items()
        for precision in PRECISIONS
    }
    load = os.getloadavg()[0]
    seconds = interleave(steps, repeats=5)
    fastest = {kind: min(value for key, value in seconds.items() if key.startswith(kind)) for kind in kinds}
    keep(
        "retrain",
        {
            "what": f"a training step of nas-bench-macro's {NETWORK}, batch {BATCH}, {SIZE} px, {THREADS} threads",
            "load_average_before_and_after": [load, os.getloadavg()[0]],
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
            "seconds_median": seconds,
            "images_per_second": {key: BATCH / value for key, value in seconds.items()},
            "ratio_to_the_faster_precision": {kind: value / fastest["ours"] for kind, value in fastest.items()},
            "error_of_float32_gradients": {
                name: float((ours - exact).norm() / exact.norm()) for name, ours in gradients.items()
            },
        },
    )


def _channels_last(of: Tensor | nn.Module) -> Tensor | nn.Module:
    return of.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


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


def _gradients(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """All of them in one vector of double precision."""
    _backward(model, images, labels, Device("cpu"))
    return torch.cat([parameter.grad.double().flatten() for parameter in model.parameters()])


if __name__ == "__main__":
    main()
