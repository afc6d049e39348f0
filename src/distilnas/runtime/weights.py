"""Files with a network's weights, ours or other projects': tensors by name come in, nothing of a file is executed.

Also what any such file must pass before it is loaded: fit the model entry by entry.
"""

import argparse
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from distilnas.errors import UsageError

_log = logging.getLogger(__name__)

State = dict[str, Tensor]

COUNTER = "num_batches_tracked"  # of batch norms; old files and foreign frameworks do not have it
_TORCH_FILES = (".pt", ".pth", ".pth.tar", ".bin", ".ckpt")
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "params_ema")
_PLAIN = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params")
_WRAPPERS = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")  # torch puts these around
_CONVERSION = (
    "import torch; x = torch.load('{path}', map_location='cpu', weights_only=False); "
    "x = x if hasattr(x, 'state_dict') else next(x[k] for k in ('state_dict', 'model_state_dict', 'model') if k in x); "
    "torch.save(x.state_dict() if hasattr(x, 'state_dict') else x, 'NEW.pth')"
)


def read_state(path: Path, *, averaged: bool = True) -> State:
    """The tensors by name, on the CPU, in the file ``path``; a prefix "module." is dropped.

    Files: .safetensors, or .pt .pth .pth.tar .bin .ckpt with the tensors plain or under state_dict, model_state_dict,
    model or the like, other entries beside them. Where there are also some with ema in their name (averaged over the
    training), those are taken, or the others with ``averaged=False``. What ``torch.compile`` and its kin put into the
    names is dropped.

    Of Python's classes a torch file may contain ``argparse.Namespace``, in which timm's training script stores its
    arguments: an object of it is attributes only, these are restricted like everything else, and it is dropped. Raises
    ``UsageError`` for any other class, and for a file that is missing, damaged or without tensors.
    """
    if not path.is_file():
        raise UsageError(f"weights must be a file, {path} is none: check the path.")
    if not path.name.endswith((".safetensors", *_TORCH_FILES)):
        raise UsageError(f"weights are a .safetensors file or one of {' '.join(_TORCH_FILES)}, got {path}.")
    try:
        stored = load_file(path) if path.suffix == ".safetensors" else _load_data_only(path)
    except Exception as error:  # damaged files fail in many ways
        raise _unreadable(path, error) from error
    return _unnested(stored, path, (*_AVERAGED, *_PLAIN) if averaged else _PLAIN)


def check_fit(model: nn.Module, state: State, path: Path, *, advice: str, may_lack: Collection[str] = ()) -> None:
    """Raise ``UsageError`` unless ``state`` has the model's entries in their shapes and no others.

    Batch norms' counters and ``may_lack`` may be missing. ``advice``: the message's last sentence, what to do.
    """
    own = model.state_dict()
    missing = [key for key in own if key not in state and key not in may_lack and not key.endswith(COUNTER)]
    unexpected = [key for key in state if key not in own]
    mismatched = [
        f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and value.shape != own[key].shape
    ]
    problems = [
        f"{len(keys)} {what} ({some(keys)})"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatched))
        if keys
    ]
    if problems:
        raise UsageError(
            f"the weights must fit {type(model).__name__} entry by entry, but {path} has {'; '.join(problems)}. "
            + advice
        )


def without_prefix(model: nn.Module, state: State, path: Path, *, averaged: bool = True) -> State:
    """``state`` with the names of the model, where a part of it has all of them behind one prefix (``model.``).

    A training framework keeps a network as a part of something larger; the rest of that is left out, and said. Where
    several parts have all names, those with ema in their prefix are taken, or the others with ``averaged=False``; the
    state is returned as it is where that leaves none or several.
    """
    body = set(model.state_dict()) - head_keys(model)
    needed = sorted(key for key in body if not key.endswith(COUNTER))
    if not needed or all(key in state for key in needed):
        return state
    ends = (key.removesuffix(needed[0]) for key in state if key.endswith(f".{needed[0]}"))
    found = [prefix for prefix in ends if all(prefix + key in state for key in needed)]
    ema = [prefix for prefix in found if "ema" in prefix]
    chosen = (ema if averaged and ema else [prefix for prefix in found if prefix not in ema]) or found
    if len(chosen) != 1:
        return state
    own = {key.removeprefix(chosen[0]): value for key, value in state.items() if key.startswith(chosen[0])}
    others = f"; {len(state) - len(own)} other entries are left out" if len(own) < len(state) else ""
    _log.warning("%s: the weights are those under %r%s", path, chosen[0].rstrip("."), others)
    return own


def agrees_in_order(model: nn.Module, state: State) -> bool:
    """Whether the entries have the model's shapes one by one, whatever they are called."""
    shapes = [
        [tuple(value.shape) for key, value in entries.items() if not key.endswith(COUNTER)]
        for entries in (model.state_dict(), state)
    ]
    return shapes[0] == shapes[1]


def head_keys(model: nn.Module) -> set[str]:
    """State-dict keys of a timm model's classifier; none for other networks."""
    timm_model: Any = model
    if not hasattr(timm_model, "get_classifier"):
        return set()
    head = timm_model.get_classifier()
    return {f"{name}.{key}" for name, module in model.named_modules() if module is head for key in module.state_dict()}


def stored_classes(model: nn.Module, state: State, *, default: int) -> int:
    """Number of classes of the classifier in ``state``; ``default`` if there is none like the model's."""
    own = model.state_dict()
    alike = (key for key in sorted(head_keys(model)) if key in state and state[key].ndim == own[key].ndim)
    return next((len(state[key]) for key in alike if state[key].shape[1:] == own[key].shape[1:]), default)


def some(items: Iterable[str], limit: int = 3) -> str:
    """The first few of ``items`` for a message."""
    listed = list(items)
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "")


def _load_data_only(path: Path) -> Any:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(path: Path, error: Exception) -> UsageError:
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused:
        return UsageError(
            f"{path} must hold tensors only, and plain values beside them, but has {refused[1]}, which could run any "
            "code when it is read. Where you trust its origin, convert it once in Python, where its classes are "
            f"installed, and give the new file: {_CONVERSION.format(path=path)}"
        )
    if "TorchScript" in str(error):
        return UsageError(
            f"{path} must hold tensors only, but is a TorchScript program. Where you trust its origin, convert it once "
            f"in Python and give the new file: import torch; torch.save(torch.jit.load('{path}', "
            "map_location='cpu').state_dict(), 'NEW.pth')"
        )
    reason = str(error).partition("\n")[0] or type(error).__name__
    return UsageError(
        f"{path} must be a whole file that holds tensors only, but cannot be read ({reason}). Fetch it again, or save "
        "its state dict alone, best as .safetensors."
    )


def _unnested(stored: Any, path: Path, nests: tuple[str, ...]) -> State:
    state, taken = stored, []
    while isinstance(state, Mapping) and (nest := next((k for k in nests if isinstance(state.get(k), Mapping)), None)):
        state = state[nest]
        taken.append(nest)
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        found = some(map(str, state)) if isinstance(state, Mapping) and state else type(state).__name__
        raise UsageError(
            f"{path} must hold tensors by name, plain or under {', '.join(nests)}; found {found}. Save the state dict "
            "alone."
        )
    if taken:
        _log.info("%s: weights taken from %s", path, ".".join(taken))
    state = {_WRAPPERS.sub("", key): value for key, value in state.items()}
    if all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return state
