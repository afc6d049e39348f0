"""What ``bench library`` counts, against networks that are counted as a whole."""

import torch

from distilnas.bench.library import SIZE, batches, moment_macs, rated, rating_macs, teacher_units
from distilnas.bench.settings import BenchSettings
from distilnas.costing.counters import count
from distilnas.surgery.build import build_library

SETTINGS = BenchSettings(accelerator="cpu", quick=True)


def test_floors_are_those_of_the_networks_that_run():
    """A rating runs what is behind its candidate; a moment is the square of the columns that a layer reads."""
    units = teacher_units("mobilenetv2_035", SETTINGS)
    images = batches(8, 0, SETTINGS)
    library = build_library(units, images, images, ratios=(1.0, 0.5))
    macs = [count(unit.module, unit.in_shape).macs for unit in units]
    network = torch.nn.Sequential(*(unit.module for unit in units))
    assert sum(macs) == count(network, (3, SIZE, SIZE)).macs
    cut = [i for i, parts in enumerate(library.parts) if parts]
    assert rated(library) == len(cut) + len(library.drops) + len(library.exits)
    behind = [sum(macs[i + 1 :]) for i in cut]
    ends = {unit.block: i for i, unit in enumerate(units)}
    behind += [sum(macs[ends[units[out[0]].block] + 1 :]) for out in library.drops]
    assert rating_macs(library, macs, 8) == 8 * sum(behind)
    reads = [unit.module.get_submodule(read.path) for unit in units for group in unit.groups for read in group.read]
    columns = [layer.weight[0].numel() for layer in reads]
    assert moment_macs(units, 10**6) == sum(number**2 * 32 * number for number in columns)
