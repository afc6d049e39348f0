"""One view of an image for two networks that want their images differently."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from distilnas.data import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Views:
    """Views are made once, at the larger of both resolutions; each network gets them scaled and normalised its way."""

    student: Preprocessing
    teacher: Preprocessing

    @property
    def made(self) -> Preprocessing:
        """How the views are made."""
        return self.student if self.student.resolution >= self.teacher.resolution else self.teacher

    def for_student(self, views: Tensor) -> Tensor:
        """(B, 3, R, R) as made to the student's input."""
        return adapted(views, self.made, self.student)

    def for_teacher(self, views: Tensor) -> Tensor:
        """(B, 3, R, R) as made to the teacher's input."""
        return adapted(views, self.made, self.teacher)


def adapted(images: Tensor, given: Preprocessing, wanted: Preprocessing) -> Tensor:
    """Images (B, 3, R, R) normalised and sized as ``given``, as ``wanted`` has them; unchanged where these agree."""
    if given.resolution != wanted.resolution:
        size = (wanted.resolution, wanted.resolution)
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    if (given.mean, given.std) == (wanted.mean, wanted.std):
        return images
    means, stds = (
        torch.tensor([getattr(one, name) for one in (given, wanted)], device=images.device)[:, :, None, None]
        for name in ("mean", "std")
    )
    return (images * stds[0] + means[0] - means[1]) / stds[1]
