"""What is known of a row block: numbers of the host, found out once, shared with copies, forgotten with the block."""

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")

Facts = dict[tuple[Any, ...], Any]


class Table:
    """Facts by block. Blocks are never changed in place.

    Not a WeakKeyDictionary: blocks compare entry by entry, and so have no hash.
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[weakref.ref[Any], Facts]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, block: Any) -> Facts:
        """The facts of `block`, to be added to."""
        row = self._rows.get(id(block))
        return row[1] if row else self.put(block, {})

    def put(self, block: Any, facts: Facts) -> Facts:
        """From now on these are the facts of `block`."""
        key = id(block)
        self._rows[key] = weakref.ref(block, lambda _: self._rows.pop(key, None)), facts
        return facts


_known = Table()


def known(block: Any, fact: Callable[..., T], *arguments: Hashable) -> T:
    """``fact(block, *arguments)``, found out once: nothing that lies on a device."""
    facts, asked = _known.of(block), (fact, *arguments)
    if asked not in facts:
        facts.setdefault(asked, fact(block, *arguments))  # threads that ask at once agree
    return cast(T, facts[asked])


def share(block: Any, copy: Any) -> None:
    """Whatever is or will be known of one of the two is known of both: they hold the same numbers."""
    _known.put(copy, _known.of(block))
