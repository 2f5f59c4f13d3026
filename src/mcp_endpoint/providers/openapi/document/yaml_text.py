"""YAML as OpenAPI means it, read with PyYAML.

OpenAPI asks for YAML 1.2 with the types of JSON: `no` is a text, and so are a date and `12:30`. Merge keys (`<<`) are
none of 1.2, but people write them; they are merged as YAML 1.1 says.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from mcp_endpoint.providers.openapi.document.values import BadDocument

MOST_MERGED = 200_000
"""Members that merge keys may bring along in one text."""

_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader if not hasattr(yaml, "CSafeLoader") else yaml.CSafeLoader):  # type: ignore[misc]
    """One text on its way; `doubled` is told the keys that an object has twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  the library's own form
    doubled: Callable[[str], None]

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put in what merge keys lead to. Own members win, then those of the first that is merged."""
        own = [pair for pair in node.value if pair[0].tag != _MERGE]
        merges = [value for key, value in node.value if key.tag == _MERGE]
        node.value = own  # before anything else: a mapping may merge itself
        names = {self._name(key) for key, _ in own}
        if len(names) < len(own):
            self._tell_doubled(own)
        brought = []
        for merge in merges:
            for source in merge.value if isinstance(merge, yaml.SequenceNode) else [merge]:
                if not isinstance(source, yaml.MappingNode):
                    continue  # there is nothing to merge
                self.flatten_mapping(source)
                self._merged += len(source.value)
                if self._merged > MOST_MERGED:
                    raise BadDocument(f"its merge keys (<<) bring along more than {MOST_MERGED} members")
                for pair in source.value:
                    name = self._name(pair[0])
                    if name not in names:
                        names.add(name)
                        brought.append(pair)
        node.value = brought + own

    def _name(self, key: yaml.Node) -> object:
        return key.value if isinstance(key, yaml.ScalarNode) else id(key)

    def _tell_doubled(self, pairs: list[tuple[yaml.Node, yaml.Node]]) -> None:
        seen: set[object] = set()
        for key, _ in pairs:
            name = self._name(key)
            if name in seen:
                self.doubled(str(name))
            seen.add(name)


for _tag, _form, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]{1,300}", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_form})$"), list(_first))
# In 1.1 a number with a zero in front is octal, and one with colons counts in sixties.
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(loader.construct_scalar(node)))
for _tag in ("timestamp", "binary", "merge", "value"):
    # Said to be one in so many words, or `<<` as a value: JSON has nothing but texts for them.
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", lambda loader, node: loader.construct_scalar(node))


def _plain(loader: Any, suffix: str, node: yaml.Node) -> Any:
    """What a tag of somebody's own stands at (`!Sub` of a template, say), as if the tag were not there."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else node.value


_Loader.add_multi_constructor("!", _plain)


def read_yaml(text: str, doubled: Callable[[str], None]) -> Any:
    """The first document of a text; `doubled` is told keys that an object has twice, of which the last counts.

    Raises BadDocument.
    """
    try:
        loader = _Loader(text)
        loader.doubled = doubled
        try:
            return loader.get_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise BadDocument(f"{place}{error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadDocument(f"it is neither JSON nor YAML ({type(error).__name__})") from None
