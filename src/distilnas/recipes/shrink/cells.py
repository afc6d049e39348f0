"""New layers in a shrinking run: the supernet whose cells stand beside the teacher's own blocks."""

from dataclasses import replace
from typing import Any

from distilnas.errors import UsageError
from distilnas.methods.dna import DistillSettings
from distilnas.recipes.distilling import AnyJob, AnyPlan, TrainSupernet
from distilnas.recipes.settings import SpaceSettings, plain
from distilnas.recipes.shrink.settings import CellSettings
from distilnas.recipes.spaces import resolve_space
from distilnas.recipes.teaching import TEACHER
from distilnas.space import SearchSpace
from distilnas.teachers import Partition


class TrainCells(TrainSupernet):
    """Train the cells of the run's ``library.cells``."""

    name, key = "cells", "library.cells.distill"

    def applies(self, settings: Any) -> bool:
        return settings.library.cells is not None

    def keys(self, job: AnyJob) -> dict[str, Any]:
        return {"teacher": job.key(TEACHER), "cells": plain(_cells(job))}

    def settings(self, job: AnyJob | AnyPlan) -> DistillSettings:
        """Of the blocks alone that cells may stand for."""
        taps = Partition.from_dict(job.result(TEACHER)["partition"]).taps
        maps = [tap.layout.kind == "nchw" for tap in taps]
        blocks = tuple(number for number in range(2, len(taps) + 1) if maps[number - 2] and maps[number - 1])
        if not blocks:
            raise UsageError(
                "cells stand for blocks between feature maps (B, C, H, W), and this teacher has none: leave out "
                "library.cells."
            )
        return replace(_cells(job).distill, blocks=blocks)

    def space(self, job: AnyJob | AnyPlan) -> SearchSpace:
        """Fitted to the parts that the teacher is cut into."""
        return resolve_space(SpaceSettings(fitted=_cells(job).space), job.result(TEACHER)["partition"])


def _cells(job: AnyJob | AnyPlan) -> CellSettings:
    return job.settings.library.cells
