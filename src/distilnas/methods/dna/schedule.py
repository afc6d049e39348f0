"""When each block trains: all together, or one after the other in stages of equal length.

A stage has the loop's epochs with the same batches as any other. The loop's own epochs number on from stage to stage;
``epoch % epochs`` is the block's epoch, on which its batches, rates and paths depend.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from distilnas.training.loop import Loop

ORDERS = ("together", "forward", "reverse")
Record = dict[str, float]


def stages(order: str, blocks: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The blocks (ascending indices) that train in each stage."""
    if order == "together":
        return (blocks,)
    return tuple((block,) for block in (blocks if order == "forward" else reversed(blocks)))


def staged(loop: Loop, number: int) -> Loop:
    """``loop`` run ``number`` times in a row, as one loop with one checkpoint."""

    def batches(epoch: int, start: int) -> Iterable[Any]:
        return loop.batches(epoch % loop.epochs, start)

    return replace(loop, epochs=number * loop.epochs, batches=batches)


def side_by_side(records: list[Record], epochs: int) -> list[Record]:
    """The log of a staged loop in the form that training together has: ``epochs`` records with the losses of all."""
    merged: list[Record] = [{} for _ in range(min(epochs, len(records)))]
    for number, record in enumerate(records):
        merged[number % epochs] |= record | {"epoch": number % epochs}
    return merged
