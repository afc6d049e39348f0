"""From the names that networks go by to choices of a space, and from choices to scores that need no training.

A network's name is its architecture in text form, or one digit per layer, the op's index, as NAS-Bench-Macro writes
them (``02012100``); digits need a space that has one cell in every block and at most ten ops in a layer.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from distilnas.errors import UsageError
from distilnas.ranking.columns import Columns
from distilnas.space import Architecture, Candidate, Choice, SearchSpace
from distilnas.space.regroup import regroup
from distilnas.tables import CostTable, RatingTable


class NetworkNames:
    """Reads names as choices of ``space``; ``digits`` is the space whose op indices names of digits mean.

    The two may group the same layers into blocks and cells differently.
    """

    def __init__(self, space: SearchSpace, digits: SearchSpace | None = None) -> None:
        self._space, self._digits = space, digits or space

    def choice(self, name: str) -> Choice:
        """The choice that ``name`` means; raises ``UsageError`` when it is no network of the space."""
        try:
            if name.isdecimal():
                choice = _digit_choice(self._digits, name)
                if self._digits is self._space:
                    return choice
                architecture = self._digits.architecture(choice)
            else:
                architecture = Architecture.parse(name)
            return self._space.choice_of(self._regrouped(architecture))
        except UsageError as error:
            raise UsageError(f"{name[:60]!r} is no network of space {self._space.name!r}: {error}") from error

    def _regrouped(self, architecture: Architecture) -> Architecture:
        """With the block borders of the space, where that has one depth in each block."""
        depths = [{cell.depth for cell in block.cells} for block in self._space.body]
        if any(len(depth) > 1 for depth in depths):
            return architecture
        return regroup(architecture, [min(depth) for depth in depths])

    def choices(self, names: Iterable[str]) -> dict[str, Choice]:
        """Choices by name; raises ``UsageError`` when two names mean the same network."""
        found: dict[str, Choice] = {}
        known: dict[Choice, str] = {}
        for name in names:
            found[name] = choice = self.choice(name)
            if choice in known:
                raise UsageError(f"{known[choice]!r} and {name!r} are the same network; every network may stand once.")
            known[choice] = name
        return found

    def spell_as(self, columns: Columns, known: dict[str, Choice]) -> Columns:
        """``columns`` with the names under which ``known`` has the same networks."""
        spelling = {choice: name for name, choice in known.items()}
        choices = self.choices(columns.rows)
        rows = {spelling.get(choice, name): columns.rows[name] for name, choice in choices.items()}
        return Columns(source=columns.source, rows=rows)


def block_ratings(ratings: RatingTable, choices: Sequence[Choice]) -> np.ndarray:
    """(n, blocks) the rating of every network's candidates; lower is better."""
    body = len(ratings.body)
    return np.array(
        [[ratings.cells[b][c.cell].mean[c.path] for b, c in enumerate(choice[:body])] for choice in choices]
    )


def rating_sums(ratings: RatingTable, choices: Sequence[Choice]) -> np.ndarray:
    """(n,) predicted ratings: sums over blocks (DNA, equation 8); lower is better."""
    return block_ratings(ratings, choices).sum(axis=1)


def cost_scores(space: SearchSpace, costs: CostTable, cost: str, choices: Sequence[Choice]) -> np.ndarray:
    """(n,) a cost of every network as its score: the baseline that bigger is better."""
    return np.array([costs.total(space, choice)[cost] for choice in choices], dtype=np.float64)


def depth_scores(space: SearchSpace, choices: Sequence[Choice]) -> np.ndarray:
    """(n,) number of searched layers that are no identity: the baseline that deeper is better."""
    counts: dict[tuple[int, Candidate], int] = {}
    for b, candidate in {(b, candidate) for choice in choices for b, candidate in enumerate(choice)}:
        spec = space.blocks[b]
        boxes = spec.families[candidate.cell].fill(candidate.path, stride=spec.stride).boxes()
        counts[b, candidate] = sum(not box.dashed for box in boxes if not box.group)
    return np.array([sum(counts[part] for part in enumerate(choice)) for choice in choices], dtype=np.float64)


def _digit_choice(space: SearchSpace, name: str) -> Choice:
    if any(len(block.cells) > 1 for block in space.body) or any(
        len(ops) > 10 for block in space.body for ops in block.cells[0].layers
    ):
        raise UsageError(
            "names of digits need one cell in every block and at most ten ops; write architecture "
            "text, or name the space of such digits (--digits, in recipes digits)."
        )
    shapes = [block.cells[0].shape for block in space.body]
    layers = [size for shape in shapes for size in shape]
    if len(name) != len(layers):
        raise UsageError(
            f"{len(layers)} digits are needed, one op index for each layer, got {len(name)} (spreadsheets drop leading "
            "zeros)."
        )
    path = tuple(map(int, name))
    for n, (op, size) in enumerate(zip(path, layers, strict=True), start=1):
        if op >= size:
            raise UsageError(f"the op index of layer {n} must be 0 to {size - 1}, got {op}.")
    ends = np.cumsum([len(shape) for shape in shapes]).tolist()
    starts = [0, *ends[:-1]]
    body = tuple(Candidate(cell=0, path=path[start:end]) for start, end in zip(starts, ends, strict=True))
    return space.with_head(body)
