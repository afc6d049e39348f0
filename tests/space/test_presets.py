"""Shipped spaces, spaces from files, and spaces fitted to a teacher."""

import json

import pytest

from distilnas.errors import UsageError
from distilnas.space import FittedSpace, preset, preset_names, read_space
from distilnas.space.presets import round_width


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_under_its_name(name):
    space = preset(name)
    assert space.name == name
    assert space.num_architectures > 1


def test_an_unknown_preset_names_the_nearest():
    assert set(preset_names()) >= {"dna", "nas-bench-macro"}
    with pytest.raises(UsageError, match="unknown search space 'nasbench-macro'; did you mean 'nas-bench-macro'"):
        preset("nasbench-macro")


def test_a_written_space_reads_back(tmp_path):
    path = tmp_path / "space.json"
    path.write_text(json.dumps(preset("dna").to_dict()))
    assert read_space(path) == preset("dna")


@pytest.mark.parametrize("text", ["", "- 1", "a: [1", "!!python/object/apply:os.getcwd []", "schema: 1"])
def test_a_file_that_is_no_space_is_refused(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(UsageError):
        read_space(path)
    with pytest.raises(UsageError, match="cannot read"):
        read_space(tmp_path / "missing.yaml")


def test_fitted_to_efficientnet_b0():
    """B0's six blocks emit 24 40 80 112 192 320 channels at 4 8 16 16 32 32 (Tan and Le 2019, table 1)."""
    space = FittedSpace(width_ratios=(0.5, 1.0), depths=(1, 2)).fit((24, 40, 80, 112, 192, 320), (4, 8, 16, 16, 32, 32))
    assert {cell.stem.stride for cell in space.blocks[0].cells} == {2}
    assert [block.stride for block in space.body] == [4, 2, 2, 1, 2, 1]  # the first with its stem
    assert space.reductions == (4, 8, 16, 16, 32, 32)
    # halves rounded to multiples of 8: 12 -> 16 (ties up), 20 -> 24, 40, 56, 96, 160
    assert [block.widths for block in space.body] == [
        (16, 24), (24, 40), (40, 80), (56, 112), (96, 192), (160, 320),
    ]  # fmt: skip
    assert space.num_architectures == (2 * (4 + 4**2)) ** 6


def test_fitted_to_a_teacher_that_keeps_the_resolution_first():
    space = FittedSpace().fit((64, 128), (1, 2))
    assert {cell.stem.stride for cell in space.blocks[0].cells} == {1}
    assert space.reductions == (1, 2)


@pytest.mark.parametrize(("width", "expected"), [(1, 8), (11.9, 8), (12, 16), (19.9, 16), (320, 320)])
def test_round_width(width, expected):
    assert round_width(width) == expected
