"""Search by deleting: the supernet is trained, pressed and pruned at once, from dense to sparse, in one run.

Super-network progressive shrinking (SNPS), and with a teacher DNAD (Rao et al., arXiv 2504.20080), after the public
code of the authors. A step takes one batch and one backward pass, moves weights and architecture, deletes the
candidates whose weight has become small, and tells the controller how many (``choices``, ``sparsity``, ``pressure``).
Deleted candidates are not computed again; their parameters and what the optimiser knows of them are freed.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam

from distilnas.methods.dnad.archive import Archive
from distilnas.methods.dnad.choices import Choices
from distilnas.methods.dnad.costs import candidate_macs, point_sides
from distilnas.methods.dnad.imitation import Imitation
from distilnas.methods.dnad.pressure import Pressure
from distilnas.methods.dnad.recorder import Batches, Recorder, Weighted
from distilnas.methods.dnad.settings import ShrinkSettings
from distilnas.methods.dnad.sparsity import PENALTIES, objective, relative_costs
from distilnas.methods.dnad.supernet import SearchNet
from distilnas.runtime.device import Device
from distilnas.runtime.seeds import derive_seed
from distilnas.teachers import TeacherBlocks
from distilnas.training.loop import Loop, TrainingLog
from distilnas.training.optim import OptimSettings, make_scheduler

_log = logging.getLogger(__name__)

_LOSS_DECAY = 0.99  # of the moving average that snapshots report


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """The snapshots of a search, and its log: per epoch the mean losses, and at its end the state of the search."""

    archive: Archive
    log: TrainingLog


def shrink(
    supernet: SearchNet,
    settings: ShrinkSettings,
    loop: Loop,
    *,
    resolution: int,
    device: Device,
    seed: int,
    teacher: TeacherBlocks | None = None,
    held_out: Batches | None = None,
) -> Shrunk:
    """Train and shrink ``supernet`` in place for at most the epochs of ``loop``, which gives (images, labels).

    ``resolution``: of the images, and of those the derived networks are counted for. ``teacher``: to be imitated; it
    gets the same images. ``held_out()`` gives images and labels, the same every time, on which the supernet's accuracy
    at each snapshot is measured; they only rank snapshots, and the search does not depend on them.

    A search that reaches no Pareto event has periodic snapshots only, and says so in a warning. The loop's checkpoint
    is left for the caller to remove. Raises ``UsageError`` when the teacher does not fit (``Imitation``).
    """
    imitation = None
    if teacher is not None and settings.imitation.kappa:
        sides = point_sides(supernet.space, resolution=resolution)
        grids = [(side, side) for side in sides]
        imitation = Imitation(settings.imitation, teacher, supernet.point_widths, grids, seed=derive_seed(seed, 1))
    recorded = Weighted(supernet, Choices(supernet.space))
    recorder = Recorder(recorded, settings, resolution, held_out, device)
    training = ShrinkTraining(recorder, imitation, settings, loop)

    def batches(epoch: int, start: int) -> Iterable[Any]:
        for batch in () if recorder.ended else loop.batches(epoch, start):
            if recorder.ended:
                return
            yield batch

    log = replace(loop, batches=batches).run(training)
    training.finish()
    archive = recorder.archive
    if not archive.events:
        _log.warning("no Pareto event before the search ended (%s): its snapshots are periodic", archive.ended)
    return Shrunk(archive=archive, log=replace(log, epochs=log.epochs[: training.epoch + 1]))


class ShrinkTraining:
    """The ``Trainable`` of a shrinking search. Once the recorder says ``ended``, it is to get no more batches."""

    loss_names: tuple[str, ...] = ("loss", "cross_entropy", "imitation")

    def __init__(self, recorder: Recorder, imitation: Imitation | None, settings: ShrinkSettings, loop: Loop) -> None:
        self.settings, self.recorder, self.device = settings, recorder, recorder.device
        self.steps_per_epoch, self.num_steps = loop.steps_per_epoch, loop.epochs * loop.steps_per_epoch
        model: Weighted[Choices] = self.device.module(recorder.model).train()  # type: ignore[assignment]
        self.net, self.choices = model.net, model.choices
        self.imitation = imitation and imitation.to_device(self.device)
        self.penalty = PENALTIES[settings.penalty]
        macs = candidate_macs(self.net.space, resolution=recorder.archive.resolution)
        self.costs = self.device.tensor(relative_costs(macs, self.choices.exists.cpu()).float())
        self.pressure = Pressure(settings.pressure)
        self.steps = self.epoch = 0
        self.loss_average: Tensor | None = None
        self._make_optimizers()

    def _make_optimizers(self) -> None:
        """For the parameters that are there now, in the order that the modules give."""
        settings = self.settings
        self.optimizer = Adam(
            [*self.net.parameters(), *self._adapters()],
            lr=settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        rates = OptimSettings(lr=settings.lr, schedule=settings.schedule)
        self.scheduler = make_scheduler(self.optimizer, rates, epochs=1, steps_per_epoch=self.num_steps)
        self.architecture_optimizer = SGD(
            [self.choices.a], lr=settings.architecture_lr, momentum=settings.architecture_momentum
        )

    def _adapters(self) -> list[nn.Parameter]:
        return [] if self.imitation is None else list(self.imitation.parameters())

    def step(self, batch: tuple[Tensor, Tensor], epoch: int, step: int) -> Tensor:
        pressed = epoch >= self.settings.warmup_epochs
        self.scheduler.step_update(epoch * self.steps_per_epoch + step)
        losses = self._learn(self.device.images(batch[0]), self.device.tensor(batch[1]), pressed)
        before = losses[0] if self.loss_average is None else self.loss_average
        self.loss_average = _LOSS_DECAY * before + (1 - _LOSS_DECAY) * losses[0]
        self.steps, self.epoch = self.steps + 1, epoch
        if pressed:
            self._delete(losses[0])
            self.recorder.end_when_due(self.sparsity())
        every = self.settings.snapshot_steps
        if every is not None and self.steps % every == 0:
            self._take("periodic")
        return losses

    def _learn(self, images: Tensor, labels: Tensor, pressed: bool) -> Tensor:
        """One backward pass of the objective and one step of both optimisers; the losses L, CE and KD, detached."""
        self.optimizer.zero_grad(set_to_none=True)
        self.architecture_optimizer.zero_grad(set_to_none=True)
        losses = self.losses(images, labels)
        sparsity = self.penalty.measure(self.choices, self.costs)
        sparsity = sparsity.detach() if self.penalty.proximal else sparsity
        goal = objective(losses[0], sparsity, self.pressure.gamma, self.pressure.mu) if pressed else losses[0]
        self.device.fabric.backward(goal)
        for parameters in (self.net.parameters(), [self.choices.a], self._adapters()):
            nn.utils.clip_grad_norm_(parameters, self.settings.clip_grad)
        self.optimizer.step()
        self.architecture_optimizer.step()
        return losses.detach()

    def losses(self, images: Tensor, labels: Tensor) -> Tensor:
        """L = CE + kappa KD, CE and KD."""
        imitated = self.imitation is not None
        with self.device.autocast():
            logits, maps = self.net.forward_with_points(images, self.choices.weights(), points=imitated)
            entropy = functional.cross_entropy(logits.float(), labels)
            distance = self.imitation(images, maps, logits) if self.imitation else torch.zeros_like(entropy)
        return torch.stack([entropy + self.settings.imitation.kappa * distance, entropy, distance])

    def _delete(self, loss: Tensor) -> None:
        """Delete what has become small, and let the controller know."""
        if self.penalty.proximal:
            force = self.pressure.gamma * (float(loss) + self.pressure.mu)
            self.choices.soften(self.settings.architecture_lr * force)
        deleted = self.choices.delete()
        if deleted:
            self._forget(self.net.remove(deleted))
            self.recorder.recount()
        if self.pressure.update(len(deleted)):
            self._take("event")
            _log.info("Pareto event at step %d, %d ops left", self.steps, self.recorder.genotype.num_edges)

    def _forget(self, parameters: list[nn.Parameter]) -> None:
        """Free what the optimiser holds of parameters that the network no longer has."""
        gone = set(map(id, parameters))
        for group in self.optimizer.param_groups:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in gone]
        for parameter in parameters:
            self.optimizer.state.pop(parameter, None)

    @torch.no_grad()
    def sparsity(self) -> float:
        """S as it is now."""
        return float(self.penalty.measure(self.choices, self.costs))

    def _take(self, reason: str) -> None:
        assert self.loss_average is not None
        sparsity = self.sparsity()
        self.recorder.take(reason, self.steps, sparsity=sparsity, pressure=self.pressure, loss=self.loss_average)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        recorder = self.recorder
        if self.settings.snapshot_steps is None and not recorder.ended:
            self._take("periodic")
        record = {"gamma": self.pressure.gamma, "mu": self.pressure.mu, "sparsity": self.sparsity()}
        return record | {"ops": recorder.genotype.num_edges, "params": recorder.counts[0], "macs": recorder.counts[1]}

    def finish(self) -> None:
        """A last snapshot, and the reason for the end."""
        self._take("end")
        if not self.recorder.ended:
            self.recorder.end("the last epoch is over")

    def state_dict(self) -> dict[Any, Any]:
        return {
            "choices": self.choices.state_dict(),
            "net": self.net.state_dict(),
            "adapters": {} if self.imitation is None else self.imitation.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "architecture_optimizer": self.architecture_optimizer.state_dict(),
            "pressure": self.pressure.state_dict(),
            "archive": self.recorder.archive.to_dict(),
            "steps": self.steps,
            "epoch": self.epoch,
            "loss_average": self.loss_average,
        }

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        self.choices.load_state_dict(state["choices"])
        self.net.remove(self.choices.deleted())
        self.net.load_state_dict(state["net"])
        if self.imitation is not None:
            self.imitation.load_state_dict(state["adapters"])
        self._make_optimizers()
        self.optimizer.load_state_dict(state["optimizer"])
        self.architecture_optimizer.load_state_dict(state["architecture_optimizer"])
        self.pressure.load_state_dict(state["pressure"])
        self.recorder.load(Archive.from_dict(state["archive"]))
        self.steps, self.epoch = state["steps"], state["epoch"]
        self.loss_average = self.device.tensor(state["loss_average"])
