"""A kind that a table does not know is an error with a message, never another kind."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from distilnas.blocks import LAYERS, make_layer
from distilnas.errors import UsageError
from distilnas.report.drawing import draw_layers
from distilnas.report.wording import blocks_text
from distilnas.space import LAYER_KINDS, Cell, FittedSpace, Head, Layered, Stem, parse_op


@dataclass(frozen=True, kw_only=True)
class Strange:
    """An op of a kind that nobody has heard of."""

    kind: ClassVar[str] = "strange"
    form: ClassVar[str] = "strange"
    keys: ClassVar[tuple[str, ...]] = ("?: strange",)
    identity: ClassVar[bool] = False
    words: tuple[str, ...] = ("?",)

    def __str__(self) -> str:
        return "strange"

    @classmethod
    def parse(cls, text):
        return cls()

    @classmethod
    def options(cls, rules):
        return (cls(),)


def test_the_tables_of_data_and_modules_have_the_same_kinds():
    assert list(LAYER_KINDS) == list(LAYERS)
    assert all(kind.kind == name for name, kind in LAYER_KINDS.items())


def test_no_module_is_made():
    with pytest.raises(UsageError, match="no module for layers of kind 'strange'"):
        make_layer(Strange(), 8, 8, 1)


def test_its_text_is_refused():
    with pytest.raises(UsageError, match="unknown op 'strange'; valid: 'id'"):
        parse_op("strange")


def test_a_fitted_space_names_the_nearest():
    with pytest.raises(UsageError, match="unknown kind of layer 'idd'; did you mean 'id'"):
        FittedSpace(kinds=("mb", "idd"))


def test_a_fitted_space_has_kinds_and_none_twice():
    for kinds in ((), ("mb", "mb")):
        with pytest.raises(UsageError, match="at least one kind of layer, none twice"):
            FittedSpace(kinds=kinds)


def test_people_see_its_own_words():
    cell = Cell(width=8, stride=1, ops=(Strange(),))
    architecture = Layered(stem=Stem(width=8, act="relu"), cells=(cell,), head=Head(width=8, act="relu")).architecture()
    assert blocks_text(architecture) == ("8: ?",)
    assert ">?<" in draw_layers(architecture)
    assert ">id<" not in draw_layers(architecture)
