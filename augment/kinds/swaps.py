"""Entities of a train file by type, for others to stand in their place."""

import hashlib
from collections.abc import Sequence
from typing import overload

from glue_tasks import UserError
from glue_tasks.entities import read_entities
from glue_tasks.rows import Split

Tokens = tuple[str, ...]
MOST = 50_000  # entities of a type: some ten megabytes of them


class Others(Sequence[Tokens]):
    """The entities of a type without one of them, which is not copied for it."""

    def __init__(self, entities: Sequence[Tokens], own: int):
        self._entities = entities
        self._own = own  # its place; their number if it is none of them

    def __len__(self) -> int:
        return len(self._entities) - (self._own < len(self._entities))

    @overload
    def __getitem__(self, at: int) -> Tokens: ...
    @overload
    def __getitem__(self, at: slice) -> list[Tokens]: ...
    def __getitem__(self, at: int | slice) -> Tokens | list[Tokens]:
        if isinstance(at, slice):
            return [self[i] for i in range(len(self))[at]]
        at = range(len(self))[at]
        return self._entities[at + (at >= self._own)]


class EntitiesByType:
    """The different entities of a file, each a tuple of tokens, at most `most` of a type.

    Of more a sample is kept, those with the least digests: which ones depends neither on their order nor on chance.
    """

    def __init__(self, most: int = MOST):
        self._most = most
        self._found: dict[str, dict[Tokens, bytes]] = {}
        self._sorted: dict[str, tuple[list[Tokens], dict[Tokens, int]]] = {}

    @classmethod
    def of(cls, split: Split, most: int = MOST) -> "EntitiesByType":
        """Those of all rows of a file. Raises UserError if it has no tags."""
        if not split.is_labelled:
            raise UserError(
                f"{split.path} has no tags that say what is an entity; leave out --swap-entities, or name a file "
                "with tags"
            )
        found = cls(most)
        labels = split.task.labels
        for row in split:
            assert isinstance(row.label, tuple)
            for entity in read_entities([labels[tag] for tag in row.label]):
                found.add(entity.type, row.texts[entity.first : entity.last + 1])
        return found

    def add(self, of_type: str, tokens: Tokens) -> None:
        of_this = self._found.setdefault(of_type, {})
        if tokens not in of_this:
            of_this[tokens] = hashlib.sha256("\0".join(tokens).encode()).digest()
            self._sorted.pop(of_type, None)
            if len(of_this) > 2 * self._most:
                self._found[of_type] = _least(of_this, self._most)

    def others(self, of_type: str, tokens: Tokens) -> Sequence[Tokens]:
        """Those of the type, in the order of the alphabet, but for one."""
        if of_type not in self._sorted:
            entities = sorted(_least(self._found.get(of_type, {}), self._most))
            self._sorted[of_type] = entities, {each: place for place, each in enumerate(entities)}
        entities, places = self._sorted[of_type]
        return Others(entities, places.get(tokens, len(entities)))


def _least(entities: dict[Tokens, bytes], most: int) -> dict[Tokens, bytes]:
    return dict(sorted(entities.items(), key=lambda item: item[1])[:most])
