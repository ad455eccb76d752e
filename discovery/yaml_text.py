"""YAML read as plain data, within bounds: aliases can make a small text enormous."""

from __future__ import annotations

from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from discovery.files import UnreadableError

#: Values in a document once its aliases are written out.
MAX_VALUES = 500_000


class _Loader(Composer, CParser, SafeConstructor, Resolver):
    """Parsed in C, composed here: the composer in C recurses without bound, and takes any number."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._nodes += 1
        if self._nodes > MAX_VALUES:
            raise UnreadableError(f"the YAML has more than {MAX_VALUES} values; split it")
        return Composer.compose_node(self, parent, index)


def load_yaml(text: str) -> Any:
    """Mappings, lists and scalars; several documents are a list of them.

    Raises UnreadableError for what is no YAML, or is too large.
    """
    try:
        loader = _Loader(text)
        documents = []
        while (node := loader.get_node() if loader.check_node() else None) is not None:
            _check_size(node)
            documents.append(loader.construct_document(node))
        return documents if len(documents) > 1 else next(iter(documents), None)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        # At the end of the text it is the line after.
        line = "" if mark is None else f" in line {min(mark.line, text.count(chr(10))) + 1}"
        raise UnreadableError(f"expected YAML: {error.problem}{line}; correct it") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableError(f"expected YAML: {error}; correct it") from error
    except RecursionError as error:
        raise UnreadableError("the YAML is nested too deeply; flatten it") from error


def _check_size(root: yaml.Node) -> None:
    """Raises UnreadableError for too many values, or one that contains itself."""
    sizes: dict[yaml.Node, int] = {}
    open_nodes: set[yaml.Node] = set()

    def size(node: yaml.Node) -> int:
        if node in open_nodes:
            raise UnreadableError("a YAML value contains itself through an alias; write it out")
        if node not in sizes:
            open_nodes.add(node)
            inner = node.value if isinstance(node, yaml.CollectionNode) else []
            children = [c for item in inner for c in (item if isinstance(item, tuple) else (item,))]
            sizes[node] = 1 + sum(map(size, children))
            open_nodes.discard(node)
        return sizes[node]

    if size(root) > MAX_VALUES:
        raise UnreadableError(
            f"the YAML has more than {MAX_VALUES} values with its aliases written out; split it"
        )
