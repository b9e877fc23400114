"""Entities of tags, against conlleval's values and an independent reader."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_tasks.entities import (
    Entity,
    EntityScore,
    Scheme,
    entity_scores,
    find_scheme,
    read_entities,
    to_scheme,
    write_tags,
)
from glue_tasks.errors import UserError


def plain_entities(tags: list[str]) -> set[tuple[str, int, int]]:
    """Another way to read them: for every type a string of letters, in which a pattern finds the runs."""
    found = set()
    for of_type in {tag[2:] for tag in tags if tag != "O"}:
        letters = "".join(tag[0] if tag[2:] == of_type else "." for tag in tags)
        # A run begins with any letter, goes on with I or M, and ends with an E that nothing ended before.
        for run in re.finditer(r"[BIM][IM]*E?|[ES]", letters):
            found.add((of_type, run.start(), run.end() - 1))
    return found


tag = st.one_of(st.just("O"), st.builds("{}-{}".format, st.sampled_from("BIMES"), st.sampled_from(["X", "Y"])))
tag_lists = st.lists(tag, max_size=10)
kinds = st.sampled_from(["X", "Y-Z"])
schemes = st.sampled_from(list(Scheme))


@st.composite
def sentences(draw: st.DrawFn, min_entities: int = 0) -> tuple[list[Entity], int]:
    """Entities that do not overlap, and the length of their sentence."""
    entities, at = [], 0
    for gap, size, of_type in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), kinds), min_size=min_entities, max_size=5)
    ):
        entities.append(Entity(of_type, at + gap, at + gap + size - 1))
        at += gap + size
    return entities, at + draw(st.integers(0, 2))


@given(tag_lists)
def test_reading_against_patterns(tags: list[str]) -> None:
    found = read_entities(tags)
    assert set(found) == plain_entities(tags)
    assert len(set(found)) == len(found)
    assert found == sorted(found, key=lambda entity: entity.first)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", []),
        ("O", []),
        ("B-X", [("X", 0, 0)]),
        ("I-X", [("X", 0, 0)]),
        ("B-X I-Y O", [("X", 0, 0), ("Y", 1, 1)]),
        ("I-X B-X I-X", [("X", 0, 0), ("X", 1, 2)]),
        ("B-X E-X I-X", [("X", 0, 1), ("X", 2, 2)]),
        ("M-X O E-X S-X", [("X", 0, 0), ("X", 2, 2), ("X", 3, 3)]),
        ("B E S", [("", 0, 1), ("", 2, 2)]),
        ("B-GPE.NAM I-GPE.NAM", [("GPE.NAM", 0, 1)]),
        ("B-A-B I-A-B", [("A-B", 0, 1)]),
    ],
)
def test_reading(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert read_entities(tags.split()) == expected


@given(sentences(), schemes, schemes)
def test_round_trip_between_schemes(sentence: tuple[list[Entity], int], source: Scheme, target: Scheme) -> None:
    entities, length = sentence
    tags = write_tags(entities, length, source)
    assert read_entities(tags) == entities
    there = to_scheme(tags, source, target)
    back = to_scheme(there.tags, target, source)
    assert back.tags == tags
    assert there.broken == back.broken == 0


@given(sentences(min_entities=1), schemes)
def test_scheme_of_well_formed_tags(sentence: tuple[list[Entity], int], scheme: Scheme) -> None:
    tags = write_tags(*sentence, scheme)
    found = find_scheme([tags])
    assert to_scheme(tags, found).tags == write_tags(*sentence, Scheme.BIO)
    assert to_scheme(tags, found).broken == 0
    if scheme in (Scheme.BIO, Scheme.IOB1):
        assert found is scheme


@given(st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"]), max_size=8))
def test_mending_to_bio_counts_the_tags_it_changes(tags: list[str]) -> None:
    mended = to_scheme(tags, Scheme.BIO)
    expected, before = [], "O"
    for each in tags:
        opens = each.startswith("I-") and before[2:] != each[2:]
        expected.append("B" + each[1:] if opens else each)
        before = each
    assert mended.tags == expected
    assert mended.broken == sum(a != b for a, b in zip(tags, expected, strict=True))


@pytest.mark.parametrize(
    ("scheme", "tags", "bio", "broken"),
    [
        (Scheme.BMES, "B-X O", "B-X O", 1),  # would be S
        (Scheme.BMES, "M-X E-X", "B-X I-X", 1),
        (Scheme.BMES, "B-X M-X O", "B-X I-X O", 1),  # would be E
        (Scheme.BIOES, "B-X E-Y", "B-X B-Y", 2),
        (Scheme.IOB1, "B-X I-X", "B-X I-X", 1),
        (Scheme.IOB1, "I-X B-X I-X O", "B-X B-X I-X O", 0),
    ],
)
def test_mending(scheme: Scheme, tags: str, bio: str, broken: int) -> None:
    assert to_scheme(tags.split(), scheme) == (bio.split(), broken)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("O O", Scheme.BIO),
        ("", Scheme.BIO),
        ("B-X I-X", Scheme.BIO),
        ("I-X I-X O I-Y B-Y", Scheme.IOB1),
        ("B-X O B-X I-X O I-X", Scheme.BIO),  # one slip
        ("B-X M-X E-X S-X", Scheme.BMES),
        ("B-X I-X E-X", Scheme.BIOES),
        ("B M E S", Scheme.BMES),
    ],
)
def test_scheme(tags: str, scheme: Scheme) -> None:
    assert find_scheme([tags.split(), []]) is scheme


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ("B-X M-X I-X E-X", "M-X of BMES and I-X of BIOES"),
        ("B-X M-X O I-Y", "M-X of BMES and I-Y of BIO;"),
        ("B-X U-X", "'U-X' is no tag"),
        ("b-X", "'b-X' is no tag"),
        ("O-X", "'O-X' is no tag"),
        ("B-", "'B-' has no type"),
        ("B-X I", "with a type, B-X, and without, I"),
    ],
)
def test_tags_that_have_no_scheme(tags: str, says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        find_scheme([tags.split()])


def test_a_tag_of_another_scheme_is_refused() -> None:
    with pytest.raises(UserError, match="tag 2 of a sentence is M-X, which BIO does not have"):
        to_scheme(["B-X", "M-X"], Scheme.BIO)


@pytest.mark.parametrize("entities", [[("X", 0, 1), ("Y", 1, 2)], [("X", 2, 3)], [("X", -1, 0)], [("X", 1, 0)]])
def test_entities_that_cannot_be_written(entities: list[tuple[str, int, int]]) -> None:
    with pytest.raises(ValueError, match="overlaps"):
        write_tags([Entity(*each) for each in entities], 3, Scheme.BIO)


@given(st.lists(st.lists(st.tuples(tag, tag), max_size=8), max_size=4))
def test_scores_against_sets(pairs: list[list[tuple[str, str]]]) -> None:
    predictions, references = ([[pair[side] for pair in sentence] for sentence in pairs] for side in (0, 1))
    ours = {(n, *entity) for n, tags in enumerate(predictions) for entity in plain_entities(tags)}
    theirs = {(n, *entity) for n, tags in enumerate(references) for entity in plain_entities(tags)}
    scores = entity_scores(predictions, references)
    assert scores.micro == (len(ours & theirs), len(ours), len(theirs))
    assert list(scores.by_type) == sorted({each[1] for each in ours | theirs})
    for of_type, score in scores.by_type.items():
        ours_of, theirs_of = ({each for each in side if each[1] == of_type} for side in (ours, theirs))
        precision = len(ours_of & theirs_of) / len(ours_of) if ours_of else 0.0
        recall = len(ours_of & theirs_of) / len(theirs_of) if theirs_of else 0.0
        assert (score.precision, score.recall) == (precision, recall)
        assert score.f1 == pytest.approx(2 * precision * recall / (precision + recall) if precision else 0.0)


@pytest.mark.realdata
def test_scores_of_seqeval(shared: Path) -> None:
    cases = json.loads((shared / "reference" / "mrc_cases.json").read_text(encoding="utf-8"))["ner"]
    assert len(cases) >= 6
    for case in cases:
        score = entity_scores(case["predicted"], case["gold"]).micro
        expected = (case["precision"], case["recall"], case["f1"])
        assert (100 * score.precision, 100 * score.recall, 100 * score.f1) == pytest.approx(expected), case


def test_no_entities_score_zero() -> None:
    scores = entity_scores([["O"], []], [["O"], []])
    assert scores == (EntityScore(0, 0, 0), {})
    assert (scores.micro.precision, scores.micro.recall, scores.micro.f1) == (0.0, 0.0, 0.0)


def test_every_token_is_scored() -> None:
    with pytest.raises(UserError, match="1 of 2 sentences"):
        entity_scores([["O"]], [["O"], ["O"]])
    with pytest.raises(UserError, match="sentence 2 has 2 tokens and predictions for 1"):
        entity_scores([["O"], ["O"]], [["O"], ["O", "B-X"]])
