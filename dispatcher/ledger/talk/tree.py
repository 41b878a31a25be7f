"""The tree of a conversation's turns: who stands behind whom. Pure; it knows no text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_BESIDE = 100


@dataclass(frozen=True, slots=True)
class Node:
    """A turn, without what it says."""

    id: str
    parent: str | None
    summarised: bool = False


class Tree:
    """All turns of one conversation, in the order in which they came."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = {node.id: node for node in nodes}
        self._children: dict[str | None, list[str]] = {}
        for node in self.nodes.values():
            self._children.setdefault(node.parent, []).append(node.id)

    def path(self, last: str | None) -> list[str]:
        """Give the turns of the branch that ends with `last`, in their order."""
        path = dict[str, None]()
        while last is not None and last in self.nodes and last not in path:  # a damaged tree ends, too
            path[last] = None
            last = self.nodes[last].parent
        return list(reversed(path))

    def beside(self, turn: str) -> tuple[str, ...]:
        """Give the turns with the same parent, the newest if those are many, nothing for one that stands alone."""
        found = self._children[self.nodes[turn].parent]
        return tuple(found[-MOST_BESIDE:]) if len(found) > 1 else ()

    def beginnings(self) -> tuple[str, ...]:
        """Give the turns that stand behind none, the newest if those are many."""
        return tuple(self._children.get(None, ())[-MOST_BESIDE:])
