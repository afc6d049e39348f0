"""An architecture as an inline SVG: layers from left to right, box height by width (channels), colour by block."""

import itertools
import math
from collections.abc import Callable, Sequence
from xml.etree import ElementTree as ET

from distilnas.report.cells import draw_cells
from distilnas.report.palette import block_colour
from distilnas.space import Architecture, Box
from distilnas.space.darts import AnyArchitecture, DartsArchitecture

_BOX, _GAP, _BLOCK_GAP, _MARGIN = 40, 5, 20, 8
_LOW, _HIGH = 52, 150
_MIDDLE = 24 + _HIGH / 2
_HEIGHT = _MIDDLE + _HIGH / 2 + 56


def draw_architecture(architecture: AnyArchitecture, *, resolution: int | None = None) -> str:
    """SVG text of an architecture of any kind."""
    return _DRAWINGS[architecture.kind](architecture, resolution=resolution)


def draw_layers(architecture: Architecture, *, resolution: int | None = None) -> str:
    """SVG text with one ``rect`` of class ``layer`` per searched layer, and ``fixed`` ones for stem and head.

    ``resolution`` is the input's side in pixels; without it sizes are written as fractions of the input.
    """
    drawn = [block.boxes() for block in architecture.blocks]
    pen = _Pen([box.width for boxes in drawn for box in boxes], resolution)
    for b, boxes in enumerate(drawn):
        for group, members in itertools.groupby(boxes, key=lambda box: box.group):
            for box in members:
                pen.box(box, block=None if group else b)
                last = box
            pen.caption(group or f"block {b + 1}", last.width)
    return pen.finish()


_DRAWINGS: dict[str, Callable[..., str]] = {Architecture.kind: draw_layers, DartsArchitecture.kind: draw_cells}


class _Pen:
    """Draws boxes in a row and captions below the boxes drawn since the last caption."""

    def __init__(self, widths: Sequence[int], resolution: int | None) -> None:
        self.svg = ET.Element("svg", {"class": "architecture", "xmlns": "http://www.w3.org/2000/svg", "role": "img"})
        ET.SubElement(self.svg, "title").text = "The student network, layer by layer"
        self.low, self.high = math.log(min(widths)), math.log(max(widths))
        self.resolution, self.reduction = resolution, 1
        self.x = self.group_start = float(_MARGIN)

    def box(self, box: Box, *, block: int | None) -> None:
        """One box, in the colour of its block (from 0); None: it was not searched."""
        share = (math.log(box.width) - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        height = _LOW + share * (_HIGH - _LOW)
        group = ET.SubElement(self.svg, "g")
        ET.SubElement(group, "title").text = box.title if block is None else f"block {block + 1}, {box.title}"
        kind = "fixed" if block is None else "layer identity" if box.dashed else "layer"
        rect = {"class": kind, "x": self.x, "y": _MIDDLE - height / 2, "width": _BOX, "height": height, "rx": 6}
        if block is not None:
            rect["style"] = f"--block: {block_colour(block)}"
        ET.SubElement(group, "rect", {key: str(value) for key, value in rect.items()})
        for n, word in enumerate(box.words):
            self._text(group, word, self.x + _BOX / 2, _MIDDLE + 4 + 15 * (n - (len(box.words) - 1) / 2), "op")
        if box.stride > 1:
            self._text(group, f"↓{box.stride}", self.x + _BOX / 2, _MIDDLE - height / 2 - 6, "stride")
        self.reduction *= box.stride
        self.x += _BOX + _GAP

    def caption(self, name: str, width: int) -> None:
        centre = (self.group_start + self.x - _GAP) / 2
        side = f"{math.ceil(self.resolution / self.reduction)} px" if self.resolution else f"1/{self.reduction}"
        for n, (text, kind) in enumerate(((name, "name"), (f"{width} ch", "size"), (side, "size"))):
            self._text(self.svg, text, centre, _MIDDLE + _HIGH / 2 + 18 + 16 * n, kind)
        self.x += _BLOCK_GAP - _GAP
        self.group_start = self.x

    def finish(self) -> str:
        width = self.x - _BLOCK_GAP + _MARGIN
        self.svg.attrib |= {
            "viewBox": f"0 0 {width:.0f} {_HEIGHT:.0f}",
            "style": f"min-width: {0.75 * width:.0f}px; max-width: {1.2 * width:.0f}px",
        }
        return ET.tostring(self.svg, encoding="unicode")

    @staticmethod
    def _text(parent: ET.Element, text: str, x: float, y: float, kind: str) -> None:
        ET.SubElement(parent, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": kind}).text = text
