"""One HTML file that tells what a run found; made from the artefacts of its folder alone."""

from distilnas.report.write import write_report

__all__ = ["write_report"]
