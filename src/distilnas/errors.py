"""Errors that are meant for the user.

Every message is short and says four things: the rule, what was given, what is valid, what to do. The command line
prints the message without a traceback and exits with the class's ``exit_code``. An ``assert`` or any other exception
is a bug.
"""

import difflib
from collections.abc import Iterable


class DistilnasError(Exception):
    """Base of all errors for users: something failed although the command was right."""

    exit_code = 1


class UsageError(DistilnasError):
    """Something that the user can mend: a command, setting, file or data, a diverged loss, a full disk. What was
    finished stays."""

    exit_code = 2


class InfeasibleError(DistilnasError):
    """No architecture of the space fits the budget."""

    exit_code = 3


def nearest(name: str, valid: Iterable[str], *, limit: int = 3) -> str:
    """Text that helps with a mistyped ``name``: the nearest valid names, or all of them when there are few."""
    known = sorted(set(valid))
    if not known:
        return "there is none to choose from."
    close = difflib.get_close_matches(name, known, n=limit, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    if len(known) <= 12:
        return f"valid: {', '.join(known)}."
    return f"none of the {len(known)} valid names is close."
