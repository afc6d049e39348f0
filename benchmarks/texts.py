"""What scripts write into pages: tables in Markdown, and texts between markers."""

from collections.abc import Iterable, Mapping
from pathlib import Path

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
