"""The cells of a DARTS network as one inline SVG: dots are states, lines are ops, coloured by op."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from distilnas.report.palette import OTHERS, block_colour
from distilnas.space.darts import OPS, CellPlan, DartsArchitecture, DartsCell, Edge, Genotype, plan_cells

_WIDTH, _HEIGHT, _TOP, _COLUMNS = 260, 214, 34, 4
_FIRST, _STEP = 78.0, 42.0
_MIDDLE = 116.0
_COLOURS = {op: OTHERS if op == "skip_connect" else block_colour(n) for n, op in enumerate(OPS)}


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """A cell under its title; None where nothing reads it, so that it is no part of the network."""

    title: str
    cell: DartsCell
    plan: CellPlan | None


def draw_cells(architecture: DartsArchitecture, *, resolution: int | None = None) -> str:
    """SVG text: one group of class ``cell`` per cell, with a path of class ``edge`` per op and a circle per state.

    In the DARTS form, where cells of a kind are alike, one normal and one reduction cell. ``resolution`` is the input's
    side in pixels; without it sizes are written as fractions of the input.
    """
    drawn = _cells(architecture)
    rows = math.ceil(len(drawn) / _COLUMNS)
    width, height = min(len(drawn), _COLUMNS) * _WIDTH, _TOP + rows * _HEIGHT
    svg = ET.Element("svg", {"class": "architecture cells", "xmlns": "http://www.w3.org/2000/svg", "role": "img"})
    svg.attrib |= {"viewBox": f"0 0 {width} {height}", "style": f"min-width: {0.7 * width:.0f}px; max-width: {width}px"}
    ET.SubElement(svg, "title").text = "The cells of the network"
    _draw_legend(svg, [edge.op for found in drawn for node in found.cell.nodes for edge in node])
    for n, found in enumerate(drawn):
        place = f"translate({n % _COLUMNS * _WIDTH}, {_TOP + n // _COLUMNS * _HEIGHT})"
        kind = "cell" if found.plan else "cell unread"
        _draw_cell(ET.SubElement(svg, "g", {"class": kind, "transform": place}), found, resolution)
    return ET.tostring(svg, encoding="unicode")


def _cells(architecture: DartsArchitecture) -> list[_Drawn]:
    plans = {plan.index: plan for plan in plan_cells(architecture)}
    genotype = architecture.genotype
    if isinstance(genotype, Genotype):
        kinds = (("normal cells", genotype.normal, False), ("reduction cells", genotype.reduce, True))
        return [
            _Drawn(title=title, cell=cell, plan=next((p for p in plans.values() if p.reduces == reduces), None))
            for title, cell, reduces in kinds
        ]
    return [_Drawn(title=f"cell {k + 1}", cell=cell, plan=plans.get(k)) for k, cell in enumerate(genotype.cells)]


def _draw_legend(svg: ET.Element, ops: Sequence[str]) -> None:
    x = 12.0
    for op, number in sorted(Counter(ops).items(), key=lambda item: OPS.index(item[0])):
        ET.SubElement(svg, "path", {"class": "edge", "d": f"M {x} 14 h 18", "stroke": _COLOURS[op]})
        text = f"{op.replace('_', ' ')} ({number})"
        ET.SubElement(svg, "text", {"class": "key", "x": f"{x + 24}", "y": "18"}).text = text
        x += 44 + 6.4 * len(text)


def _draw_cell(group: ET.Element, found: _Drawn, resolution: int | None) -> None:
    _text(group, f"{found.title}{_note(found.plan)}", _WIDTH / 2, 12, "name")
    _text(group, _size(found.plan, resolution), _WIDTH / 2, 28, "size")
    between: Counter[tuple[int, int]] = Counter()
    for state, node in enumerate(found.cell.nodes, start=2):
        for edge in node:
            _draw_edge(group, edge, state, between[edge.input, state])
            between[edge.input, state] += 1
    for state, name in enumerate(("k−2", "k−1", *(str(n + 1) for n in range(len(found.cell.nodes))))):
        x, y = _place(state)
        read = state < 2 or state in found.cell.concat
        circle = {"class": "state" if read else "state inner", "cx": f"{x:g}", "cy": f"{y:g}", "r": "11"}
        ET.SubElement(group, "circle", circle)
        _text(group, name, x, y + 4, "op")


def _note(plan: CellPlan | None) -> str:
    if plan is None:
        return ": read by none, left out"
    return ", ↓2" if plan.reduces else ""


def _size(plan: CellPlan | None, resolution: int | None) -> str:
    if plan is None:
        return ""
    side = f"{math.ceil(resolution / plan.reduction)} px" if resolution else f"1/{plan.reduction}"
    return f"{plan.width} ch a node, {side}"


def _place(state: int) -> tuple[float, float]:
    """Centre of a state: the inputs one above the other on the left, the nodes in a row."""
    return (24.0, _MIDDLE - 42 + 84 * state) if state < 2 else (_FIRST + _STEP * (state - 2), _MIDDLE)


def _draw_edge(group: ET.Element, edge: Edge, state: int, before: int) -> None:
    """A curve from the read state to the node, above the row for even states and below for odd ones; further out where
    it passes other nodes, and where ``before`` other ops join the same two."""
    (x0, y0), (x1, y1) = _place(edge.input), _place(state)
    passed = state - 1 - max(edge.input, 1)
    bend = (-1 if edge.input % 2 == 0 else 1) * (26 * passed + 16 * before)
    path = f"M {x0:g} {y0:g} Q {(x0 + x1) / 2:g} {(y0 + y1) / 2 + bend:g} {x1:g} {y1:g}"
    line = ET.SubElement(group, "path", {"class": "edge", "d": path, "stroke": _COLOURS[edge.op]})
    ET.SubElement(line, "title").text = f"{edge.op}: state {edge.input} to node {state - 1}"


def _text(parent: ET.Element, text: str, x: float, y: float, kind: str) -> None:
    ET.SubElement(parent, "text", {"x": f"{x:g}", "y": f"{y:g}", "class": kind}).text = text
