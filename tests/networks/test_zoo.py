"""The zoo: names, entries, variants, creation."""

from dataclasses import fields

import pytest
import timm
import torch

from distilnas.costing import profile
from distilnas.errors import UsageError
from distilnas.networks import StudentNet
from distilnas.networks.published import ZooEntry, read_entries
from distilnas.networks.zoo import create, create_entry, default_resolution, zoo_entries, zoo_entry, zoo_names
from distilnas.space import preset


def test_names():
    dna, references = [f"dna-{x}" for x in "abcd"], [f"efficientnet-b{i}" for i in range(8)]
    darts = ["darts-v1", "darts-v2", "p-darts", "pc-darts-cifar", "pc-darts-imagenet", "ista-nas"]
    assert zoo_names() == tuple(sorted([*dna, *references, *darts]))
    assert list(dict.fromkeys(entry.name for entry in zoo_entries())) == list(zoo_names())


@pytest.mark.parametrize("entry", zoo_entries(), ids=lambda entry: entry.name + entry.variant)
def test_every_entry_builds(entry):
    assert entry.source
    assert timm.is_model(entry.model)
    with torch.device("meta"):
        assert create(entry.name, num_classes=7).get_classifier().out_features == 7  # type: ignore[operator,union-attr]
        assert create_entry(entry).get_classifier().out_features == entry.num_classes  # type: ignore[operator,union-attr]


@pytest.mark.parametrize("name", zoo_names())
def test_resolutions_of_default_variants_are_timms(name):
    """Those of Tan and Le's table are the resolutions of timm's ports."""
    entry = zoo_entry(name)
    assert default_resolution(entry.model) == default_resolution(entry.name) == entry.resolution


@pytest.mark.parametrize("name", ["dna-a", "dna-b", "dna-c", "dna-d"])
def test_the_published_networks_lie_in_the_dna_space(name):
    architecture = zoo_entry(name).architecture
    assert architecture is not None
    space = preset("dna")
    assert space.architecture(space.choice_of(architecture)) == architecture


def test_published_accuracies():
    """Li et al. 2020, table 1."""
    assert [zoo_entry(f"dna-{x}").top1 for x in "abcd"] == [77.1, 77.5, 77.8, 78.4]
    model = create("dna-a")
    assert isinstance(model, StudentNet)
    assert model.architecture == zoo_entry("dna-a").architecture


def test_names_with_underscores_and_arguments():
    assert zoo_entry("dna_a") is zoo_entry("dna-a")
    assert zoo_entry("efficientnet_b3") is zoo_entry("efficientnet-b3")
    with torch.device("meta"):
        model = create_entry(zoo_entry("dna-b"), num_classes=3, in_chans=1, drop_rate=0.25)
    assert (model.in_chans, model.drop_rate) == (1, 0.25)


@pytest.mark.parametrize(
    ("name", "variant", "params", "macs"),
    [
        ("darts-v2", "cifar10", 3_349_342, 528_359_040),
        ("p-darts", "imagenet", 4_944_352, 542_819_328),
        ("ista-nas", None, 4_820_608, 528_208_704),  # ImageNet's variant is the default
    ],
)
def test_darts_networks_have_the_counts_of_the_released_code(name, variant, params, macs):
    """All twelve are counted in test_darts_counts; here that the zoo finds them."""
    entry = zoo_entry(name, variant)
    with torch.device("meta"):
        counts = profile(create_entry(entry), entry.resolution)
    assert (counts.params, counts.macs) == (params, macs)


def test_unknown_names():
    with pytest.raises(UsageError, match="unknown zoo network 'dna_aa'; did you mean 'dna-a'"):
        zoo_entry("dna_aa")
    with pytest.raises(UsageError, match=r"unknown model 'resnet5000'; did you mean '.*resnet"):
        create("resnet5000")
    with pytest.raises(UsageError, match=r"dna-a has no variant 'cifar10'; it has none"):
        zoo_entry("dna-a", "cifar10")
    assert default_resolution("resnet18") == 224


def test_variants_differ_in_what_they_state(monkeypatch):
    text = """
    net:
      model: resnet18
      source: nobody
      variants:
        small: {resolution: 32, num_classes: 10, dataset: CIFAR-10, model_kwargs: {stem_width: 8}}
        large: {resolution: 224, top1: 70.5}
    """
    entries = read_entries(text)
    assert list(entries["net"]) == ["small", "large"]
    small, large = entries["net"].values()
    assert (small.resolution, small.num_classes, small.model_kwargs, small.top1) == (32, 10, {"stem_width": 8}, None)
    assert (large.resolution, large.num_classes, large.model_kwargs, large.top1) == (224, 1000, {}, 70.5)
    assert {entry.source for entry in (small, large)} == {"nobody"}
    monkeypatch.setattr("distilnas.networks.published._entries", lambda: entries)
    assert zoo_entry("net") is small
    assert zoo_entry("net", "large") is large
    with pytest.raises(UsageError, match=r"net has no variant 'larg'; valid: small, large"):
        zoo_entry("net", "larg")


def test_the_file_has_no_field_beyond_the_record():
    with pytest.raises(TypeError, match="timm_name"):
        read_entries("net: {model: resnet18, source: x, resolution: 32, timm_name: y}")
    assert "architecture" in {field.name for field in fields(ZooEntry)}
