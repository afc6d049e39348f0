"""What is written down of a shrinking supernet: its size, its snapshots, and why it has shrunk enough."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Generic, TypeVar

from torch import Tensor, nn

from distilnas.methods.dnad.alphas import Alphas
from distilnas.methods.dnad.archive import Archive, Snapshot
from distilnas.methods.dnad.choices import Choices
from distilnas.methods.dnad.costs import derived_counts
from distilnas.methods.dnad.pressure import Pressure
from distilnas.methods.dnad.settings import ShrinkSettings
from distilnas.methods.dnad.supernet import SearchNet
from distilnas.runtime.device import Device
from distilnas.training.evaluate import accuracy

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]


_W = TypeVar("_W", Choices, Alphas)


class Weighted(nn.Module, Generic[_W]):
    """The supernet with its present weights, as a classifier."""

    def __init__(self, net: SearchNet, choices: _W) -> None:
        super().__init__()
        self.net, self.choices = net, choices

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images, self.choices.weights())


class Recorder:
    """Keeps the archive of ``model``. ``counts``: (params, macs) of the derived network as ``recount`` last saw it."""

    def __init__(
        self,
        model: Weighted[Choices],
        settings: ShrinkSettings,
        resolution: int,
        held_out: Batches | None,
        device: Device,
    ) -> None:
        self.model, self.settings, self.held_out, self.device = model, settings, held_out, device
        self.archive = Archive(
            space=model.net.space,
            width=settings.evaluation_width,
            resolution=resolution,
            num_classes=model.net.num_classes,
            in_chans=model.net.in_chans,
        )
        self.recount()

    @property
    def ended(self) -> bool:
        """Whether the search is over before its last epoch."""
        return bool(self.archive.ended)

    def recount(self) -> None:
        """Look at the candidates that are alive now."""
        archive = self.archive
        self.genotype = archive.space.genotype(self.model.choices.alive.tolist())
        self.counts = derived_counts(
            archive.space.architecture(self.genotype, width=archive.width),
            resolution=archive.resolution,
            num_classes=archive.num_classes,
            in_chans=archive.in_chans,
        )

    def take(self, reason: str, step: int, *, sparsity: float, pressure: Pressure, loss: Tensor) -> None:
        """Add a snapshot, unless there is one of this very step."""
        if self.archive.snapshots and self.archive.snapshots[-1].step == step:
            return
        snapshot = Snapshot(
            reason=reason,
            step=step,
            genotype=self.genotype,
            sparsity=sparsity,
            gamma=pressure.gamma,
            mu=pressure.mu,
            ops=self.genotype.num_edges,
            params=self.counts[0],
            macs=self.counts[1],
            loss=float(loss),
            accuracy=None if self.held_out is None else accuracy(self.model, self.held_out(), self.device),
        )
        self.archive = replace(self.archive, snapshots=(*self.archive.snapshots, snapshot))

    def end_when_due(self, sparsity: float) -> None:
        """End the search when it has reached one of its goals."""
        least, most = self.settings.min_sparsity, self.settings.max_macs
        if least is not None and sparsity < least:
            self.end(f"S is below {least:g}")
        elif most is not None and self.counts[1] <= most:
            self.end(f"the derived network has at most {most:,} MACs")
        elif self.model.choices.exhausted:
            self.end("every node has one candidate left")

    def end(self, why: str) -> None:
        """The search is over."""
        self.archive = replace(self.archive, ended=why)

    def load(self, archive: Archive) -> None:
        """Go on with an archive, the candidates being as they were then."""
        self.archive = archive
        self.recount()
