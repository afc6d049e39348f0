"""Presets, zoo and their costs are what they were when ``pinned.json`` was written: runs and weights are known by them.

The values were computed by the version before blocks could be of several kinds.
"""

import json
from pathlib import Path

import pytest
from pinned_values import SIZES, SMALL, cost_values, space_values, zoo_values

from distilnas.space import preset, preset_names

PINNED = json.loads((Path(__file__).parent / "pinned.json").read_text())


def test_every_preset_is_pinned():
    assert set(PINNED["spaces"]) == set(preset_names())


@pytest.mark.parametrize("name", PINNED["spaces"])
def test_texts_and_fingerprints_of_presets(name):
    assert space_values(preset(name)) == PINNED["spaces"][name]


@pytest.mark.parametrize("name", PINNED["costs"])
def test_costs_of_presets(name):
    assert cost_values(preset(name), *SIZES.get(name, SMALL)) == PINNED["costs"][name]


def test_texts_and_fingerprints_of_the_zoo():
    assert zoo_values() == PINNED["zoo"]
