"""Search problems of the size and shape of DNA's: MBConv costs by formula, ratings that fall with cost, plus noise."""

import numpy as np
from brute_force import last_block

from distilnas.solve import BlockCandidates, CellCandidates, SearchProblem

OPS = [(expand, kernel) for expand in (3, 6) for kernel in (3, 5, 7)]
WIDTHS = ((24, 32), (40, 48), (80, 72), (96, 112), (160, 192), (320, 280))
SIDES = (56, 28, 14, 14, 7, 7)  # output height and width of each block at 224 px
STRIDES = (2, 2, 2, 1, 2, 1)


def mbconv(width_in: int, width_out: int, expand: int, kernel: int, side: int, stride: int) -> tuple[int, int]:
    """MACs and parameters of expansion, depthwise and projection with batch norms (squeeze-excite left out)."""
    hidden = expand * width_in
    weights = width_in * hidden + width_out * hidden + kernel * kernel * hidden
    macs = side * side * (stride * stride * width_in * hidden + (width_out + kernel * kernel) * hidden)
    return macs, weights + 4 * hidden + 2 * width_out


def dna_problem(
    seed: int, *, cells: int, depth: int, many_widths: bool = False, levels: int | None = None
) -> SearchProblem:
    """Six blocks of ``cells`` cells with up to ``depth`` layers (6**depth candidates); ``many_widths`` gives every cell
    a width of its own; ``levels`` rounds ratings to so many distinct values (ties)."""
    rng = np.random.default_rng(seed)
    blocks, in_widths = [], (16,)
    for i, (pair, side, stride) in enumerate(zip(WIDTHS, SIDES, STRIDES, strict=True)):
        made = []
        for c in range(cells):
            width = pair[0] + 4 * c if many_widths else pair[c % 2]
            layers = max(1, depth - (c // 2) % 2)
            made.append(_cell(rng, f"{width}x{layers}", in_widths, width, layers, side, stride, levels))
        blocks.append(BlockCandidates(name=f"block{i + 1}", in_widths=in_widths, cells=tuple(made)))
        in_widths = blocks[-1].out_widths
    head = {"macs": [w * 1280 * 49 for w in in_widths], "params": [w * 1280 + 1_281_000 for w in in_widths]}
    return SearchProblem(blocks=(*blocks, last_block(in_widths, head, list(head))))


def _cell(rng, name, in_widths, width, layers, side, stride, levels) -> CellCandidates:
    digits = np.indices((len(OPS),) * layers).reshape(layers, -1)  # (layers, 6**layers)
    first = np.array([[mbconv(w, width, *op, side, stride) for op in OPS] for w in in_widths])  # (in, ops, 2)
    later = np.array([mbconv(width, width, *op, side, 1) for op in OPS])  # (ops, 2)
    costs = first[:, digits[0]] + later[digits[1:]].sum(axis=0)  # (in, candidates, 2)
    quality = rng.normal(0.05, 0.03, (layers, len(OPS)))
    size = np.log(costs[0, :, 0] / costs[0, :, 0].mean())
    ratings = 0.5 - 0.06 * size - quality[np.arange(layers)[:, None], digits].sum(axis=0)
    ratings = ratings + rng.normal(0, 0.01, ratings.size)
    if levels is not None:
        ratings = np.round(ratings * levels) / levels
    return CellCandidates(
        name=name, width=width, ratings=ratings, costs={"macs": costs[..., 0], "params": costs[..., 1]}
    )
