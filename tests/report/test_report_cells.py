"""The drawing of DARTS cells: a line for every op, a dot for every state, and what is left out of the network."""

from xml.etree import ElementTree as ET

from distilnas.report.cells import draw_cells
from distilnas.space.darts import DartsArchitecture

SVG = "{http://www.w3.org/2000/svg}"
CELL = "s3-0 sk-0 d5-1 | sk-2"
SKIPPING = "s3-0 | sk-2"  # does not read the cell before it


def drawn(text: str, resolution: int | None = 32) -> ET.Element:
    return ET.fromstring(draw_cells(DartsArchitecture.parse(text), resolution=resolution))


def groups(svg: ET.Element) -> list[ET.Element]:
    return [group for group in svg.iter(f"{SVG}g") if "cell" in group.attrib["class"].split()]


def texts(parent: ET.Element, kind: str) -> list[str]:
    return [text.text or "" for text in parent.iter(f"{SVG}text") if text.attrib["class"] == kind]


def test_every_op_is_a_line_and_every_state_a_dot() -> None:
    svg = drawn(f"darts cifar 4x3 ; {CELL} ; {CELL} ; {CELL}")
    for cell in groups(svg):
        edges = list(cell.iter(f"{SVG}path"))
        assert [edge.find(f"{SVG}title").text for edge in edges] == [  # type: ignore[union-attr]
            "skip_connect: state 0 to node 1",
            "sep_conv_3x3: state 0 to node 1",
            "dil_conv_5x5: state 1 to node 1",
            "skip_connect: state 2 to node 2",
        ]
        assert len({edge.attrib["d"] for edge in edges}) == len(edges), "ops that join the same two are apart"
        assert texts(cell, "op") == ["k−2", "k−1", "1", "2"]
    assert texts(svg, "key") == ["skip connect (6)", "sep conv 3x3 (3)", "dil conv 5x5 (3)"]


def test_sizes_follow_the_reductions() -> None:
    svg = drawn(f"darts cifar 4x3 ; {CELL} ; {CELL} ; {CELL}")
    assert texts(svg, "name") == ["cell 1", "cell 2, ↓2", "cell 3, ↓2"]
    assert texts(svg, "size") == ["4 ch a node, 32 px", "8 ch a node, 16 px", "16 ch a node, 8 px"]


def test_a_cell_that_none_reads_is_said_to_be_left_out() -> None:
    svg = drawn(f"darts cifar 4x3 ; {CELL} ; {CELL} ; {SKIPPING}")
    assert [group.attrib["class"] for group in groups(svg)] == ["cell", "cell unread", "cell"]
    assert texts(svg, "name")[1] == "cell 2: read by none, left out"


def test_cells_that_are_alike_are_drawn_once() -> None:
    pair = "s3-0 s3-1 | sk-0 sk-2"
    svg = drawn(f"darts cifar 4x5 ; N: {pair} ; R: {pair}")
    assert texts(svg, "name") == ["normal cells", "reduction cells, ↓2"]


def test_all_is_within_the_picture() -> None:
    svg = drawn(" ; ".join(["darts cifar 4x6", *[CELL] * 6]))
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    places = [group.attrib["transform"][10:-1].split(",") for group in groups(svg)]
    assert all(float(x) + 260 <= width and float(y) + 190 <= height for x, y in places)
