"""What the pages of results are made with: tables in Markdown between markers, and pictures."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "distilnas", "svg.fonttype": "none", "axes.spines.top": False}
import matplotlib.pyplot as plt  # noqa: E402

DOCS = Path(__file__).parent.parent / "docs" / "results"


def markdown(header: list[str], rows: Iterable[list[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fill(page: Path, tables: Mapping[str, str]) -> None:
    """Replace what stands on ``page`` between ``<!-- NAME -->`` and ``<!-- end -->``; names that it lacks are left."""
    text = page.read_text()
    for name, table in tables.items():
        marker = f"<!-- {name} -->\n"
        if marker in text:
            before, after = text.split(marker)
            text = f"{before}{marker}{table}\n<!-- end -->{after.split('<!-- end -->', 1)[1]}"
    page.write_text(text)


def save(figure: plt.Figure, path: Path) -> None:
    """Write a picture that is the same every time, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None}, dpi=130)
    plt.close(figure)
