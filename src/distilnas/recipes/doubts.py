"""What is to be doubted in a run's result, in the user's words: said as soon as it is known, and again at the end.

Every sentence says what was found, why it matters and what to do.
"""

import math
from collections.abc import Mapping
from typing import Any

_SMALL_SIDE = 2
_USED = 0.7


def of_teacher(teacher: Mapping[str, Any]) -> list[str]:
    """Of a teacher as its step describes it: what it reaches on the validation images."""
    if "val_majority" not in teacher:
        return []
    return at_majority(
        "the teacher",
        teacher["val_top1"],
        majority=teacher["val_majority"],
        images=teacher["val_images"],
        advice="A student can learn nothing of it: train it longer (teacher.fit), or name another one.",
    )


def of_features(teacher: Mapping[str, Any]) -> list[str]:
    """Of the features of a teacher that a search for kernels is to imitate."""
    small = [block for block in teacher["blocks"] if max(block["height"], block["width"]) <= _SMALL_SIDE]
    if not small:
        return []
    first = small[0]
    return [
        f"the teacher's features are {first['height']} x {first['width']} pixels after block {first['block']}: kernels "
        "hardly differ there, and ratings say little. Use larger images (data.resolution), or a teacher that halves "
        "them less often."
    ]


def of_space(num_architectures: int) -> list[str]:
    """Of a search space with so many architectures."""
    if num_architectures > 1:
        return []
    return [
        "the space holds one architecture only: nothing is searched, and its optimum says nothing. Give more widths, "
        "depths, kernels or expansions (space)."
    ]


def of_choice(solution: Mapping[str, Any], additivity: Mapping[str, Any]) -> list[str]:
    """Of the solver's ``solution`` and how it does against other networks, as their steps have them."""
    found, used = [], budget_used(solution["costs"], solution["budgets"])
    if used is not None and used < _USED:
        found.append(
            f"the solution uses {used:.0%} of the budget: short distillation rates large cells worse than they "
            "deserve. Distil longer (distill.epochs), or set a lower limit too (e.g. solve.min_macs)."
        )
    held = additivity.get("held")
    if held and held["contradicted"]:
        found.append(
            f"the solution is contradicted by its assembled networks: {held['better']} of {held['networks']} random "
            "ones under the budget imitate the teacher better, so its rating is not to be trusted. Distil longer "
            "(distill.epochs), rate on more images (rate.images), or use larger ones."
        )
    return found


def contradicted(additivity: Mapping[str, Any]) -> bool | None:
    """Whether its assembled networks contradict a solution; None where it was not held against them."""
    held = additivity.get("held")
    return held["contradicted"] if held else None


def of_student(tested: Mapping[str, Any], name: str = "the student") -> list[str]:
    """Of a network as its test describes it."""
    if "majority" not in tested:
        return []
    advice = "It has learned little but their shares: train longer, or with other settings (retrain)."
    return at_majority(name, tested["top1"], majority=tested["majority"], images=tested["images"], advice=advice)


def at_majority(who: str, top1: float, *, majority: float, images: int, advice: str) -> list[str]:
    """One sentence where ``top1`` is not above ``majority`` by twice its standard error; both in percent."""
    share = majority / 100
    if not images or top1 > majority + 200 * math.sqrt(share * (1 - share) / images):
        return []
    return [
        f"{who} is at the majority's level: {top1:.2f} % of {images:,} images right, where always saying the most "
        f"frequent class gives {majority:.2f} %. {advice}"
    ]


def budget_used(costs: Mapping[str, float], budgets: Mapping[str, Mapping[str, float | None]]) -> float | None:
    """The largest used share of an upper limit; None without any."""
    shares = [costs[cost] / most for cost, limit in budgets.items() if (most := limit.get("max"))]
    return max(shares, default=None)
