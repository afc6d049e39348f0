"""Shipped configurations and the rules between settings."""

import json
from pathlib import Path

import pytest
import yaml

from distilnas.config import parse
from distilnas.errors import UsageError
from distilnas.recipes.catalogue import config_names, load_settings
from distilnas.recipes.settings import Settings, plain


@pytest.mark.parametrize("name", config_names())
def test_settings_read_back_are_the_same_json(name: str):
    """Steps are keyed by this text: 2048 read back as 2048.0 would repeat a whole run."""
    settings = load_settings(name)
    stored = yaml.safe_load(yaml.safe_dump(settings.to_dict()))
    again, first = (json.dumps(x.to_dict(), sort_keys=True) for x in (parse(stored, type(settings)), settings))
    assert again == first


def test_every_search_has_a_budget():
    searches = [settings for name in config_names() if isinstance(settings := load_settings(name), Settings)]
    assert len(searches) >= 3
    assert all(settings.solve.max_macs or settings.solve.max_params for settings in searches)


def test_parts_are_extended():
    """The paper's training of 500 epochs, in the retraining recipe as in the search."""
    paper, search = load_settings("dna-imagenet-retrain-paper"), load_settings("dna-imagenet-search")
    assert plain(paper.retrain) == plain(search.retrain)
    assert (paper.retrain.epochs, paper.retrain.optim.lr, paper.retrain.optim.decay) == (500, 0.064, 0.963)
    strong = load_settings("dna-imagenet-retrain").retrain
    assert strong.optim.for_batch(strong.batch_size).lr == pytest.approx(0.256)
    assert strong.augment.auto_augment is not None
    assert load_settings("dna-progressive").dna == search


def test_recipes_of_papers_crop_as_imagenet_trainings_do():
    """Down to 8 % of a photo; the default of one's own photos is milder."""
    searches = [load_settings(name) for name in ("dna-imagenet-search", "dnad-imagenet")]
    trainings = [load_settings(name).retrain for name in ("dna-imagenet-retrain", "dnad-imagenet-retrain")]
    augments = [searches[0].distill.augment, searches[1].search.bilevel.augment, searches[1].search.shrink.augment]
    augments += [searches[0].retrain.augment, searches[1].retrain.augment, *(one.augment for one in trainings)]
    scales = [one.scale for one in augments if one.crop == "resized"]
    assert len(scales) >= 5
    assert set(scales) == {(0.08, 1.0)}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.souce=digits", "unknown setting 'data.souce'; did you mean 'source'"),
        ("teacher.fit.epoch=3", "did you mean 'epochs'"),
        ("teacher.fit.epochs=many", r"setting teacher\.fit\.epochs"),
        ("teacher.fit.epochs=0", "at least 1"),
        ("teacher.fit=null", "the teacher has no weights"),
        ("space.preset=dna", "exactly one of"),
        ("distill.loss=relative_msee", "did you mean 'relative_mse'"),
        ("data.validation=0", r"data\.validation must be above 0"),
        ("data.source=folder", r"data\.path is missing"),
        ("data=5", "setting data"),
        ("retrain.clip_grad=-1", r"clip_grad must be positive \(null: no clipping\), got -1"),
        ("seed", "not an override"),
        ("=5", "not an override"),
    ],
)
def test_bad_overrides(override: str, message: str):
    with pytest.raises(UsageError, match=message):
        load_settings("quickstart", (override,))


def test_an_unknown_recipe_is_named(tmp_path: Path):
    (tmp_path / "x.yaml").write_text("recipe: dnaa")
    with pytest.raises(UsageError, match="did you mean 'dna'"):
        load_settings(str(tmp_path / "x.yaml"))


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'quickstart'"):
        load_settings("quikstart")
