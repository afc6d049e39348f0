"""YAML from any hand as plain data: bounded, and nothing in it is replaced by what this machine has.

A few hundred bytes of aliases can mean more nodes than any memory holds, brackets can nest deeper than the interpreter
goes, and OmegaConf's ``${oc.env:HOME}`` would read the environment; all are refused before anything is built.
"""

from collections.abc import Hashable, Iterator
from typing import Any

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event, NodeEvent, ScalarEvent

from distilnas.errors import UsageError

DEEPEST = 40
_MOST_NODES = 20_000
_MOST_TEXT = 1_000_000


def load_yaml(text: str, origin: str) -> Any:
    """The data in YAML ``text``; raises ``UsageError`` naming ``origin``, the line and what to do."""
    if len(text) > _MOST_TEXT:
        raise UsageError(f"cannot read {origin}: a configuration has at most {_MOST_TEXT:,} characters.")
    try:
        _check(yaml.parse(text, Loader=yaml.SafeLoader), origin)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UsageError(f"cannot read {origin}: {_reason(error, text)}.") from error
    except (RecursionError, ValueError, OverflowError) as error:  # numbers and dates that are none
        raise UsageError(f"cannot read {origin}: {str(error).splitlines()[0]}.") from error


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, of which it would take the last in silence."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen and isinstance(key.value, str):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value if isinstance(key.value, str) else id(key))
        return super().construct_mapping(node, deep)


def _check(events: Iterator[Event], origin: str) -> None:
    """Count the nodes as they will be once every alias is written out."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in events:
        if isinstance(event, AliasEvent):
            if event.anchor not in sizes:
                raise UsageError(f"cannot read {origin}: the alias *{event.anchor} contains itself, or is not defined.")
            total += sizes[event.anchor]
        elif isinstance(event, CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes |= {} if anchor is None else {anchor: total - before}
        elif isinstance(event, NodeEvent):
            total += 1
            sizes |= {} if event.anchor is None else {event.anchor: 1}
            _check_plain(event, origin)
        if len(open_nodes) > DEEPEST:
            line = event.start_mark.line + 1
            raise UsageError(f"cannot read {origin}: line {line} is nested deeper than {DEEPEST} levels.")
        if total > _MOST_NODES:
            raise UsageError(
                f"cannot read {origin}: with its aliases written out it has more than {_MOST_NODES:,} entries; "
                "leave out aliases (*name)."
            )


def _check_plain(event: NodeEvent, origin: str) -> None:
    if isinstance(event, ScalarEvent) and "${" in event.value:
        raise UsageError(
            f"cannot read {origin}: line {event.start_mark.line + 1} has an interpolation ({event.value[:60]}), which "
            "is not replaced here; write the value itself."
        )


def _reason(error: yaml.YAMLError, text: str) -> str:
    """Line and remedy of what the parser met."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        found = chr(int(error.character))
        return f"line {line}: the character {found!r} may not stand in YAML; save the file as plain UTF-8 text"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        remedy = "; indent with spaces, not with tabs" if "\\t" in (error.problem or "") else ""
        what = f"{error.context}, {error.problem}" if "document" in (error.context or "") else error.problem
        return f"line {mark.line + 1}, column {mark.column + 1}: {what}{remedy}"
    return str(error).splitlines()[0]
