"""Students as networks: saved and loaded without the teacher's weights, they give the same."""

import pytest
import torch
from small import chain, images, teacher

from distilnas.networks import load_student, save_student
from distilnas.surgery.assemble import assemble
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import run
from distilnas.surgery.library import Choice
from distilnas.surgery.students import parent_of, student_net

NAME, SIDE = "mobilenetv2_035", 48


@pytest.fixture(scope="module")
def library():
    batches = [images(12, seed=seed) for seed in (1, 2)]
    return build_library(chain(teacher(NAME)), batches, [images(4), images(4, seed=3)], ratios=(1.0, 0.5), linear=True)


def smaller(library, early):
    """Half of all channels, the first droppable unit left out, a map for all of a later block, and an early end if
    asked for."""
    kept = [tuple(part.options[-1] for part in parts) for parts in library.parts]
    block = max(place[:2] for place in library.replacements if place.last - place.first > 1 and place.last < 12)
    kept[block[0] : block[1] + 1] = ["linear", *[None] * (block[1] - block[0])]
    kept[next(i for i, unit in enumerate(library.units) if unit.droppable)] = None
    last = max(library.exits)
    return Choice(kept=tuple(kept[: last + 1] if early else kept), early=early)


@pytest.mark.parametrize("early", [False, True])
def test_a_saved_student_is_loaded_without_its_teacher(library, early, tmp_path):
    modules = assemble(library, smaller(library, early), [images(12, seed=seed) for seed in (1, 2)])
    parent = parent_of(library.units, (3, SIDE, SIDE), model=NAME, num_classes=5)
    net = student_net(parent, modules)
    x = images(3, seed=9)
    with torch.no_grad():
        expected = run(modules, x)
        assert torch.equal(net(x), expected)
        classes = tuple("abcde")
        save_student(tmp_path, net, classes=classes, preprocessing={"resolution": SIDE})
        loaded = load_student(tmp_path)
        assert torch.equal(loaded(x), expected)
    assert " | linear | skip | skip" in loaded.student_config["architecture_text"]


def test_the_teacher_kept_as_a_whole_is_saved_bit_for_bit(library, tmp_path):
    modules = assemble(library, library.whole(), [images(4)])
    net = student_net(parent_of(library.units, (3, SIDE, SIDE), model=NAME, num_classes=5), modules)
    save_student(tmp_path, net, classes=tuple("abcde"), preprocessing={"resolution": SIDE})
    x = images(3, seed=9)
    with torch.no_grad():
        assert torch.equal(load_student(tmp_path)(x), teacher(NAME)(x))


def test_a_student_can_be_trained(library):
    modules = assemble(library, smaller(library, early=False), [images(12, seed=seed) for seed in (1, 2)])
    net = student_net(parent_of(library.units, (3, SIDE, SIDE), model=NAME, num_classes=5), modules).train()
    net(images(4)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
