"""Checkpoints of published networks, in the form in which their authors saved them.

::

    from distilnas.networks.checkpoints import create_published
    model = create_published("dna-a", "DNA_a.pth.tar")
    logits = model(images)

The authors of DNA trained with timm 0.1: a .pth.tar with ``state_dict`` and mostly ``state_dict_ema``, names as today's
timm gives them (perhaps after "module."), and beside them epoch, arch, optimizer and args.
"""

from pathlib import Path

import torch
from torch import nn

from distilnas.errors import UsageError
from distilnas.networks.zoo import create_entry, zoo_entry
from distilnas.runtime.weights import State, check_fit, read_state, stored_classes, without_prefix


def load_published(model: nn.Module, path: str | Path, *, ema: bool = True) -> None:
    """Load the weights and buffers of the file ``path`` into ``model``, all of them.

    ``ema``: prefer the averaged weights, where the file has them; they are what the authors report. Else the last ones.
    Only the counters of batch norms may be missing, as they are in the oldest files. Raises ``UsageError``, with
    ``model`` unchanged, for a file that cannot be read (``runtime.weights.read_state``) or does not fit.
    """
    _load(model, without_prefix(model, read_state(Path(path), averaged=ema), Path(path), averaged=ema), Path(path))


def create_published(name: str, path: str | Path, *, variant: str | None = None, ema: bool = True) -> nn.Module:
    """The zoo's network ``name`` with the weights of ``path`` (see ``load_published``), in eval mode.

    It has as many classes as the file's classifier. Raises ``UsageError`` for an unknown name and a file that does not
    fit.
    """
    entry, path = zoo_entry(name, variant), Path(path)
    state = read_state(path, averaged=ema)
    with torch.device("meta"):
        published = create_entry(entry)
    state = without_prefix(published, state, path, averaged=ema)
    model = create_entry(entry, num_classes=stored_classes(published, state, default=entry.num_classes))
    _load(model, state, path)
    return model.eval()


def _load(model: nn.Module, state: State, path: Path) -> None:
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise UsageError(f"{path} holds weights that are not finite, e.g. {broken[0]}: the file is damaged.")
    check_fit(model, state, path, advice="Choose the network (variant, number of classes) that it belongs to.")
    model.load_state_dict(state, strict=False)  # checked: only counters may be missing
