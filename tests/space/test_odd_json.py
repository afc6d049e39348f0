"""Any part of a valid description replaced by something odd, or left out: a message in one line or a network."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from distilnas.data import Preprocessing
from distilnas.errors import DistilnasError, UsageError
from distilnas.networks import build_network
from distilnas.networks.zoo import zoo_entry
from distilnas.space import SearchSpace, preset
from distilnas.space.darts import parse_architecture

ODD = (None, 3, -1, 1.5, "x", [], {}, True, 1e300, 10**30, [[1]], {"a": 1}, 100_000_000)


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    parts = data.items() if isinstance(data, dict) else enumerate(data[:1]) if isinstance(data, list) else ()
    for key, value in parts:
        yield from places(value, (*at, key))


def changed(data: Any) -> Iterator[Any]:
    for at in places(data):
        for odd in ODD if at else ():
            copied = copy.deepcopy(data)
            inner = copied
            for key in at[:-1]:
                inner = inner[key]
            inner[at[-1]] = odd
            yield copied
            del inner[at[-1]]
            yield copy.deepcopy(copied)


def network(data: Any) -> None:
    with torch.device("meta"):
        build_network(parse_architecture(json.dumps(data)), num_classes=10)


def first_blocks(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"blocks": data["blocks"][:1]}


@pytest.mark.parametrize(
    ("valid", "read"),
    [
        (first_blocks(zoo_entry("dna-a").architecture.to_dict()), network),  # type: ignore[union-attr]
        (first_blocks(preset("dna").to_dict()), SearchSpace.from_dict),
        (Preprocessing(resolution=32).to_dict(), Preprocessing.from_dict),
    ],
    ids=["architecture", "space", "preprocessing"],
)
def test_odd_parts(valid: dict[str, Any], read: Callable[[Any], Any]):
    read(valid)
    refused = []
    for data in changed(valid):
        try:
            read(data)
        except DistilnasError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert not any("\n" in message for message in refused)


@pytest.mark.parametrize("data", [3, "x", [], None])
def test_preprocessing_that_is_no_mapping(data: Any):
    with pytest.raises(UsageError, match="is a mapping"):
        Preprocessing.from_dict(data)


@pytest.mark.parametrize(
    "text", ["darts cifar 9999999x9 ; N: s3-0 s3-1 ; R: s3-0 s3-1", "stem 9999999999/2 silu | 8/1 id | head 8 silu"]
)
def test_absurd_sizes_in_text(text: str):
    with pytest.raises(UsageError, match="at most"):
        parse_architecture(text)
