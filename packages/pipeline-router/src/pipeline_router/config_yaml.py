"""YAML from people: plain data only, without aliases, doubled keys or bottomless nesting."""

from typing import Any

import yaml

MAX_DEPTH = 20

# libyaml's, where PyYAML was built with it: ten times as fast
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BadYaml(ValueError):
    """Text that is of no use; the message is one line."""


class _Loader(_Base):  # type: ignore[misc]  # a choice of two
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise BadYaml(f"line {key.start_mark.line + 1}: {key.value!r} is there twice")
                seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def load(text: str) -> Any:
    """Read a document; raises BadYaml if it is none, or more than data."""
    try:
        _refuse_tricks(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 # a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise BadYaml(f"{where}not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, BadYaml):
            raise
        raise BadYaml(f"not YAML: {' '.join(str(error).split())}") from None


def _refuse_tricks(text: str) -> None:
    """Look at the text as a flat row of events, before anything is built from it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Base):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadYaml(f"line {line}: anchors and aliases are not allowed here")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise BadYaml(f"line {line}: nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
