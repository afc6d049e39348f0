"""For the site: links from a page to files outside docs/ must exist in the checkout, and become plain names."""

import logging
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")
_log = logging.getLogger("mkdocs.hooks")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by MkDocs with each page's text."""
    folder = Path(page.file.abs_src_path).parent

    def plain(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return match[0]
        if not target.is_relative_to(ROOT) or not target.exists():
            _log.warning("%s links to %s, which is not there", page.file.src_uri, match[2])
            return match[1]
        return f"{match[1]} (`{target.relative_to(ROOT)}`)"

    return _LINK.sub(plain, markdown)
