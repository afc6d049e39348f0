"""Cells of a supernet in the place of a teacher's blocks: what they compute and cost, and students that have them."""

import itertools

import pytest
import torch
from small import chain, images, teacher

from distilnas.costing import count
from distilnas.errors import UsageError
from distilnas.methods.dna import DistillSettings
from distilnas.networks import load_student, save_student
from distilnas.recipes.shrink.settings import CellSettings
from distilnas.space import BlockSpec, CellSpec, Head, Stem, parse_op, space_of_cells
from distilnas.supernet import build_supernet
from distilnas.surgery.assemble import assemble
from distilnas.surgery.build import build_library
from distilnas.surgery.cells import cell_blocks, cells_of
from distilnas.surgery.chain import run
from distilnas.surgery.library import Choice
from distilnas.surgery.stored import load_library, save_library
from distilnas.surgery.students import parent_of, student_net

NAME, SIDE = "mobilenetv2_035", 48
OPS = tuple(map(parse_op, ("mb_k3_e3_relu", "res_neck_k3_relu", "id")))


@pytest.fixture(scope="module")
def units():
    return chain(teacher(NAME))


@pytest.fixture(scope="module")
def supernet(units):
    """With cells of eight channels and one layer for each of the chain's blocks."""
    ends = [units[i] for i in range(len(units) - 1) if units[i].block != units[i + 1].block]
    sides = [SIDE, *(unit.out_shape[1] for unit in ends)]
    strides = [round(before / after) for before, after in itertools.pairwise(sides)]
    cell = CellSpec(width=8, layers=(OPS,))
    space = space_of_cells(
        name="s",
        stem=Stem(width=8, stride=strides[0], act="relu"),
        blocks=tuple(BlockSpec(stride=stride, families=(cell,)) for stride in strides),
        head=Head(width=16, act="relu"),
    )
    made = build_supernet(space, tuple(unit.out_shape[0] for unit in ends), adapters="linear", seed=0)
    torch.manual_seed(1)
    for name, value in made.named_parameters():
        if ".exit." in name:
            value.data.normal_(0, 0.3)
    return made


@pytest.fixture(scope="module")
def batches():
    return [images(12, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def library(units, supernet, batches):
    ratings = [images(4), images(4, seed=3)]
    return build_library(units, batches, ratings, ratios=(1.0, 0.5), cells=cells_of(supernet, units, batches))


def test_all_candidates_of_blocks_between_maps_are_there(units, supernet):
    found = cells_of(supernet, units, [images(4)])
    assert len(found) == len(OPS) * len(cell_blocks(units))
    assert min(place.first for place in found) > 0
    assert max(place.last for place in found) < len(units) - 1


@torch.no_grad()
def test_on_the_images_that_it_was_measured_on_a_cell_is_the_supernets_candidate(units, supernet):
    """Whose batch norms have the statistics of the batch."""
    x = images(16, seed=4)
    found = cells_of(supernet, units, [x])
    for block, (first, last) in cell_blocks(units).items():
        feature = run([unit.module for unit in units[:first]], x)
        trained = supernet.blocks[block]
        cells = [module for place, module in found.items() if place.first == first]
        for op, module in enumerate(cells):
            expected = trained.cells[0](trained.entry(feature), (op,))
            torch.testing.assert_close(module(feature), expected, rtol=1e-3, atol=1e-4)
            assert module(feature).shape[1:] == units[last].out_shape


def with_cell(library, text):
    """All channels, but for one cell in the place of a block of several units."""
    place = [p for p in library.replacements if p.text.endswith(text) and p.last > p.first][-1]
    kept = list(library.whole().kept)
    kept[place.first : place.last + 1] = [place.text, *[None] * (place.last - place.first)]
    return Choice(kept=tuple(kept))


def test_the_search_knows_what_a_student_with_a_cell_costs(library, batches):
    """Against the counted modules of the assembled student."""
    choice = with_cell(library, "mb_k3_e3_relu")
    trunk = library.trunks()[0]
    rows, at = [], 0
    for family in trunk.families:
        position = family.position(choice.kept[at : at + family.num_units])
        block = trunk.problem.blocks[len(rows)]
        rows.append({k: int(v[0][position.candidate]) for k, v in block.cells[position.cell].costs.items()})
        at += family.num_units
    modules = torch.nn.Sequential(*assemble(library, choice, batches))
    assert sum(row["macs"] for row in rows) == count(modules, (3, SIDE, SIDE)).macs
    assert sum(row["params"] for row in rows) == sum(p.numel() for p in modules.parameters())


def test_a_student_with_a_cell_is_stored_and_loaded_without_its_teacher(library, batches, tmp_path):
    save_library(tmp_path / "library.npz", library)
    back = load_library(tmp_path / "library.npz", library.units)
    modules = assemble(back, with_cell(back, "res_neck_k3_relu"), batches)
    net = student_net(parent_of(library.units, (3, SIDE, SIDE), model=NAME, num_classes=5), modules)
    save_student(tmp_path, net, classes=tuple("abcde"), preprocessing={"resolution": SIDE})
    loaded = load_student(tmp_path)
    x = images(3, seed=9)
    with torch.no_grad():
        assert torch.equal(loaded(x), run(modules, x))
    assert " | cell | skip" in loaded.student_config["architecture_text"]


@torch.no_grad()
def test_behind_a_change_a_cell_is_fitted_to_what_the_student_has(library, batches):
    """It comes nearer to the teacher's feature than as it was fitted to the teacher's."""
    choice = with_cell(library, "mb_k3_e3_relu")
    kept = list(choice.kept)
    place = library.replaced(choice)[0]
    for i in range(place.first):
        kept[i] = tuple(part.options[-1] for part in library.parts[i])
    modules = assemble(library, Choice(kept=tuple(kept)), batches)
    own = run(modules[: place.first], batches[0])
    wanted = run([unit.module for unit in library.units[: place.last + 1]], batches[0])
    before = library.replacements[place].module(own)
    assert (modules[place.first](own) - wanted).norm() < (before - wanted).norm()


@pytest.mark.parametrize("setting", [{"adapters": "absorb"}, {"feed": "student"}, {"blocks": (1,)}])
def test_trainings_that_leave_no_cells_are_refused(setting):
    with pytest.raises(UsageError, match="leave out adapters=absorb"):
        CellSettings(distill=DistillSettings(**setting))
