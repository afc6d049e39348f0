"""The tables of docs/results/head-to-head.md from the records of ``benchmarks.head_to_head``.

``python -m benchmarks.head_to_head_page`` fills them in again.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from statistics import mean, stdev
from typing import Any

from benchmarks.head_to_head import ARMS, RESULTS
from benchmarks.texts import DOCS, fill, markdown

TITLES = {
    "ours": "**distilnas shrink**",
    "depth-cut": "depth cut (below its reach with thinner units)",
    "uniform-inner-width": "uniform inner width, magnitude",
    "torch-pruning-uniform": "Torch-Pruning, uniform, magnitude",
    "torch-pruning-taylor": "Torch-Pruning, global, Taylor",
    "lower-resolution": "lower resolution",
    "truncation": "truncation, new classifier",
    "random-of-library": "random network of our library, repaired",
}
HEADER = ["network", "of the MACs", "parameters", "untrained", "1 epoch*", "2 epochs*", "at the end", "seeds"]
HEADER += ["learning rate", "core-seconds"]


def rows_of(records: Iterable[dict[str, Any]], share: float) -> list[list[str]]:
    """One row an arm that has records at this share of the MACs."""
    by_arm = defaultdict(list)
    for record in records:
        if record["share"] == share:
            by_arm[record["arm"]].append(record)
    return [_row(arm, by_arm[arm]) for arm in ("ours", *ARMS) if arm in by_arm]


def _row(arm: str, records: list[dict[str, Any]]) -> list[str]:
    whole = records[0]["limit"] / (records[0]["share"] / 100)
    untrained = [record["closed_form" if arm == "ours" else "top1_before"] for record in records]
    trained = [record["top1"] for record in records]
    rounds = [[epoch["val_top1"] for epoch in record["rounds"]] for record in records]
    return [
        TITLES[arm],
        f"{100 * mean(record['macs'] for record in records) / whole:.1f} %",
        f"{mean(record['params'] for record in records) / 1e6:.2f} M",
        f"{mean(untrained):.1f}",
        f"{mean(epochs[0] for epochs in rounds):.1f}",
        f"{mean(epochs[1] for epochs in rounds):.1f}",
        f"**{mean(trained):.1f}**" + (f" +- {stdev(trained):.1f}" if len(trained) > 1 else ""),
        str(len(records)),
        ", ".join(sorted({f"{record['lr']:g}" for record in records})),
        f"{mean(map(_seconds, records)):.0f}",
    ]


def _seconds(record: dict[str, Any]) -> float:
    """Of search and recovery; ours has one library, and its recoveries are timed together."""
    if record["arm"] != "ours":
        return record["search_seconds"] + record["recovery_seconds"]
    return sum(record["seconds"][name] for name in ("library", "choose", "trial", "recover")) / record["budgets"]


def main() -> None:
    """Fill the page."""
    tables = {}
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        files = [path for path in sorted(folder.glob("*.json")) if not path.stem.endswith("-tuning")]
        records = [json.loads(path.read_text()) for path in files]
        for share in sorted({record["share"] for record in records}, reverse=True):
            tables[f"{folder.name} {share:g}"] = markdown(HEADER, rows_of(records, share))
    fill(DOCS / "head-to-head.md", tables)


if __name__ == "__main__":
    main()
