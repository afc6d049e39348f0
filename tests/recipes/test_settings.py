"""Shipped configurations and the rules between settings."""

import json

import pytest
import yaml

from distilnas.config import parse
from distilnas.errors import UsageError
from distilnas.recipes.catalogue import config_names, load_settings
from distilnas.recipes.settings import Settings


@pytest.mark.parametrize("name", config_names())
def test_shipped_configurations_load(name: str):
    overrides = () if name == "quickstart" else ("data.path=images",)
    settings = load_settings(name, overrides)
    assert settings.solve.max_macs or settings.solve.max_params


@pytest.mark.parametrize("name", config_names())
def test_settings_read_back_are_the_same_json(name: str):
    """Steps are keyed by this text: 2048 read back as 2048.0 would repeat a whole run."""
    settings = load_settings(name, () if name == "quickstart" else ("data.path=images",))
    stored = yaml.safe_load(yaml.safe_dump(settings.to_dict()))
    assert json.dumps(parse(stored, Settings).to_dict()) == json.dumps(settings.to_dict())


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
        ("seed", "not an override"),
        ("=5", "not an override"),
    ],
)
def test_bad_overrides(override: str, message: str):
    with pytest.raises(UsageError, match=message):
        load_settings("quickstart", (override,))


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'quickstart'"):
        load_settings("quikstart")
