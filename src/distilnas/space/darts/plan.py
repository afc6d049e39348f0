"""The plan of a DARTS network: for every cell its widths, its resolution and what becomes of its inputs; no torch.

What no one reads is left out. A cell lives if a later living cell reads it (as c_{k-1} by the next, as c_{k-2} by the
one after) or if it is the last. A dead cell is removed, but keeps its place in the numbering: the schedule of widths
and reductions is that of the full network, and its readers' other inputs stay what they were.
"""

from dataclasses import dataclass

from distilnas.space.darts.architecture import DartsArchitecture
from distilnas.space.darts.genotype import DartsCell, reduction_cells


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """One living cell.

    Args:
        index: place in the network, from 0; dead cells count.
        width: channels C of every node.
        in_widths: channels of the inputs c_{k-2} and c_{k-1}; None: the input is not preprocessed, because its cell was
            removed or (``drop_unused``) no node reads it.
        reduces: edges from the inputs have stride 2.
        after_reduction: c_{k-2} comes at twice the resolution of c_{k-1}.
        reduction: image side over the side of the cell's output.
    """

    index: int
    cell: DartsCell
    width: int
    in_widths: tuple[int | None, int | None]
    reduces: bool
    after_reduction: bool
    reduction: int

    @property
    def out_width(self) -> int:
        """Channels of the cell's output."""
        return self.width * len(self.cell.concat)


def plan_cells(architecture: DartsArchitecture) -> tuple[CellPlan, ...]:
    """The living cells of a network in order."""
    cells = architecture.genotype.expand(architecture.num_cells).cells
    first, second = reduction_cells(len(cells))
    living = _living(cells)
    imagenet = architecture.stem == "imagenet"
    stem_width = architecture.width * (1 if imagenet else 3)
    widths: list[int | None] = [stem_width, stem_width]  # of all states so far: the stem's two, then each cell's
    plans: list[CellPlan] = []
    for k, cell in enumerate(cells):
        halvings = (k >= first) + (k >= second)
        inputs = [None if architecture.drop_unused and i not in cell.reads else widths[k + i] for i in (0, 1)]
        plan = CellPlan(
            index=k,
            cell=cell,
            width=architecture.width * 2**halvings,
            in_widths=(inputs[0], inputs[1]),
            reduces=k in (first, second),
            after_reduction=k - 1 in (first, second) or (k == 0 and imagenet),
            reduction=(8 if imagenet else 1) * 2**halvings,
        )
        widths.append(plan.out_width if living[k] else None)
        plans.append(plan)
    return tuple(plan for plan in plans if living[plan.index])


def auxiliary_cell(plans: tuple[CellPlan, ...], num_cells: int) -> CellPlan:
    """The cell that the auxiliary head reads: 2 L // 3 as in DARTS, or the first living one after it."""
    return next(plan for plan in plans if plan.index >= reduction_cells(num_cells)[1])


def _living(cells: tuple[DartsCell, ...]) -> list[bool]:
    """Which cells are read, directly or through others, by the classifier (which reads the last)."""
    living = [False] * len(cells)
    living[-1] = True
    for k in reversed(range(len(cells))):
        if living[k]:
            for state in cells[k].reads:
                if k - 2 + state >= 0:
                    living[k - 2 + state] = True
    return living
