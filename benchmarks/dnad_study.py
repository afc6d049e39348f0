"""DNAD against SNPS, DARTS and DNA: CIFAR-10 on two CPU cores, networks of equal size trained equally.

    python -m benchmarks.dnad_study RUNS --images c10 --teacher teacher.safetensors [--seeds 0 1]

1. The recipe ``dnad-cifar10-small`` searches three times with as many passes over batches: DNAD; SNPS, the same without
   a teacher; DARTS of first order.
2. The budgets: the multiply-adds of the network of DARTS, and the most that both fronts of DNAD and SNPS have. For each
   the network of DNAD and SNPS with the best held-out accuracy is taken, under the first also random ones.
3. DNA searches the space ``small-images`` under the same teacher (``--dna-epochs`` so that it takes about as long as
   DNAD) and gives its best networks within both budgets.
4. All of them are trained from scratch in the same way by the recipe ``retrain``.

What the page on the results needs is kept in ``results/dnad``.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.search_study import drawn
from distilnas.costing import cost_table
from distilnas.files import read_json, write_json, write_text
from distilnas.methods.dnad.costs import derived_counts
from distilnas.recipes.catalogue import load_settings
from distilnas.runtime.provenance import provenance
from distilnas.runtime.seeds import derive_rng
from distilnas.runtime.store import key_of
from distilnas.solve import Limit
from distilnas.space import find_space
from distilnas.space.darts.space import DartsSpace

RESULTS = Path(__file__).parent / "results" / "dnad"
CONFIG, DNA, RETRAIN = "dnad-cifar10-small", "dna-cifar10-small", "dnad-cifar10-retrain"
SEARCHES = {
    "dnad": (),
    "snps": ("search.shrink.imitation.kappa=0",),
    "darts": ("search.method=bilevel",),
}
DNA_SPACE = "small-images"
NEAR = 0.85  # networks compared under a budget have at least this share of it
RANDOM = 2
PATIENCE = 100_000  # draws


def distilnas(*arguments: str) -> None:
    """Run the command line in a process of its own."""
    subprocess.run((sys.executable, "-m", "distilnas", *arguments), check=True)


class Study:
    """One seed of the comparison in a folder."""

    def __init__(self, folder: Path, images: Path, teacher: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.given = (f"data.path={images}", f"seed={seed}")
        self.taught = (f"teacher.weights={teacher}", "teacher.fit=null")
        self.settings = load_settings(CONFIG, (*self.given, *self.taught))
        self.space: DartsSpace = self.settings.space.resolve()

    def search(self, method: str) -> list[dict[str, Any]]:
        """The networks that a method of the DARTS space hands over."""
        run = self.folder / method
        distilnas("search", CONFIG, "--run", str(run), *self.given, *self.taught, *SEARCHES[method])
        return read_json(run / "search" / "networks.json")

    def seconds(self, method: str) -> float:
        """How long its search took."""
        return read_json(self.folder / method / "search" / "step.json")["seconds"]

    def history(self, method: str) -> dict[str, Any]:
        """Its losses and, where it shrinks, pressure and size, epoch by epoch."""
        return read_json(self.folder / method / "search" / "history.json")

    def random(self, budget: int, number: int) -> list[dict[str, Any]]:
        """Genotypes of the space, every candidate kept with a chance drawn anew each time, near the budget."""
        rng = derive_rng(self.seed, 41)
        width = self.settings.search.shrink.evaluation_width
        found: list[dict[str, Any]] = []
        for _ in range(PATIENCE):
            kept = rng.random((self.space.rows, self.space.columns)) < rng.uniform(0.05, 0.5)
            for row, candidates in zip(kept, self.space.candidates * self.space.num_cells, strict=True):
                row[rng.integers(len(candidates))] = True
            architecture = self.space.architecture(self.space.genotype(kept.tolist()), width=width)
            params, macs = derived_counts(architecture, resolution=32, num_classes=10)
            if NEAR * budget <= macs <= budget:
                found.append({"architecture": str(architecture), "params": params, "macs": macs})
            if len(found) == number:
                return found
        raise SystemExit(f"no {number} random networks near {budget:,} multiply-adds in {PATIENCE:,} draws")

    def random_dna(self, budget: int) -> dict[str, Any]:
        """A random network of DNA's space near the budget."""
        space = find_space(DNA_SPACE)
        costs = cost_table(space, resolution=32, num_classes=10)
        choice = drawn(space, costs, Limit(cost="macs", min=int(NEAR * budget), max=budget), 1)[0]
        return {"architecture": str(space.architecture(choice)), **costs.total(space, choice)}

    def dna(self, budget: int, epochs: int) -> dict[str, Any]:
        """DNA's best network under a budget, and the seconds of its distillation and rating."""
        run = self.folder / "dna"
        limits = (f"solve.max_macs={budget}", f"distill.epochs={epochs}")
        distilnas("solve", DNA, "--run", str(run), *self.given, *self.taught, *limits)
        solution = read_json(run / "solve" / "solution.json")["solution"]
        seconds = sum(read_json(run / step / "step.json")["seconds"] for step in ("distill", "rate"))
        return {"architecture": solution["architecture"], **solution["costs"], "seconds": seconds}

    def train(self, name: str, architecture: str) -> float:
        """Train a network from scratch; test accuracy in percent."""
        file = self.folder / "networks" / f"{name}.txt"
        write_text(file, architecture)
        given = self.settings.to_dict()
        network = {"zoo": None, "variant": None, "file": str(file), "resolution": 32}
        same = {"network": network} | {key: given[key] for key in ("data", "retrain", "auxiliary_weight", "runtime")}
        overrides = [f"{key}={json.dumps(value)}" for key, value in same.items()]
        run = self.folder / "trained" / name
        distilnas("run", RETRAIN, "--run", str(run), f"seed={self.seed}", *overrides)
        return read_json(run / "summary.json")["student"]["top1"]


def best_near(networks: list[dict[str, Any]], budget: int) -> dict[str, Any] | None:
    """The best by held-out accuracy of those with NEAR to all of a budget."""
    near = [network for network in networks if NEAR * budget <= network["macs"] <= budget]
    return max(near, key=lambda network: network["accuracy"], default=None)


def compare(study: Study, dna_epochs: int) -> dict[str, Any]:
    """All four methods and random networks under both budgets."""
    found = {method: study.search(method) for method in SEARCHES}
    seconds = {method: study.seconds(method) for method in SEARCHES}
    fronts = [[n["macs"] for n in found[method] if n["front"]] for method in ("dnad", "snps")]
    budgets = {"darts": found["darts"][0]["macs"], "largest shared": min(map(max, fronts))}
    rows = []
    for name, budget in budgets.items():
        chosen = {method: best_near(found[method], budget) for method in SEARCHES}
        chosen["dna"] = study.dna(budget, dna_epochs)
        seconds["dna"] = chosen["dna"].pop("seconds")
        if name == "darts":
            chosen |= {f"random-{i}": network for i, network in enumerate(study.random(budget, RANDOM))}
            chosen["random-dna-0"] = study.random_dna(budget)
        for method, network in chosen.items():
            if network:
                top1 = study.train(f"{method}-{network['macs']}", network["architecture"])
                rows.append({"budget": name, "method": method, "top1": top1, **network})
    histories = {method: study.history(method) for method in SEARCHES}
    return {
        "seed": study.seed,
        "budgets": budgets,
        "seconds": seconds,
        "trained": rows,
        "found": found,
        "history": histories,
        "provenance": provenance(seed=study.seed, config_hash=key_of(study.settings.to_dict()), device="cpu"),
    }


def main() -> None:
    """The comparison with every seed, continuing where RUNS stands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/CLASS/* and test/CLASS/*")
    parser.add_argument("--teacher", type=Path, required=True, help="teacher.safetensors, see the recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--dna-epochs", type=int, default=8, help="of DNA's distillation")
    asked = parser.parse_args()
    for seed in asked.seeds:
        study = Study(asked.runs / f"seed-{seed}", asked.images, asked.teacher, seed)
        write_json(RESULTS / f"seed-{seed}.json", compare(study, asked.dna_epochs))


if __name__ == "__main__":
    main()
