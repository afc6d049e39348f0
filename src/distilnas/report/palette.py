"""Colours that read on white and on near-black; the same thing has the same colour in every picture."""

STUDENT = "#d6336c"
TEACHER = "#7d8794"
OTHERS = "#8b95a1"
_BLOCKS = ("#3b7dd8", "#df7e12", "#2b9a66", "#9b5fd0", "#12a0b3", "#a8763e", "#6a78e0", "#8a9a1b")


def block_colour(index: int) -> str:
    """Colour of block ``index`` (from 0); repeats after eight."""
    return _BLOCKS[index % len(_BLOCKS)]


def faded(colour: str, alpha: float) -> str:
    """``#rrggbb`` as a transparent colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha:g})"
