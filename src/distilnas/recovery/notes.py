"""What a recovery has found out before its training, kept in a file, so that nothing is found out twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from distilnas.files import read_json, write_json
from distilnas.runtime import ranks


class Notes:
    """JSON values by name in ``path``; the first rank writes, all ranks have the same."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.values: dict[str, Any] = ranks.from_first(lambda: read_json(path) if path.exists() else {})

    def keep(self, name: str, find: Callable[[], Any]) -> Any:
        """What stands under ``name``; if nothing does, all ranks ``find`` it and what the first found is noted."""
        if name not in self.values:
            found = find()
            self.values[name] = ranks.from_first(lambda: found)
            if ranks.rank() == 0:
                write_json(self._path, self.values)
        return self.values[name]
