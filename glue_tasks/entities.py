"""Named entities of tag sequences, their schemes and scores.

Entities are read as conlleval does (CoNLL-2000 and 2003; seqeval's default mode): one begins at B-X or S-X, and at
I-X or E-X where no entity of type X is open; it ends with E-X or S-X, and before anything but a tag of X that goes on.
M-X of BMES is read as I-X. So every sequence of known tags has a reading, in whatever scheme it was written.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from glue_tasks.errors import UserError


class Scheme(StrEnum):
    BIO = "BIO"  # IOB2: every entity begins with B
    IOB1 = "IOB1"  # B only where an entity of the same type ends just before
    BMES = "BMES"  # begin, middle, end, single
    BIOES = "BIOES"  # begin, inside, end, single


class Entity(NamedTuple):
    type: str  # "" in tags without types, as in word segmentation
    first: int
    last: int  # included


_PREFIXES = {Scheme.BIO: "BI", Scheme.IOB1: "BI", Scheme.BMES: "BMES", Scheme.BIOES: "BIES"}


@functools.cache  # a file has few tags, many times
def _split(tag: str) -> tuple[str, str]:
    """Prefix and type. Raises UserError for what is no tag."""
    prefix, dash, of_type = tag.partition("-")
    if prefix not in ("B", "I", "M", "E", "S", "O") or (prefix == "O" and dash):
        raise UserError(f"{tag!r} is no tag of BIO, IOB1, BMES or BIOES; write O, or B-, I-, M-, E- or S- and a type")
    if dash and not of_type:
        raise UserError(f"the tag {tag!r} has no type; write {prefix}- and the entity's type, such as {prefix}-PER")
    return prefix, of_type


def read_entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sentence, in order. Raises UserError for an unknown tag."""
    found: list[Entity] = []
    opened: tuple[str, int] | None = None  # type and first position
    for at, tag in enumerate(tags):
        prefix, of_type = _split(tag)
        if opened and (prefix in "OBS" or opened[0] != of_type):
            found.append(Entity(*opened, at - 1))
            opened = None
        if prefix != "O":
            opened = opened or (of_type, at)
            if prefix in "ES":
                found.append(Entity(*opened, at))
                opened = None
    if opened:
        found.append(Entity(*opened, len(tags) - 1))
    return found


def write_tags(entities: Iterable[Entity], length: int, scheme: Scheme) -> list[str]:
    """The tags of a sentence of `length` tokens. Raises ValueError if entities overlap or lie outside it."""
    tags = ["O"] * length
    before: Entity | None = None
    for entity in sorted(entities, key=lambda entity: entity.first):
        if not (before.last if before else -1) < entity.first <= entity.last < length:
            raise ValueError(f"{entity} overlaps with {before}, or lies outside a sentence of {length} tokens")
        size = entity.last - entity.first + 1
        middle = "M" if scheme is Scheme.BMES else "I"
        prefixes = ["B"] + [middle] * (size - 1)
        if scheme in (Scheme.BMES, Scheme.BIOES):
            prefixes[-1] = "E" if size > 1 else "S"
        follows = before is not None and before.last == entity.first - 1 and before.type == entity.type
        if scheme is Scheme.IOB1 and not follows:
            prefixes[0] = "I"
        tags[entity.first : entity.last + 1] = [f"{each}-{entity.type}" if entity.type else each for each in prefixes]
        before = entity
    return tags


class Mended(NamedTuple):
    tags: list[str]
    broken: int  # tags that the scheme does not allow where they stood


def to_scheme(tags: Sequence[str], source: Scheme, target: Scheme = Scheme.BIO) -> Mended:
    """The same entities in another scheme, and how many tags broke the one they were written in.

    Such tags are read as conlleval does: an I-X that nothing opened begins an entity. A tag is counted as broken if
    those entities would be written otherwise in `source`. Raises UserError for a tag that `source` does not have.
    """
    for at, tag in enumerate(tags, 1):
        if (prefix := _split(tag)[0]) != "O" and prefix not in _PREFIXES[source]:
            raise UserError(f"tag {at} of a sentence is {tag}, which {source} does not have; use one scheme throughout")
    entities = read_entities(tags)
    proper = write_tags(entities, len(tags), source)
    broken = sum(tag != right for tag, right in zip(tags, proper, strict=True))
    return Mended(proper if target is source else write_tags(entities, len(tags), target), broken)


def find_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme of a file, or of all files of a task, from the tags it has.

    M tells of BMES, E or S without M of BIOES (without M and I the two are the same). B and I alone are BIO or IOB1:
    whichever fewer tags break, BIO where both have as many. Raises UserError for an unknown tag, tags of two schemes,
    or tags with and without types.
    """
    seen: dict[str, str] = {}  # prefix -> a tag that has it
    typed: dict[bool, str] = {}
    broken: Counter[Scheme] = Counter()
    for tags in sentences:
        before = ("O", "")
        for tag in tags:
            prefix, of_type = _split(tag)
            if prefix != "O":
                seen.setdefault(prefix, tag)
                typed.setdefault(bool(of_type), tag)
                follows = before[0] != "O" and before[1] == of_type
                broken[Scheme.BIO] += prefix == "I" and not follows
                broken[Scheme.IOB1] += prefix == "B" and not follows
            before = prefix, of_type
    if "M" in seen and "I" in seen:
        other = Scheme.BIOES if "E" in seen or "S" in seen else Scheme.BIO
        raise UserError(
            f"there are tags of two schemes, {seen['M']} of {Scheme.BMES} and {seen['I']} of {other}; "
            "use one throughout"
        )
    if len(typed) > 1:
        raise UserError(f"there are tags with a type, {typed[True]}, and without, {typed[False]}; give all a type")
    if "M" in seen:
        return Scheme.BMES
    if "E" in seen or "S" in seen:
        return Scheme.BIOES
    return Scheme.IOB1 if broken[Scheme.IOB1] < broken[Scheme.BIO] else Scheme.BIO


class EntityScore(NamedTuple):
    """Counts of entities, and the scores they give, 0..1; 0 where nothing is there to divide by, as in conlleval."""

    correct: int
    predicted: int
    known: int

    @property
    def precision(self) -> float:
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        return self.correct / self.known if self.known else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.correct / (self.predicted + self.known) if self.correct else 0.0


class EntityScores(NamedTuple):
    micro: EntityScore
    by_type: dict[str, EntityScore]  # in alphabetical order, of predicted types too


def entity_scores(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> EntityScores:
    """Of sentences of tags: an entity is correct if type, first and last token are. Any two schemes may be compared.

    Source: conlleval (Tjong Kim Sang and Buchholz 2000); seqeval's default mode gives the same.
    Raises UserError if there are more or fewer sentences or tags on one side, or an unknown tag.
    """
    if len(predictions) != len(references):
        raise UserError(f"there are tags for {len(predictions):,} of {len(references):,} sentences; predict each once")
    correct: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for number, (ours, theirs) in enumerate(zip(predictions, references, strict=True), 1):
        if len(ours) != len(theirs):
            raise UserError(
                f"sentence {number:,} has {len(theirs):,} tokens and predictions for {len(ours):,}; predict every token"
            )
        found, right = read_entities(ours), read_entities(theirs)
        predicted.update(entity.type for entity in found)
        known.update(entity.type for entity in right)
        correct.update(entity.type for entity in set(found) & set(right))
    types = sorted(predicted.keys() | known.keys())
    return EntityScores(
        EntityScore(correct.total(), predicted.total(), known.total()),
        {each: EntityScore(correct[each], predicted[each], known[each]) for each in types},
    )
