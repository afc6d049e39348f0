"""Where the features of a DARTS teacher are taken: at the ends of its resolutions, where no block could be cut."""

import pytest
import torch

from distilnas.errors import UsageError
from distilnas.networks import DartsNet
from distilnas.recipes.dnad.recipe import feature_taps
from distilnas.space.darts import DartsArchitecture
from distilnas.teachers import TeacherBlocks, propose

CELL = "s3-0 sk-1 | sk-2 | mp-0 | sk-3"
PATHS = ["cells.0", "cells.2", "cells.4"]


@pytest.fixture
def teacher() -> DartsNet:
    return DartsNet(DartsArchitecture.parse(" ; ".join(["darts cifar 4x5", *[CELL] * 5])), num_classes=3)


def test_last_cells_of_the_resolutions(teacher: DartsNet):
    partition = feature_taps(teacher, 17, "auto")
    assert [tap.path for tap in partition.taps] == PATHS
    features = TeacherBlocks(teacher, partition).features(torch.rand(2, 3, 17, 17))[1:]
    assert [tuple(x.shape[1:]) for x in features] == [(16, 17, 17), (32, 9, 9), (64, 5, 5)]
    assert [(tap.channels, *tap.grid) for tap in partition.taps] == [tuple(x.shape[1:]) for x in features]


def test_blocks_could_not_end_there(teacher: DartsNet):
    with pytest.raises(UsageError, match="something passes by"):
        propose(teacher, 16, PATHS)
