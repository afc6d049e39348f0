"""``distilnas push``: an exported student to a model hub."""

from pathlib import Path
from typing import Annotated

import typer

from distilnas.cli.console import JsonOption, VerboseOption, console, print_json


def push(
    folder: Annotated[Path, typer.Argument(help="An exported student: RUN/students/NAME/export.")],
    repo: Annotated[str, typer.Option(help="Repository on the hub, OWNER/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="Only for those who may see it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the files and the page; send nothing.")] = False,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Upload a student with a page of its own to the Hugging Face hub, in one commit."""
    from distilnas.export import hub
    from distilnas.export.card import CARD

    upload = hub.prepare(folder, repo)
    sizes = {name: path.stat().st_size for name, path in upload.files.items()} | {CARD: len(upload.card.encode())}
    record = {"repo": repo, "files": sizes, "url": None if dry_run else hub.push(upload, private=private)}
    if json:
        print_json(record)
        return
    for name, size in sizes.items():
        console.print(f"  {name:20s}{size:>12,} bytes", highlight=False)
    console.print(upload.card if dry_run else record["url"], highlight=False, soft_wrap=True)
