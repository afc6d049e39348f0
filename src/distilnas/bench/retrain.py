"""``bench retrain``: images per second of a training step of NAS-Bench-Macro's largest network.

The baseline is the plain step as one writes it with timm and PyTorch: tensors in their default memory order, in the
faster precision. Channels-last memory alone is timed beside it.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from distilnas.bench.floors import ceilings, macs_per_second
from distilnas.bench.report import Report
from distilnas.bench.settings import BenchSettings
from distilnas.bench.timing import interleave, medians
from distilnas.costing.counters import count
from distilnas.networks import StudentNet
from distilnas.ranking import NetworkNames
from distilnas.runtime.device import PRECISIONS, Device
from distilnas.runtime.seeds import torch_seed
from distilnas.space import preset

NETWORK, SIZE, CLASSES = "22222222", 32, 10


def run(name: str, settings: BenchSettings) -> Report:
    """Time whole steps (forward, backward, SGD) of all in turns; compare gradients with double precision."""
    images = settings.images(cpu=125, cuda=125, quick=4)
    model, batch, labels = network(), *data(images)
    kinds = {kind: prepare(model, batch, settings.device()) for kind, prepare in KINDS.items()}
    device = settings.device().fabric.device
    steps = {
        f"{kind} {precision}": training_step(copy.deepcopy(net), x, labels.to(device), settings.device(precision))
        for kind, (net, x) in kinds.items()
        for precision in PRECISIONS
    }
    few = slice(min(images, 16))
    exact = gradients(copy.deepcopy(model).double(), batch[few].double(), labels[few])
    errors = {
        kind: float((gradients(copy.deepcopy(net), x[few], labels[few].to(device)) - exact).norm() / exact.norm())
        for kind, (net, x) in kinds.items()
    }
    times = interleave(steps, turns=settings.turns, lead=settings.lead)
    ceiling = ceilings(settings)
    macs = 3 * images * count(model, (3, SIZE, SIZE)).macs
    return Report(
        name=name,
        what=f"a training step of nas-bench-macro's {NETWORK}, batch {images}, {SIZE} px",
        times=times,
        work=(images, "images"),
        ours=_fastest("ours", times),
        baseline=_fastest("plain", times),
        floors={"matrix products at the device's ceiling": macs / macs_per_second(ceiling)},
        equal={f"error_of_float32_gradients, {kind}": error for kind, error in errors.items()},
        facts={"batch": images, "macs": macs, "ceilings": ceiling},
    )


def network() -> nn.Module:
    """The measured network with random weights."""
    space = preset("nas-bench-macro")
    with torch_seed(0):
        return StudentNet(space.architecture(NetworkNames(space).choice(NETWORK)), num_classes=CLASSES).train()


def data(images: int) -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    with torch_seed(1):
        return torch.randn(images, 3, SIZE, SIZE), torch.randint(CLASSES, (images,))


def plain(model: nn.Module, images: Tensor, device: Device) -> tuple[nn.Module, Tensor]:
    """A copy of the network, and the images, as PyTorch makes them."""
    return copy.deepcopy(model).to(device.fabric.device), images.to(device.fabric.device)


def channels_last(model: nn.Module, images: Tensor, device: Device) -> tuple[nn.Module, Tensor]:
    """As ``plain``, in channels-last memory."""
    model, images = plain(model, images, device)
    return model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def ours(model: nn.Module, images: Tensor, device: Device) -> tuple[nn.Module, Tensor]:
    """As every training of the package has them."""
    return device.module(copy.deepcopy(model)), device.images(images)


KINDS = {"plain": plain, "channels last": channels_last, "ours": ours}


def training_step(model: nn.Module, images: Tensor, labels: Tensor, device: Device) -> Callable[[], None]:
    """Forward, backward and an update by SGD."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        _backward(model, images, labels, device)
        optimizer.step()

    return step


def gradients(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """All of them in one vector of double precision, on the CPU."""
    _backward(model, images, labels, Device(images.device.type))
    return torch.cat([parameter.grad.double().flatten().cpu() for parameter in model.parameters()])  # type: ignore[union-attr]


def _backward(model: nn.Module, images: Tensor, labels: Tensor, device: Device) -> None:
    with device.autocast():
        loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()


def _fastest(kind: str, times: dict[str, list[float]]) -> str:
    seconds = medians(times)
    return min((name for name in times if name.startswith(kind)), key=seconds.__getitem__)
