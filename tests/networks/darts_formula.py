"""Parameters and MACs of a DARTS network from formulas alone: an independent count for the tests.

After the definitions of the released code of DARTS; batch norms with scale and shift; MACs are those of convolutions
and the linear layer. States are counted by walking back from the last cell, not by the package's plan.
"""

from distilnas.space.darts import CellwiseGenotype


def half(side: int, stride: int) -> int:
    return -(-side // stride)


def op_params(op: str, c: int, stride: int) -> int:
    if op.startswith("sep_conv"):
        k = int(op[-1])
        return 2 * (c * k * k + c * c + 2 * c)
    if op.startswith("dil_conv"):
        k = int(op[-1])
        return c * k * k + c * c + 2 * c
    if op == "conv_7x1_1x7":
        return 14 * c * c + 2 * c
    return c * c + 2 * c if op == "skip_connect" and stride == 2 else 0


def op_macs(op: str, c: int, stride: int, side: int) -> int:
    """``side`` is that of the input."""
    out = half(side, stride)
    if op.startswith("sep_conv"):
        return 2 * (c * int(op[-1]) ** 2 + c * c) * out**2
    if op.startswith("dil_conv"):
        return (c * int(op[-1]) ** 2 + c * c) * out**2
    if op == "conv_7x1_1x7":
        return 7 * c * c * side * out + 7 * c * c * out**2
    return c * c * out**2 if op == "skip_connect" and stride == 2 else 0


def stem_counts(stem: str, c: int, side: int) -> tuple[int, int]:
    if stem == "cifar":
        return 27 * 3 * c + 6 * c, 27 * 3 * c * side**2
    a, b, d = half(side, 2), half(half(side, 2), 2), half(half(half(side, 2), 2), 2)
    params = 27 * c // 2 + c + 9 * c // 2 * c + 2 * c + 9 * c * c + 2 * c
    return params, 27 * c // 2 * a**2 + 9 * c // 2 * c * b**2 + 9 * c * c * d**2


def counts(
    genotype: CellwiseGenotype, stem: str, width: int, side: int, classes: int, *, drop_unused: bool = False
) -> tuple[int, int]:
    """(params, MACs) of the network for images of ``side``."""
    cells = genotype.cells
    reductions = (len(cells) // 3, 2 * len(cells) // 3)

    def needed(k: int) -> set[int]:
        return {k}.union(*(needed(k - 2 + i) for i in cells[k].reads if k - 2 + i >= 0))

    living = needed(len(cells) - 1)
    params, macs = stem_counts(stem, width, side)
    channels = {-2: width, -1: width} if stem == "imagenet" else {-2: 3 * width, -1: 3 * width}
    if stem == "imagenet":
        side = half(half(half(side, 2), 2), 2)
    for k, cell in enumerate(cells):
        width *= 2 if k in reductions else 1
        if k in living:
            for i in (0, 1):
                source = k - 2 + i
                if source in channels and (i in cell.reads or not drop_unused):
                    params += channels[source] * width + 2 * width
                    macs += channels[source] * width * side**2
            for node in cell.nodes:
                for edge in node:
                    stride = 2 if k in reductions and edge.input < 2 else 1
                    at = half(side, 2) if k in reductions and edge.input >= 2 else side
                    params += op_params(edge.op, width, stride)
                    macs += op_macs(edge.op, width, stride, at)
            channels[k] = width * len(cell.concat)
        side = half(side, 2) if k in reductions else side
    features = channels[len(cells) - 1]
    return params + features * classes + classes, macs + features * classes
