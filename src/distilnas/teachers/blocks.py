"""The frozen teacher as a source of features: Y_0 = images, Y_i = output of block i (section 3.2 of the paper)."""

import copy
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from distilnas.errors import UsageError, nearest
from distilnas.networks.cut import as_module, between, trace
from distilnas.teachers.hooks import capture, resume
from distilnas.teachers.partition import Partition

_log = logging.getLogger(__name__)

_SAME = 1e-3  # relative difference of two runs of the same arithmetic, in any precision

CountMacs = Callable[[nn.Module, tuple[int, int, int]], int]
"""Multiply-adds of a network for one image of a (C, H, W) shape."""


class TeacherBlocks(nn.Module):
    """A teacher cut into blocks and frozen: no gradients, and in eval mode whatever ``train()`` is called around it.

    Takes ``model`` over: it is set to eval mode and its parameters stop requiring gradients; weights and buffers never
    change. Images come as the model wants them (normalised). Raises ``UsageError`` when the partition is another
    network's.
    """

    def __init__(self, model: nn.Module, partition: Partition) -> None:
        super().__init__()
        names = {name for name, _ in model.named_modules()}
        for tap in partition.taps:
            if tap.path not in names:
                raise UsageError(
                    f"the partition must be this teacher's, but tap {tap.path!r} is no module of "
                    f"{type(model).__name__}: {nearest(tap.path, names)}"
                )
        self.model = model.eval().requires_grad_(False)
        self.partition = partition
        self._paths = [tap.path for tap in partition.taps]
        self._parts = tuple(model.modules())
        self._rests: dict[int, fx.Graph | None] = {}
        self._prefixes: dict[int, _Prefix] = {}
        self._traced: fx.Graph | None = None
        super().train(False)

    @property
    def num_blocks(self) -> int:
        return len(self._paths)

    def train(self, mode: bool = True) -> "TeacherBlocks":
        """Stays in eval mode: its batch norms and dropouts belong to the targets."""
        return super().train(False)

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """[Y_0, Y_1, ..., Y_N] for ``images`` (B, C, H, W): the images, then each block's output; the head is not run.

        Maps (B, C_i, H_i, W_i) whatever the teacher's own layout; prefix tokens are left out. Ordinary tensors without
        gradient that may be fed to trainable modules.
        """
        self._stay_frozen()
        outputs = capture(self.model, self._paths, images)
        taps = self.partition.taps
        return [images, *(tap.layout.to_map(output, tap.grid) for tap, output in zip(taps, outputs, strict=True))]

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Output of the whole teacher for ``images`` (B, C, H, W)."""
        self._stay_frozen()
        return self.model(images)

    @torch.no_grad()
    def forward_from(self, i: int, feature: Tensor, like_images: Tensor) -> Tensor:
        """``rest`` without gradient."""
        return self.rest(i, feature, like_images)

    def rest(self, i: int, feature: Tensor, like_images: Tensor) -> Tensor:
        """Output of the teacher when ``feature`` (B, C_i, H_i, W_i) stands in for Y_i; i = 0 is the whole teacher.

        Only the rest is computed where the network can be traced and the first call for ``i``, which runs the whole
        teacher, confirms it; otherwise the whole teacher runs on ``like_images`` (B, C, H, W). Of these only the shape
        matters, except for a tap with prefix tokens: they are taken from the teacher at this tap on ``like_images``
        (kept until other images come), and only the tokens of the grid are replaced. ``feature`` may hold k B maps for
        B images: k groups, each in the images' order. ``feature`` is not changed; gradients flow to it, but
        to no weight of the teacher.

        Raises ``UsageError`` at a tap whose map the classifier does not read, but prefix tokens alone.
        """
        if not 0 <= i <= self.num_blocks:
            raise IndexError(f"tap {i} of a teacher with {self.num_blocks} blocks: 0 (the images) to {self.num_blocks}")
        if i == 0:
            return self.logits(feature)
        self._stay_frozen()
        if i not in self._rests:
            rest, output = self._try_rest(i, feature, like_images)
            self._check_read(i, feature, like_images, output)
            self._rests[i] = rest
            return output
        rest = self._rests[i]
        if rest is None:
            return self._run_whole(i, feature, like_images)
        return self._run_rest(rest, i, feature, like_images)

    def block(self, i: int, *, share: bool = False) -> fx.GraphModule:
        """Block i (1 to N) cut out of the teacher: a module from the output of tap i - 1 (block 1: images) to tap i's.

        It takes and gives what the modules at the taps do: the teacher's raw layout, prefix tokens included. Its
        modules are called as in the teacher. ``share``: they are the teacher's own, frozen; otherwise copies, free to
        be trained. In eval mode, like the teacher. Raises ``UsageError`` where the block needs more than the output of
        the tap before, or the network cannot be traced.
        """
        if not 1 <= i <= self.num_blocks:
            raise IndexError(f"block {i} of a teacher with {self.num_blocks} blocks: 1 to {self.num_blocks}")
        return self._cut(self._paths[i - 2] if i > 1 else None, self._paths[i - 1], share)

    def head(self, *, share: bool = False) -> fx.GraphModule:
        """What follows the last tap, from its output to the logits, cut out as ``block`` does."""
        return self._cut(self._paths[-1], None, share)

    def describe(self, count_macs: CountMacs | None = None) -> list[dict[str, Any]]:
        """One row a block: block (from 1), path, channels, height, width, reduction, stride.

        With ``count_macs`` also macs and macs_share, the block's part of the whole teacher's (head included) in [0, 1].
        """
        rows: list[dict[str, Any]] = [
            {
                "block": i,
                "path": tap.path,
                "channels": tap.channels,
                "height": tap.height,
                "width": tap.width,
                "reduction": tap.reduction,
                "stride": stride,
            }
            for i, (tap, stride) in enumerate(zip(self.partition.taps, self.partition.strides, strict=True), start=1)
        ]
        if count_macs is not None:
            shape = self.partition.image_shape
            total, before = count_macs(self.model, shape), 0
            for row in rows:
                upto = count_macs(_Trunk(self.model, row["path"]), shape)
                row |= {"macs": upto - before, "macs_share": (upto - before) / total}
                before = upto
        return rows

    def _cut(self, start: str | None, end: str | None, share: bool) -> fx.GraphModule:
        self._stay_frozen()
        module = as_module(self.model, between(self._graph(), start, end)).eval()
        return module if share else copy.deepcopy(module).requires_grad_(True)

    def _graph(self) -> fx.Graph:
        if self._traced is None:
            self._traced = trace(self.model, self._paths, self.partition.image_shape)
        return self._traced

    def _stay_frozen(self) -> None:
        if any(part.training for part in self._parts):
            self.model.eval()

    def _try_rest(self, i: int, feature: Tensor, like_images: Tensor) -> tuple[fx.Graph | None, Tensor]:
        """The graph of what follows tap ``i``, or None where it cannot be had, and the output: here from the whole."""
        output = self._run_whole(i, feature, like_images)
        try:
            rest = between(self._graph(), self._paths[i - 1], None)
            difference = (self._run_rest(rest, i, feature, like_images) - output).norm()
        except Exception as error:  # the part may run otherwise than the whole: anything may be raised
            _log.info(
                "what follows %s runs with the whole teacher: %s", self._paths[i - 1], str(error).partition("\n")[0]
            )
            return None, output
        return (rest if difference <= _SAME * output.norm() else None), output

    def _check_read(self, i: int, feature: Tensor, like_images: Tensor, output: Tensor) -> None:
        tap = self.partition.taps[i - 1]
        other = feature + torch.linspace(-1, 1, tap.channels, device=feature.device)[:, None, None]
        if tap.layout.prefix and torch.equal(self._run_whole(i, other, like_images), output):
            raise UsageError(
                "a feature can stand in for the teacher's only if it reaches the output, but nothing after tap "
                f"{tap.path!r} reads it (the classifier reads prefix tokens alone, or has no weights yet): end the "
                "last block one unit earlier (teacher.partition), or compare features (a rating that is not stitched, "
                "no label loss)."
            )

    def _run_whole(self, i: int, feature: Tensor, like_images: Tensor) -> Tensor:
        layout = self.partition.taps[i - 1].layout
        images = _repeated(like_images, len(feature))
        return resume(
            self.model,
            self._paths[i - 1],
            lambda output: layout.from_map(feature, output[:, : layout.prefix]),
            images,
        )

    def _run_rest(self, rest: fx.Graph, i: int, feature: Tensor, like_images: Tensor) -> Tensor:
        layout = self.partition.taps[i - 1].layout
        prefix = _repeated(self._prefix(i, like_images), len(feature)) if layout.prefix else None
        return fx.Interpreter(self.model, graph=rest).run(layout.from_map(feature, prefix))

    @torch.no_grad()
    def _prefix(self, i: int, images: Tensor) -> Tensor:
        """Prefix tokens (B, P, C) of the teacher at tap ``i``; those of the last images are kept."""
        kept = self._prefixes.get(i)
        if kept is None or kept.images is not images or kept.version != images._version:
            (output,) = capture(self.model, [self._paths[i - 1]], images)
            tokens = output[:, : self.partition.taps[i - 1].layout.prefix].clone()
            kept = self._prefixes[i] = _Prefix(images=images, version=images._version, tokens=tokens)
        return kept.tokens


class _Prefix(NamedTuple):
    """Prefix ``tokens`` of ``images`` as they were at ``version`` (torch counts changes in place)."""

    images: Tensor
    version: int
    tokens: Tensor


def _repeated(tensor: Tensor, batch: int) -> Tensor:
    """``tensor`` as often in a row along the batch as makes ``batch``."""
    if batch % len(tensor):
        raise ValueError(f"{batch} features do not belong to {len(tensor)} images: give as many, or k times as many")
    return tensor if len(tensor) == batch else tensor.repeat(batch // len(tensor), *(1,) * (tensor.ndim - 1))


class _Trunk(nn.Module):
    """The teacher up to a tap, as a network of its own."""

    def __init__(self, model: nn.Module, path: str) -> None:
        super().__init__()
        self.model = model
        self._path = path

    def forward(self, images: Tensor) -> Tensor:
        return capture(self.model, [self._path], images)[0]
