"""The cost table: what every option of every family costs, in every measure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distilnas.errors import UsageError
from distilnas.space import Choice, SearchSpace
from distilnas.tables.files import read_arrays, write_arrays
from distilnas.tables.measures import Number

SCHEMA = 2
_STEM_AND_HEAD = 1  # the schema in which these two were arrays of their own


@dataclass(frozen=True, kw_only=True, eq=False)
class CellCosts:
    """Costs of one family, axis by axis (of a cell: layer by layer).

    ``first``: (costs, in_widths, options) of the first axis, which depends on the width the previous block emits, with
    what is always there (a stem); one option where the family has no axis. ``rest``: for each later axis (costs,
    options).
    """

    first: np.ndarray
    rest: tuple[np.ndarray, ...]

    def dense(self) -> np.ndarray:
        """Costs of all paths: (costs, in_widths, paths), paths in C order of (op of layer 1, op of layer 2, ...)."""
        total = self.first
        for layer in self.rest:
            total = (total[:, :, :, None] + layer[:, None, None, :]).reshape(*total.shape[:2], -1)
        return total

    def path(self, in_width: int, path: tuple[int, ...]) -> np.ndarray:
        """Costs (costs,) of one path for the incoming width of index ``in_width``."""
        later = (layer[:, op] for layer, op in zip(self.rest, path[1:], strict=True))
        return sum(later, start=self.first[:, in_width, path[0] if path else 0])


@dataclass(frozen=True, kw_only=True, eq=False)
class CostTable:
    """Costs of a search space at one resolution and number of classes.

    ``costs`` names the costs in the order of every array's first axis; ``floats`` are those with fractions, all others
    are integers (exact below 2**53 where both stand in one array). ``cells[block][family]`` hold the candidates of
    all blocks, the head's among them, ``in_widths[block]`` the widths that index their second axis.
    """

    space: str
    costs: tuple[str, ...]
    in_widths: tuple[tuple[int, ...], ...]
    cells: tuple[tuple[CellCosts, ...], ...]
    settings: dict[str, Any] = field(default_factory=dict)
    floats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for i, name in enumerate(self.costs):
            if name not in self.floats and not all((array[i] % 1 == 0).all() for array in self._arrays()):
                raise UsageError(
                    f"the cost {name!r} has values that are no integers: name it in floats, or round them."
                )

    def _arrays(self) -> Iterator[np.ndarray]:
        yield from (array for block in self.cells for cell in block for array in (cell.first, *cell.rest))

    def total(self, space: SearchSpace, choice: Choice) -> dict[str, Number]:
        """Costs of the whole network of ``choice``: the sum along the chain of blocks."""
        self.check(space)
        if len(choice) != len(space.blocks):
            raise UsageError(f"a choice of space {space.name!r} has {len(space.blocks)} candidates, got {len(choice)}.")
        total = np.zeros(len(self.costs), dtype=np.int64)
        for b, candidate in enumerate(choice):
            width = space.blocks[b - 1].families[choice[b - 1].cell].out if b else self.in_widths[0][0]
            total = total + self.cells[b][candidate.cell].path(self.in_widths[b].index(width), candidate.path)
        return self.named(total)

    def named(self, values: np.ndarray) -> dict[str, Number]:
        """Values (costs,) by name: Python's floats and integers."""
        kinds = (float if name in self.floats else int for name in self.costs)
        return {name: kind(value) for name, kind, value in zip(self.costs, kinds, values, strict=True)}

    def column(self, name: str, array: np.ndarray) -> np.ndarray:
        """The values of one cost in an ``array`` (costs, ...): float64, or int64 for integers."""
        return array[self.costs.index(name)].astype(np.float64 if name in self.floats else np.int64)

    def check(self, space: SearchSpace) -> None:
        """Raise ``UsageError`` when this table belongs to another space."""
        if self.space != space.fingerprint:
            raise UsageError(
                f"the cost table belongs to space {self.space}, not to {space.name!r} ({space.fingerprint})."
            )

    def save(self, path: Path) -> None:
        """Write one .npz file; ``load`` reads it back."""
        arrays: dict[str, np.ndarray] = {}
        for b, block in enumerate(self.cells):
            for c, cell in enumerate(block):
                arrays[f"{b}/{c}/first"] = cell.first
                arrays |= {f"{b}/{c}/rest/{i}": layer for i, layer in enumerate(cell.rest)}
        meta = {
            "kind": "costs",
            "schema": SCHEMA,
            "space": self.space,
            "costs": self.costs,
            "floats": self.floats,
            "in_widths": self.in_widths,
            "depths": [[1 + len(cell.rest) for cell in block] for block in self.cells],
            "settings": self.settings,
        }
        write_arrays(path, arrays, meta)

    @classmethod
    def load(cls, path: Path) -> "CostTable":
        """Read ``save``'s file, or one of schema 1; raises ``UsageError`` for anything else."""
        arrays, meta = read_arrays(path, kind="costs", schema=SCHEMA, older=(_STEM_AND_HEAD,))
        if meta["schema"] == _STEM_AND_HEAD:
            arrays, meta = _with_stem_and_head(arrays, meta)
        cells = tuple(
            tuple(
                CellCosts(
                    first=arrays[f"{b}/{c}/first"], rest=tuple(arrays[f"{b}/{c}/rest/{i}"] for i in range(depth - 1))
                )
                for c, depth in enumerate(depths)
            )
            for b, depths in enumerate(meta["depths"])
        )
        return cls(
            space=meta["space"],
            costs=tuple(meta["costs"]),
            in_widths=tuple(tuple(widths) for widths in meta["in_widths"]),
            cells=cells,
            settings=meta["settings"],
            floats=tuple(meta.get("floats", ())),  # older tables have integers only
        )


def _with_stem_and_head(
    arrays: dict[str, np.ndarray], meta: dict[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Schema 1 as schema 2: the stem's costs are part of block 1's, those of the head are a last block."""
    last = len(meta["depths"])
    firsts = {
        f"0/{c}/first": arrays[f"0/{c}/first"] + arrays["stem"][:, None, None] for c in range(len(meta["depths"][0]))
    }
    widths = sorted(int(key.removeprefix("head/")) for key in arrays if key.startswith("head/"))
    head = np.stack([arrays[f"head/{width}"] for width in widths], axis=1)[:, :, None]
    in_widths = [[meta["settings"].get("in_chans", 3)], *meta["in_widths"][1:], widths]
    return (
        arrays | firsts | {f"{last}/0/first": head},
        meta | {"in_widths": in_widths, "depths": [*meta["depths"], [1]]},
    )
