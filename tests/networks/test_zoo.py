"""The zoo: names, entries, creation."""

import pytest
import torch

from distilnas.errors import UsageError
from distilnas.networks import StudentNet
from distilnas.networks.zoo import create, default_resolution, zoo_entry, zoo_names
from distilnas.space import preset


def test_names():
    dna, references = [f"dna-{x}" for x in "abcd"], [f"efficientnet-b{i}" for i in range(8)]
    assert zoo_names() == (*dna, *references)


@pytest.mark.parametrize("name", zoo_names())
def test_every_entry_builds(name):
    entry = zoo_entry(name)
    assert entry.source
    assert (entry.architecture is None) != (entry.timm_name is None)
    with torch.device("meta"):
        assert create(name, num_classes=7).get_classifier().out_features == 7  # type: ignore[operator,union-attr]
    if entry.timm_name:  # the resolutions of Tan and Le's table are those of timm's ports
        assert default_resolution(entry.timm_name) == entry.resolution


@pytest.mark.parametrize("name", ["dna-a", "dna-b", "dna-c", "dna-d"])
def test_the_published_networks_lie_in_the_dna_space(name):
    architecture = zoo_entry(name).architecture
    assert architecture is not None
    space = preset("dna")
    assert space.architecture(space.choice_of(architecture)) == architecture


def test_published_accuracies():
    """Li et al. 2020, table 1."""
    assert [zoo_entry(f"dna-{x}").top1 for x in "abcd"] == [77.1, 77.5, 77.8, 78.4]
    assert isinstance(create("dna-a"), StudentNet)


def test_unknown_names():
    with pytest.raises(UsageError, match="unknown zoo network 'dna_a'; did you mean 'dna-a'"):
        zoo_entry("dna_a")
    with pytest.raises(UsageError, match=r"unknown model 'resnet5000'; did you mean '.*resnet"):
        create("resnet5000")
    assert default_resolution("resnet18") == 224
