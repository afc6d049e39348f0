"""What a DNAD run works with: images, device, and a teacher that may be a network of the DARTS kind itself."""

import math
from collections.abc import Sequence

from torch import nn

from distilnas.data import Preprocessing
from distilnas.networks import DartsNet
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.recipes.teaching import TeacherMaterials
from distilnas.runtime.progress import Progress
from distilnas.teachers import Partition, Tap, propose

_USUAL_RESOLUTION = {"cifar": 32, "imagenet": 224}  # by stem, where neither data nor teacher says


def dnad_materials(settings: DnadSettings, progress: Progress | None = None) -> TeacherMaterials:
    """Images, device and teacher; without a teacher, images are normalised as ImageNet's."""
    resolution = settings.data.resolution or _USUAL_RESOLUTION[settings.space.stem]
    return TeacherMaterials(
        teacher=settings.teacher,
        data=settings.data,
        runtime=settings.runtime,
        seed=settings.seed,
        rating_images=settings.search.held_out,
        preprocessing=None if settings.teacher else Preprocessing(resolution=resolution),
        partition=feature_taps,
        progress=progress,
    )


def feature_taps(model: nn.Module, resolution: int, policy: str | Sequence[str]) -> Partition:
    """Where a teacher's features are taken: at the end of its blocks as ``policy`` says.

    Of a DARTS network, with ``auto``, at the last cells of its three resolutions. Those are no cut vertices, since a
    cell reads the two before it; comparing features does not ask for that, while cutting a network into blocks does.
    """
    if not isinstance(model, DartsNet) or policy != "auto":
        return propose(model, resolution, policy)
    sides = {info["reduction"]: math.ceil(resolution / info["reduction"]) for info in model.feature_info}
    taps = tuple(
        Tap(
            path=info["module"],
            channels=info["num_chs"],
            height=sides[info["reduction"]],
            width=sides[info["reduction"]],
            reduction=info["reduction"],
        )
        for info in model.feature_info
        if info["module"].startswith("cells.")
    )
    return Partition(taps=taps, policy="resolution", image_shape=(model.in_chans, resolution, resolution))
