"""What the pictures of the pages of results are made with."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "distilnas", "svg.fonttype": "none", "axes.spines.top": False}
import matplotlib.pyplot as plt  # noqa: E402


def save(figure: plt.Figure, path: Path) -> None:
    """Write a picture that is the same every time, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None}, dpi=130)
    plt.close(figure)
