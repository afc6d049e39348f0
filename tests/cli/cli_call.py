"""What a call of the command line gives."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Answer:
    code: int
    out: str
    err: str


Cli = Callable[..., Answer]
