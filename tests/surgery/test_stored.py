"""A library on disk, and the students that anybody would try first."""

import numpy as np
import pytest
import torch
from small import chain, images, teacher

from distilnas.costing import count
from distilnas.errors import UsageError
from distilnas.surgery.alternatives import alternatives, on_paper
from distilnas.surgery.assemble import assemble
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import run
from distilnas.surgery.stored import load_library, save_library
from distilnas.tables.files import read_arrays, write_arrays


@pytest.fixture(scope="module")
def library():
    batches = [images(12, seed=seed) for seed in (1, 2)]
    return build_library(
        chain(teacher("mobilenetv2_035")), batches, [images(4), images(4, seed=3)], ratios=(1.0, 0.5), linear=True
    )


def test_a_stored_library_makes_the_same_students(library, tmp_path):
    save_library(tmp_path / "library.npz", library)
    back = load_library(tmp_path / "library.npz", library.units)
    thin = next(one for one in alternatives(library, library.trunks()) if one.kind == "uniform width").chosen
    assert back.rating_of(thin.choice).mean == library.rating_of(thin.choice).mean
    some = [images(12, seed=seed) for seed in (1, 2)]
    with torch.no_grad():
        first, second = (run(assemble(one, thin.choice, some), images(2, seed=5)) for one in (library, back))
    assert torch.equal(first, second)


def test_stored_maps_are_the_same_to_the_bit(library, tmp_path):
    save_library(tmp_path / "library.npz", library)
    back = load_library(tmp_path / "library.npz", library.units)
    assert list(back.replacements) == list(library.replacements)
    for one, other in zip(library.replacements.values(), back.replacements.values(), strict=True):
        assert one.rating.batches.tobytes() == other.rating.batches.tobytes()
        other_state = other.module.state_dict()
        assert all(torch.equal(value, other_state[key]) for key, value in one.module.state_dict().items())


def test_a_library_of_other_units_is_refused(library, tmp_path):
    save_library(tmp_path / "library.npz", library)
    with pytest.raises(UsageError, match="another teacher"):
        load_library(tmp_path / "library.npz", library.units[:-1])
    arrays, meta = read_arrays(tmp_path / "library.npz", kind="library", schema=3)
    arrays.pop(next(name for name in arrays if name.startswith("graft/")))
    write_arrays(tmp_path / "damaged.npz", arrays, meta)
    with pytest.raises(UsageError, match="run again"):
        load_library(tmp_path / "damaged.npz", library.units)


def test_alternatives_cost_what_their_networks_do(library):
    """Against the counted modules of the assembled students."""
    found = alternatives(library, library.trunks())
    assert {one.kind for one in found} == {"uniform width", "depth cut", "truncation"}
    for kind in ("uniform width", "depth cut", "truncation"):
        one = next(one for one in found if one.kind == kind)
        modules = torch.nn.Sequential(*assemble(library, one.chosen.choice, [images(4)]))
        counted = count(modules, (3, 48, 48))
        assert one.chosen.solution.costs["macs"] == counted.macs, kind
        assert one.chosen.solution.costs["params"] == sum(p.numel() for p in modules.parameters()), kind


def test_the_whole_teacher_is_rated_zero(library):
    whole = on_paper(library.trunks()[0], library.whole())
    assert whole is not None
    assert whole.solution.rating == 0
    assert np.isfinite(whole.solution.costs["macs"])
