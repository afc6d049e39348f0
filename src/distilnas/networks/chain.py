"""A network of its parent's parts in a row, kept as they are, cut to size, replaced or left out, with timm's methods.

Parameter names: ``blocks.I.`` and ``head.`` before the parent's own names.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.networks.parent import Parent
from distilnas.networks.parts import build_part, part_word, write_part


class ChainNet(nn.Module):
    """Images (B, C, H, W) -> logits (B, num_classes), through ``blocks`` and ``head``.

    One block stands between two borders of ``parent``; it takes and gives the parent's layout, and channels that its
    neighbours agree on. With all of the parent's own parts (``kept``) it is the parent, bit for bit. The modules are
    taken over, not copied.
    """

    def __init__(
        self, parent: Parent, blocks: Sequence[nn.Module], head: nn.Module, num_classes: int | None = None
    ) -> None:
        super().__init__()
        if len(blocks) != len(parent.borders):
            raise ValueError(f"{len(blocks)} blocks for {len(parent.borders)} borders")
        self.parent = parent
        self.student_config: dict[str, Any] = {}  # filled by load_student
        self.pretrained_cfg: dict[str, Any] = {}  # the same
        self.blocks = nn.ModuleList(blocks)
        self.head = head
        self.num_classes = parent.num_classes if num_classes is None else num_classes
        self.in_chans = parent.in_chans
        self._classifiers = _find_classifiers(head, self.num_classes)
        self._num_features = 0  # known where there is a classifier

    @classmethod
    def kept(cls, parent: Parent, model: nn.Module, *, share: bool = False) -> "ChainNet":
        """``model``, which is ``parent``, as a chain; of copies of its modules unless ``share``. In eval mode.

        Raises ``UsageError`` where it can't be cut.
        """
        *blocks, head = parent.cut(model, share=share)
        return cls(parent, blocks, head).eval()

    @property
    def num_features(self) -> int:
        """Channels that the classifier reads."""
        layer = self.get_classifier()
        if isinstance(layer, nn.Linear | nn.Conv2d):
            return layer.weight.shape[1]
        return self._num_features

    @property
    def head_hidden_size(self) -> int:
        """The same, by timm's other name."""
        return self.num_features

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """timm's record of where the resolution changes: the last block before each change."""
        size = self.parent.image_shape[1]
        infos: list[dict[str, Any]] = []
        for i, border in enumerate(self.parent.borders):
            reduction = max(1, round(size / border.height))
            info = {"num_chs": border.channels, "reduction": reduction, "module": f"blocks.{i}"}
            if infos and infos[-1]["reduction"] == reduction:
                infos[-1] = info
            else:
                infos.append(info)
        return infos

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Output of the last block, in the parent's layout."""
        for block in self.blocks:
            x = block(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits, or what the classifier reads."""
        if not pre_logits:
            return self.head(x)
        layers = [self.head.get_submodule(path) for path in self._classifier_paths()]
        handles = [layer.register_forward_hook(lambda _layer, inputs, _output: inputs[0]) for layer in layers]
        try:
            return self.head(x)
        finally:
            for handle in handles:
                handle.remove()

    def features(self, x: Tensor) -> list[Tensor]:
        """The blocks' outputs as maps (B, C_i, H_i, W_i), prefix tokens left out."""
        maps = []
        for block, border in zip(self.blocks, self.parent.borders, strict=True):
            x = block(x)
            maps.append(border.to_map(x))
        return maps

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """As timm's: maps at ``indices`` of ``feature_info`` (or the last so many), and the last block's output."""
        if output_fmt != "NCHW" or norm:
            raise UsageError("features of a student are maps of its blocks: output_fmt must be NCHW, and norm False.")
        ends = [int(info["module"].rpartition(".")[2]) for info in self.feature_info]
        chosen = list(range(len(ends))) if indices is None else indices
        chosen = list(range(len(ends)))[-chosen:] if isinstance(chosen, int) else [range(len(ends))[i] for i in chosen]
        wanted = [ends[i] for i in chosen]
        maps: dict[int, Tensor] = {}
        for i, (block, border) in enumerate(zip(self.blocks, self.parent.borders, strict=True)):
            x = block(x)
            if i in wanted:
                maps[i] = border.to_map(x)
            if stop_early and intermediates_only and i == max(wanted):
                break
        found = [maps[i] for i in wanted]
        return found if intermediates_only else (x, found)

    def get_classifier(self) -> nn.Module:
        """The layer that gives the logits (the first, if several are averaged)."""
        return self.head.get_submodule(self._classifier_paths()[0])

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """New layers of ``num_classes`` outputs, or none for 0; the pooling stays the parent's."""
        if global_pool is not None:
            raise UsageError("a student made of its parent's parts pools as its parent does: leave global_pool out.")
        features = self.num_features
        for path in self._classifier_paths():
            owner, _, name = path.rpartition(".")
            layer = self.head.get_submodule(path)
            setattr(self.head.get_submodule(owner), name, _resized(layer, features, num_classes))
        self._num_features, self.num_classes = features, num_classes

    def _classifier_paths(self) -> list[str]:
        if not self._classifiers:
            raise UsageError(
                f"the head of {self.parent.model or 'this student'} must end in a linear layer of {self.num_classes} "
                "outputs to have its classifier told or changed; it has none."
            )
        return self._classifiers

    def describe(self, model: nn.Module | None = None) -> dict[str, Any]:
        """Parent, blocks and head as data for JSON, without weights.

        ``model``: the parent itself, needed where it is not timm's. Raises ``UsageError`` for what can't be written
        down: see ``write_part``.
        """
        own = self.parent.cut(model if model is not None else self.parent.build(), share=True)
        *blocks, head = [write_part(part, was) for part, was in zip([*self.blocks, self.head], own, strict=True)]
        return {"parent": self.parent.to_dict(), "blocks": blocks, "head": head}


def fingerprint(description: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of what ``ChainNet.describe`` gives."""
    text = json.dumps({key: description[key] for key in ("parent", "blocks", "head")}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def text_of(description: Mapping[str, Any]) -> str:
    """One line for people: the parent, and a word about each part."""
    parent = description["parent"]["model"] or "own network"
    return " | ".join([f"parent {parent}", *map(part_word, [*description["blocks"], description["head"]])])


def build_chain(
    description: Mapping[str, Any], num_classes: int, model: nn.Module | None = None, **kwargs: Any
) -> ChainNet:
    """The network of a description, without values (parameters and changed buffers are on the meta device).

    ``model``: the parent itself, where timm does not have it; it is copied. ``kwargs`` are added to the parent's
    ``model_kwargs``. Raises ``UsageError`` for a damaged description, and for a
    parent that the installed timm does not have.
    """
    parent = Parent.from_dict(description.get("parent"))
    told = description.get("blocks")
    if not isinstance(told, list) or len(told) != len(parent.borders):
        raise UsageError(f"a student made of its parent's parts has {len(parent.borders)} blocks, got {told!r:.60}.")
    parent = replace(parent, model_kwargs={**parent.model_kwargs, **kwargs})
    own = parent.cut(parent.build(), share=True) if parent.model or model is None else parent.cut(model)
    *blocks, head = [build_part(one, was) for one, was in zip([*told, description.get("head")], own, strict=True)]
    return ChainNet(parent, blocks, head, num_classes)


def _find_classifiers(head: nn.Module, num_classes: int) -> list[str]:
    """Layers of ``num_classes`` outputs in ``head``: the last, and its likes beside it that are averaged with it."""
    layers = [(path, part) for path, part in head.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    found = [(path, part) for path, part in layers if len(part.weight) == num_classes]
    if not found:
        return []
    last, layer = found[-1]
    alike = [path for path, part in found if part.weight.shape == layer.weight.shape]
    return [path for path in alike if path.rpartition(".")[0] == last.rpartition(".")[0]]


def _resized(layer: nn.Module, features: int, num_classes: int) -> nn.Module:
    if not num_classes:
        return nn.Identity()
    if isinstance(layer, nn.Conv2d):
        return nn.Conv2d(features, num_classes, 1, bias=layer.bias is not None)
    return nn.Linear(features, num_classes)
