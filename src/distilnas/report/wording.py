"""Numbers and sentences as a reader wants them: 4.2 M, 77.1 %, 2 h 14 min, 1.2 × 10¹⁷."""

import math
from collections.abc import Callable, Iterable
from decimal import Decimal

from distilnas.records.solution import Tie
from distilnas.records.steps import DistillInputs, Measured
from distilnas.report.read import RunRecord
from distilnas.space import Architecture
from distilnas.space.darts import AnyArchitecture, DartsArchitecture
from distilnas.tables.measures import Number, measure_info, shown

MISSING = "–"
_UNITS = ("", " k", " M", " G", " T")
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def amount(value: Number | None, unit: str = "") -> str:
    """Three digits and a unit: 950, 12.3 k, 4.2 M, 335 M, 1.8 G; 4.2 MB, 950 B."""
    if value is None:
        return MISSING
    power = next((n for n in range(len(_UNITS) - 1) if abs(value) < 999.5 * 1000**n), len(_UNITS) - 1)
    scaled = value / 1000**power
    digits = 0 if abs(scaled) >= 99.95 or (power == 0 and scaled == int(scaled)) else 1
    return f"{scaled:,.{digits}f}{_UNITS[power] or (unit and ' ')}{unit}"


def count(value: int) -> str:
    """Exact with thousands separators below a million, else in powers of ten."""
    if value < 1_000_000:
        return f"{value:,}"
    mantissa, exponent = f"{Decimal(value):.1e}".split("e+")
    return f"{mantissa} × 10{exponent.translate(_SUPERSCRIPTS)}"


def percent(value: float | None) -> str:
    """A value already in percent."""
    return MISSING if value is None or math.isnan(value) else f"{value:.1f} %"


def rating(value: float | None) -> str:
    """Four significant digits."""
    return MISSING if value is None else f"{value:.4g}"


def cost_name(cost: str) -> str:
    """A cost of the tables in the reader's words."""
    return measure_info(cost).words


def cost_amount(value: Number | None, cost: str) -> str:
    """An amount of a cost, in its unit if it has one."""
    return amount(value, measure_info(cost).unit)


def file_size(value: int | None) -> str:
    """Bytes of a file for people; nothing where there is none."""
    return "" if value is None else amount(value, "B")


def milliseconds(value: float | None) -> str:
    """Nothing where it was not measured."""
    return "" if value is None else f"{value:.3g} ms"


def sizes(network: Measured, costs: Iterable[str] | None = None) -> str:
    """``335 M MACs and 4.2 M parameters``: the ``costs``, or those that are always shown."""
    known = shown(network.costs) if costs is None else [cost for cost in costs if cost in network.costs]
    return " and ".join(f"{cost_amount(network.costs[cost], cost)} {cost_name(cost)}" for cost in known)


def duration(seconds: float) -> str:
    """The two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // small} {small_name}"
    return f"{whole} s"


def times_fewer(student: Number | None, teacher: Number | None) -> str | None:
    """``4.2× fewer`` or ``1.3× more`` than the teacher; None when either is unknown."""
    if not student or not teacher:
        return None
    return f"{teacher / student:.1f}× fewer" if student <= teacher else f"{student / teacher:.1f}× more"


def points(student: Measured, teacher: Measured) -> str | None:
    """Difference of accuracies in percentage points, in words."""
    if student.top1 is None or teacher.top1 is None:
        return None
    difference = round(student.top1 - teacher.top1, 1)
    if difference == 0:
        return "level with the teacher"
    return f"{abs(difference):.1f} points {'above' if difference > 0 else 'below'} the teacher"


def blocks_text(architecture: Architecture) -> tuple[str, ...]:
    """One line per block but the head: ``24: k5e3 k3e6``."""
    return tuple(block.line for block in architecture.body)


def architecture_key(architecture: AnyArchitecture | None, *, searched: bool) -> str:
    """How to read the drawing of an architecture; ``searched``: its parts that were not are grey."""
    return _KEYS[architecture.kind if architecture else Architecture.kind](architecture, searched)


def _layers_key(architecture: Architecture | None, searched: bool) -> str:
    keys = ", ".join([*(_word_keys(architecture) if architecture else ()), "↓: stride"])
    return (
        f"Layers from left to right; a taller box has more channels. {keys}; "
        f"{'grey boxes were not searched, ' if searched else ''}dashed ones are identities."
    )


def _cells_key(_architecture: DartsArchitecture, _searched: bool) -> str:
    return (
        "Each dot is a state: the outputs of the cell before the previous one (k−2) and of the previous one (k−1), "
        "then the nodes in order, each the sum of the lines that enter it. A cell's output is the concatenation of "
        "its nodes (dashed ones are left out). ↓2: the cell halves the resolution. Hover over a line for its op."
    )


_KEYS: dict[str, Callable[..., str]] = {Architecture.kind: _layers_key, DartsArchitecture.kind: _cells_key}


def _word_keys(architecture: Architecture) -> list[str]:
    """What the words in the boxes mean, of the kinds that occur."""
    return list(dict.fromkeys(key for block in architecture.blocks for key in block.legend()))


def loss_label(inputs: DistillInputs | None) -> str:
    """What distillation minimised, by the settings' own names."""
    found = inputs.distill if inputs else None
    if found is None:
        return "loss"
    return f"loss: {found.loss}" + (f" + {found.label_loss:g} × cross entropy" if found.label_loss else "")


def headline(run: RunRecord) -> str:
    """The run's result in one or two sentences; as far as it has come."""
    if not run.search:
        return _training_sentence(run)
    sentences = [s for s in (_accuracy_sentence(run), _search_sentence(run)) if s]
    if sentences:
        return " ".join(sentences)
    if run.teacher:
        return (
            f"The teacher {run.teacher.name} is cut into {len(run.teacher.blocks)} blocks; the search is not finished."
        )
    return "The run has only begun."


def _training_sentence(run: RunRecord) -> str:
    network = run.student_numbers
    if network is None:
        return "The network is not trained yet."
    if network.top1 is None:
        return f"The network has {sizes(network)}; it is trained but not tested yet."
    return f"The network reaches {percent(network.top1)} top-1 with {sizes(network)}."


def _accuracy_sentence(run: RunRecord) -> str | None:
    student, teacher = run.student_numbers, run.teacher_numbers
    if student is None or teacher is None:
        return None
    fewer = [
        f"{text} {cost_name(cost)}"
        for cost in run.shown_costs
        if (text := times_fewer(student.costs.get(cost), teacher.costs.get(cost)))
    ]
    with_sizes = f" with {' and '.join(fewer)}" if fewer else ""
    if student.top1 is None:
        return f"The architecture found compares to {teacher.name}{with_sizes}; it is not retrained yet."
    return (
        f"The student reaches {percent(student.top1)} top-1 against {percent(teacher.top1)} of its teacher "
        f"{teacher.name}{with_sizes}."
    )


def _search_sentence(run: RunRecord) -> str | None:
    if run.solved is None:
        return None
    solution = run.solved.solution
    what = "the proved optimum" if solution.optimal else "the best found, not proved optimal,"
    if run.contradicted:
        what += " of the ratings, contradicted by its assembled networks,"
    rated = f"; {_rated(run)} were rated" if run.ratings else ""
    budget = " under the budget" if run.solved.budgets else ""
    return f"It is {what} among {count(run.solved.num_architectures)} architectures{budget}{rated}."


def _rated(run: RunRecord) -> str:
    assert run.ratings is not None
    assert run.space is not None
    rated, total = run.ratings.num_rated, run.space.num_candidates
    return f"all {count(total)} candidates" if rated == total else f"{count(rated)} of {count(total)} candidates"


def tie_text(tie: Tie) -> str:
    """What the paired comparison with the nearest rival means for the reader."""
    numbers = f"{tie.difference:.2g} ± {tie.stderr:.2g} in rating, p = {tie.p_value:.2g}"
    if tie.tied:
        return (
            f"The solution and its nearest rival cannot be told apart on the rating images ({numbers}). "
            "Retrain both, or take the cheaper one; more rating images may separate them."
        )
    return f"The solution is better than its nearest rival beyond the noise of the rating images ({numbers})."
