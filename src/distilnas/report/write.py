"""From a folder to its report, whatever kind of run lies in it."""

from pathlib import Path

from distilnas.checksums import note
from distilnas.files import write_text
from distilnas.records.files import recipe_of
from distilnas.report.darts import read_darts
from distilnas.report.darts_page import darts_page
from distilnas.report.page import render
from distilnas.report.read import read_run
from distilnas.report.rounds import read_rounds
from distilnas.report.rounds_page import rounds_page
from distilnas.report.run_page import run_page
from distilnas.report.shrunk import read_shrunk
from distilnas.report.shrunk_page import shrunk_page


def write_report(run_folder: Path, out: Path | None = None) -> Path:
    """Write the report of a finished or partly finished run to ``out`` (default ``report.html`` in the folder).

    A search (recipes ``dna`` and ``dnad``), a shrinking (``shrink``), the training of one network (``retrain``) or
    rounds of both (``progressive``). The file works offline: scripts, styles and data are inside, and its security
    policy forbids loading anything. Parts whose step has not run are replaced by the command that makes them. Returns
    the path; raises ``UsageError`` when the folder is no run, an artefact is damaged, or ``out`` cannot be written.
    """
    path = out or run_folder / "report.html"
    match recipe_of(run_folder):
        case "progressive":
            page = rounds_page(read_rounds(run_folder), path.parent)
        case "dnad":
            page = darts_page(read_darts(run_folder))
        case "shrink":
            page = shrunk_page(read_shrunk(run_folder))
        case _:
            page = run_page(read_run(run_folder))
    write_text(path, render(page))
    if out is None:
        note(run_folder, path.name)
    return path
