"""The cost table: what every layer of every candidate costs, as integers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distilnas.errors import UsageError
from distilnas.space import Choice, SearchSpace
from distilnas.tables.files import read_arrays, write_arrays

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class CellCosts:
    """Costs of one cell, layer by layer.

    ``first``: (costs, in_widths, ops) of the first layer, which depends on the width the previous block emits.
    ``rest``: for each later layer (costs, ops).
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
        return sum(later, start=self.first[:, in_width, path[0]])


@dataclass(frozen=True, kw_only=True, eq=False)
class CostTable:
    """Costs of a search space at one resolution and number of classes.

    ``costs`` names the costs in the order of every array's first axis. ``stem`` (costs,) is always paid, ``head`` maps
    the last block's width to (costs,), ``cells[block][cell]`` hold the searched layers, ``in_widths[block]`` the widths
    that index their second axis.
    """

    space: str
    costs: tuple[str, ...]
    in_widths: tuple[tuple[int, ...], ...]
    stem: np.ndarray
    head: dict[int, np.ndarray]
    cells: tuple[tuple[CellCosts, ...], ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def total(self, space: SearchSpace, choice: Choice) -> dict[str, int]:
        """Costs of the whole network of ``choice``: the sum along the chain of blocks."""
        self.check(space)
        total = self.stem.copy()
        width = space.stem.out_width
        for b, candidate in enumerate(choice):
            total += self.cells[b][candidate.cell].path(self.in_widths[b].index(width), candidate.path)
            width = space.blocks[b].cells[candidate.cell].width
        total += self.head[width]
        return {name: int(value) for name, value in zip(self.costs, total, strict=True)}

    def check(self, space: SearchSpace) -> None:
        """Raise ``UsageError`` when this table belongs to another space."""
        if self.space != space.fingerprint:
            raise UsageError(
                f"the cost table belongs to space {self.space}, not to {space.name!r} ({space.fingerprint})."
            )

    def save(self, path: Path) -> None:
        """Write one .npz file; ``load`` reads it back."""
        arrays: dict[str, np.ndarray] = {"stem": self.stem}
        arrays |= {f"head/{width}": value for width, value in self.head.items()}
        for b, block in enumerate(self.cells):
            for c, cell in enumerate(block):
                arrays[f"{b}/{c}/first"] = cell.first
                arrays |= {f"{b}/{c}/rest/{i}": layer for i, layer in enumerate(cell.rest)}
        meta = {
            "kind": "costs",
            "schema": SCHEMA,
            "space": self.space,
            "costs": self.costs,
            "in_widths": self.in_widths,
            "depths": [[1 + len(cell.rest) for cell in block] for block in self.cells],
            "settings": self.settings,
        }
        write_arrays(path, arrays, meta)

    @classmethod
    def load(cls, path: Path) -> "CostTable":
        """Read ``save``'s file; raises ``UsageError`` for anything else."""
        arrays, meta = read_arrays(path, kind="costs", schema=SCHEMA)
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
            stem=arrays["stem"],
            head={int(key.removeprefix("head/")): value for key, value in arrays.items() if key.startswith("head/")},
            cells=cells,
            settings=meta["settings"],
        )
