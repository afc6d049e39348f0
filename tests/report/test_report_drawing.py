"""The drawing of an architecture: boxes, captions, sizes."""

from xml.etree import ElementTree as ET

import pytest

from distilnas.report.drawing import draw_architecture
from distilnas.space import Architecture

# DNA-like text; the expected sizes below follow from the strides by hand.
BLOCKS = "24/2 mb_k5_e3_silu id mb_k3_e6_se0.25_silu | 40/2 mb_k7_e6_silu"
TEXT = f"stem 32/2 silu mb_k3_e1_se0.25_silu:16/1 | {BLOCKS} | head 1280 silu"
SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str = TEXT, resolution: int | None = 224) -> ET.Element:
    return ET.fromstring(draw_architecture(Architecture.parse(text), resolution=resolution))


def boxes(svg: ET.Element, kind: str) -> list[ET.Element]:
    return [rect for rect in svg.iter(f"{SVG}rect") if kind in rect.attrib["class"].split()]


def texts(svg: ET.Element, kind: str) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text") if text.attrib["class"] == kind]


def test_one_box_per_layer() -> None:
    assert len(boxes(drawn(), "layer")) == Architecture.parse(TEXT).depth == 4
    assert len(boxes(drawn(), "identity")) == 1
    assert len(boxes(drawn(), "fixed")) == 3


def test_layers_are_labelled_in_order() -> None:
    expected = ["conv", "k3", "k3", "e1", "SE", "k5", "e3", "id", "k3", "e6", "SE", "k7", "e6", "conv", "k1"]
    assert texts(drawn(), "op") == expected


def test_sizes_follow_the_strides() -> None:
    assert texts(drawn(), "name") == ["stem", "block 1", "block 2", "head"]
    assert texts(drawn(), "size") == ["16 ch", "112 px", "24 ch", "56 px", "40 ch", "28 px", "1280 ch", "28 px"]
    assert texts(drawn(resolution=None), "size")[1::2] == ["1/2", "1/4", "1/8", "1/8"]
    assert texts(drawn(), "stride") == ["↓2", "↓2", "↓2"]


def test_wider_is_taller_and_nothing_overlaps() -> None:
    layers = boxes(drawn(), "layer")
    heights = [float(rect.attrib["height"]) for rect in layers]
    assert heights[0] == heights[1] == heights[2] < heights[3]
    every = list(drawn().iter(f"{SVG}rect"))
    ends = [float(rect.attrib["x"]) + float(rect.attrib["width"]) for rect in every]
    starts = [float(rect.attrib["x"]) for rect in every]
    assert all(end < start for end, start in zip(ends, starts[1:], strict=False))
    assert ends[-1] < float(drawn().attrib["viewBox"].split()[2])


@pytest.mark.parametrize("width", [8, 512])
def test_equal_widths_are_drawn(width: int) -> None:
    svg = drawn(f"stem {width}/1 silu | {width}/1 id | head {width} silu")
    assert len({rect.attrib["height"] for rect in svg.iter(f"{SVG}rect")}) == 1
