from collections import Counter

import pytest

from demo import lexicon
from demo.comparison import bag_of_words_accuracy
from demo.grammar import FRAMES, PREDICATES, Clause, Frame, Grammar, Predicate, Review, write_data
from glue_tasks import get_task
from glue_tasks.files import open_table


def predicate(pattern: str) -> Predicate:
    (found,) = {p for p in PREDICATES if p.pattern == pattern and p.words is None}
    return found


def frame(pattern: str) -> Frame:
    (found,) = (f for f in FRAMES if f.pattern == pattern)
    return found


DULL_PLOT = Clause(predicate("{subject} was {how}{word}"), "the plot", "dull", word_is_positive=False)
NOT_DULL = Clause(predicate("{subject} was anything but {word}"), "the script", "dull", word_is_positive=False)
LOVELY_CAST = Clause(predicate("I found {subject} {how}{word}"), "the cast", "lovely", True, intensifier="truly")


@pytest.mark.parametrize(
    ("pattern", "aside", "main", "text", "label"),
    [
        ("{main}", None, DULL_PLOT, "The plot was dull.", 0),
        ("{main}", None, NOT_DULL, "The script was anything but dull.", 1),
        ("{aside} and {main}", NOT_DULL, LOVELY_CAST,
         "The script was anything but dull and I found the cast truly lovely.", 1),
        ("{aside}, but {main}", LOVELY_CAST, DULL_PLOT, "I found the cast truly lovely, but the plot was dull.", 0),
        ("{aside}. However, {main}", DULL_PLOT, NOT_DULL,
         "The plot was dull. However, the script was anything but dull.", 1),
        ("although {aside}, {main}", DULL_PLOT, LOVELY_CAST,
         "Although the plot was dull, I found the cast truly lovely.", 1),
        ("{main}, although {aside}", DULL_PLOT, LOVELY_CAST,
         "I found the cast truly lovely, although the plot was dull.", 1),
        ("{witness} were wrong to say that {aside}", DULL_PLOT, None,
         "The critics were wrong to say that the plot was dull.", 1),
        ("{witness} were wrong to say that {aside}", NOT_DULL, None,
         "The critics were wrong to say that the script was anything but dull.", 0),
    ],
)  # fmt: skip
def test_the_label_follows_from_the_structure(pattern, aside, main, text, label):
    review = Review(frame(pattern), main, aside, witness="the critics")
    assert review.text == text
    assert review.label == label


def test_a_frame_s_aside_agrees_or_disagrees_with_the_label_as_the_frame_says():
    for review in Grammar(7).reviews(500):
        if review.aside is not None:
            assert (review.aside.is_positive == bool(review.label)) == review.frame.agrees


def test_equal_seeds_draw_equal_reviews_and_no_review_twice():
    texts = [review.text for review in Grammar(3).reviews(2_000)]
    assert texts == [review.text for review in Grammar(3).reviews(2_000)]
    assert texts != [review.text for review in Grammar(4).reviews(2_000)]
    assert len(set(texts)) == len(texts)


def test_reviews_read_as_sentences():
    for review in Grammar(5).reviews(500):
        assert review.text[0].isupper()
        assert review.text.endswith(".")
        assert not any(bad in review.text for bad in ("{", "}", "None", "  ", " ,", ".."))


def test_words_of_praise_and_of_blame_are_told_apart():
    for words in (lexicon.ADJECTIVES, lexicon.VERDICTS, lexicon.QUALITIES, lexicon.OPINIONS, lexicon.EFFECTS):
        assert not set(words.positive) & set(words.negative)
    for domain in lexicon.DOMAINS:
        both = [set(lexicon.ADJECTIVES[side]) | set(domain.adjectives[side]) for side in (0, 1)]
        assert not both[0] & both[1]


def test_verdicts_take_the_article_a():
    assert not [word for side in lexicon.VERDICTS for word in side if word[0] in "aeiou"]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, train=2_000, dev=500, unlabelled=1_000)
    return folder


def test_splits_and_corpus_share_no_review(data_dir):
    task = get_task("demo")
    splits = [[row.texts[0] for row in open_table(task, data_dir / "demo" / f"{s}.tsv")] for s in ("train", "dev")]
    splits.append((data_dir / "corpus.txt").read_text().splitlines())
    assert [len(split) for split in splits] == [2_000, 500, 1_000]
    assert len(set().union(*splits)) == 3_500


def test_labels_are_balanced(data_dir):
    for split in ("train", "dev"):
        counts = Counter(row.label for row in open_table(get_task("demo"), data_dir / "demo" / f"{split}.tsv"))
        assert counts[0] == counts[1]


def test_words_alone_do_not_tell_the_label(data_dir):
    task = get_task("demo")
    train, dev = (open_table(task, data_dir / "demo" / f"{split}.tsv") for split in ("train", "dev"))
    assert bag_of_words_accuracy(train, dev) < 0.75


def test_data_that_is_there_stays(data_dir):
    before = (data_dir / "demo" / "train.tsv").stat().st_mtime_ns
    assert len(write_data(data_dir, train=2_000, dev=500, unlabelled=1_000)) == 1_000
    assert (data_dir / "demo" / "train.tsv").stat().st_mtime_ns == before
