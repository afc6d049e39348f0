"""What must not move: texts, fingerprints and costs of presets and zoo entries, as hashes.

``python tests/pins/pinned_values.py`` prints them as the tests' ``pinned.json`` has them.
"""

import hashlib
import json
from typing import Any

import numpy as np

from distilnas.costing import cost_table
from distilnas.networks.zoo import zoo_entries
from distilnas.space import Candidate, Choice, SearchSpace, preset, preset_names

SIZES = {"dna": (224, 1000)}
SMALL = (32, 10)
DRAWN = 60


def drawn_choice(space: SearchSpace, number: int) -> Choice:
    """The same choice for the same number, by a rule that needs no library's random numbers."""
    choice = []
    for b, block in enumerate(space.blocks):
        cell = (number * 7 + b * 3) % len(block.families)
        shape = block.families[cell].shape
        path = tuple((number * 11 + b * 5 + layer * 3) % size for layer, size in enumerate(shape))
        choice.append(Candidate(cell=cell, path=path))
    return tuple(choice)


def sha(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def space_values(space: SearchSpace) -> dict[str, Any]:
    """Fingerprint, size, JSON form and the texts of some networks."""
    texts = [str(space.architecture(drawn_choice(space, n))) for n in range(DRAWN)]
    return {
        "fingerprint": space.fingerprint,
        "num_architectures": space.num_architectures,
        "num_candidates": space.num_candidates,
        "json": sha(json.dumps(space.to_dict(), sort_keys=True).encode()),
        "texts": sha("\n".join(texts).encode()),
        "first_text": texts[0],
    }


def cost_values(space: SearchSpace, resolution: int, num_classes: int) -> dict[str, Any]:
    """Hashes of all candidates' costs, block by block, and of the head's; some totals."""
    table = cost_table(space, resolution=resolution, num_classes=num_classes, measures=("macs", "params"))
    *blocks, (head,) = [[np.ascontiguousarray(c.dense(), dtype=np.int64) for c in block] for block in table.cells]
    totals = [table.total(space, drawn_choice(space, n)) for n in range(DRAWN)]
    return {
        "blocks": [sha(*(costs.tobytes() for costs in block)) for block in blocks],
        "head": sha(*(np.ascontiguousarray(row).tobytes() for row in head[:, :, 0].T)),
        "totals": sha(json.dumps(totals, sort_keys=True).encode()),
        "first_total": totals[0],
    }


def zoo_values() -> dict[str, Any]:
    """Text (hashed where long) and fingerprint of every published network that has a text of ours."""
    found = {}
    for entry in zoo_entries():
        if entry.architecture is not None:
            name = f"{entry.name}/{entry.variant}" if entry.variant else entry.name
            found[name] = [entry.architecture.fingerprint, sha(str(entry.architecture).encode())]
    return found


def all_values() -> dict[str, Any]:
    spaces = {name: preset(name) for name in preset_names()}
    return {
        "spaces": {name: space_values(space) for name, space in spaces.items()},
        "costs": {name: cost_values(space, *SIZES.get(name, SMALL)) for name, space in spaces.items()},
        "zoo": zoo_values(),
    }


if __name__ == "__main__":
    print(json.dumps(all_values(), indent=1))  # noqa: T201 - for whoever pins anew
