"""What a call of the command line gives."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def error(self) -> dict[str, Any]:
        """The record of an error, which ``--json`` puts on stdout and which says what stderr does; else empty."""
        if not self.out:
            return {}
        found = json.loads(self.out)["error"]
        assert found["message"] in self.err
        assert found["code"] == self.code
        return found


Cli = Callable[..., Answer]
