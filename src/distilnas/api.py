"""The package in a few lines of Python: ``distilnas.shrink`` and ``distilnas.run``.

Importing this loads neither torch nor timm; they are loaded by the first call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilnas.result import Result

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    from distilnas.runtime.progress import Event, Progress

    Limit = str | int | float | Sequence[str | int | float]
    Images = str | os.PathLike[str] | Dataset[Any] | DataLoader[Any]


def shrink(
    model: str | os.PathLike[str] | nn.Module,
    images: Images,
    *,
    macs: Limit | None = None,
    params: Limit | None = None,
    bytes: Limit | None = None,
    memory: Limit | None = None,
    latency: Limit | None = None,
    preset: str = "balanced",
    minutes: float | None = None,
    epochs: float | None = None,
    fit_epochs: int | None = None,
    resolution: int | None = None,
    transform: Callable[[Any], Any] | Mapping[str, Any] | None = None,
    test: Images | None = None,
    classes: Sequence[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    weights_by_order: bool = False,
    run: str | os.PathLike[str] | None = None,
    seed: int = 0,
    quiet: bool = False,
    progress: Callable[[Event], None] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Result:
    """Shrink a trained network under a budget: it keeps its weights, is repaired, recovered, tested and exported.

    Called again with the same arguments it continues where it stopped; another budget only makes its student.

    Args:
        model: A timm name, the folder of a student, or your own trained module with one output per class. A module is
            copied, never changed.
        images: A folder with a folder per class (or ``train/`` and ``test/`` of them; images in no folders of classes
            are named by the model), or a ``Dataset`` or ``DataLoader`` of (image, label): images of Pillow, pixels
            (H, W, 3) uint8, or tensors (3, R, R) that are the network's input already. Give them without random
            changes; training makes its own.
        macs: The most multiply-adds that are allowed: an amount (9_000_000, "9M"), a share of the teacher's (0.4,
            "40%"), or several, one student each. Budgets given together hold together. Default: half of the MACs.
        params: The most parameters, in the same forms.
        bytes: The most bytes of weights.
        memory: The most bytes of activations at once while the network answers for one image.
        latency: The most milliseconds ("5ms"), or a share of the teacher's, measured in onnxruntime with one thread
            unless ``settings`` say otherwise: ``{"latency": {"threads": 4}}``.
        preset: How much time to spend: "quick", "balanced" or "best". It sets the length of the recovery, the images
            that are read and rated on, and how many students are compared; what is given beside it counts more.
        minutes: How long each student is recovered.
        epochs: The same in epochs; default with "balanced": half of the teacher's fit, or 4 epochs.
        fit_epochs: Fine-tune the model on the images first; default: 8 epochs where its classes are not the images'
            (a module of your own is fine-tuned only if this is given).
        resolution: Side of the images in pixels; default: the model's own. For a module that does not say, its images
            are normalised with ImageNet's mean and deviation.
        transform: What makes an image the model's input (3, R, R): a callable, or a mapping of timm's fields
            (``resolution mean std interpolation crop_pct crop_mode``). Default: what the model says.
        test: Images never used before the end; default: the folder's ``test``, or a fifth of the images.
        classes: Names of the classes, where the images do not say.
        weights: A file of weights for a timm model in place of its pretrained ones.
        weights_by_order: Take the file's values in order, whatever their names.
        run: The folder that keeps everything; default: below ``runs``, named after model and images.
        seed: Of all randomness.
        quiet: Show nothing.
        progress: Called with every ``Event``, in place of what is shown.
        settings: Other settings of the recipe, as in a configuration: ``{"library": {"images": 500}}``.

    Raises:
        UsageError: For what can be mended: an argument, images, a budget that is none.
        InfeasibleError: For a budget that nothing keeps; it says the smallest that can be reached.
    """
    from distilnas.recipes.shrink.call import shrink_call

    folder, summary = shrink_call(
        model,
        images,
        limits={"macs": macs, "params": params, "bytes": bytes, "peak_memory": memory, "latency_ms": latency},
        transform=transform,
        test=test,
        classes=classes,
        run=None if run is None else Path(run),
        progress=_progress(quiet, progress),
        resolution=resolution,
        weights=None if weights is None else str(weights),
        by_order=weights_by_order,
        fit_epochs=fit_epochs,
        preset=preset,
        minutes=minutes,
        epochs=epochs,
        seed=seed,
        more=settings,
    )
    named = isinstance(model, str | os.PathLike)
    return Result(folder=folder, summary=summary, parent=None if named else model)


def run(
    config: str | os.PathLike[str] | Mapping[str, Any],
    *,
    run: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    progress: Callable[[Event], None] | None = None,
    **overrides: Any,
) -> Result:
    """Run a configuration from beginning to end, continuing where its folder stands, as ``distilnas run`` does.

    Args:
        config: The name of a shipped configuration, a YAML file, or the settings themselves.
        run: The folder that keeps everything; default: below ``runs``, named after the configuration.
        quiet: Show nothing.
        progress: Called with every ``Event``, in place of what is shown.
        overrides: Settings in place of the configuration's, by name: ``seed=1, retrain={"epochs": 10}``.

    Raises:
        UsageError: For what can be mended: a setting, images, an infeasible budget (``InfeasibleError``).
    """
    from distilnas.config import overrides_from
    from distilnas.recipes.catalogue import load_settings, run_recipe, settings_from

    changes = overrides_from(overrides)
    if isinstance(config, Mapping):
        settings, name = settings_from(config, changes), str(config.get("recipe", "dna"))
    else:
        settings, name = load_settings(str(config), changes), Path(config).stem
    folder = Path("runs") / name if run is None else Path(run)
    return Result(folder=folder, summary=run_recipe(settings, folder, progress=_progress(quiet, progress)))


def _progress(quiet: bool, callback: Callable[[Event], None] | None) -> Progress:
    from distilnas.cli.console import RichProgress
    from distilnas.runtime.progress import CallbackProgress, SilentProgress

    if callback is not None:
        return CallbackProgress(callback)
    return SilentProgress() if quiet else RichProgress()
