"""Labelled reviews from a grammar: the label follows from how a sentence is built, not from which words it has.

A review is one or two clauses. A clause joins a subject to a word of praise or blame, and may negate it ("anything but
dull"); a frame joins the clauses and says which of them decides ("although ..., ..."). Every word of praise thus stands
in negative reviews too, and a bag of words cannot tell which of two clauses is meant.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from demo import lexicon
from demo.lexicon import Domain, Polar
from glue_tasks import get_task
from glue_tasks.files import Table, open_table
from glue_tasks.places import find_file
from glue_tasks.writers import TableWriter


@dataclass(frozen=True)
class Predicate:
    """What a clause says of its subject, with the word left open; `flips` if it says the opposite of the word."""

    pattern: str
    words: Polar | None  # None: adjectives, the domain's own ones among them
    flips: bool = False


@dataclass(frozen=True)
class Clause:
    """A statement about one subject."""

    predicate: Predicate
    subject: str
    word: str  # base/past for a verb
    word_is_positive: bool
    intensifier: str = ""

    @property
    def is_positive(self) -> bool:
        return self.word_is_positive != self.predicate.flips

    @property
    def text(self) -> str:
        base, _, past = self.word.partition("/")
        how = self.intensifier + " " if self.intensifier else ""
        return self.predicate.pattern.format(subject=self.subject, word=base, past=past, how=how)


@dataclass(frozen=True)
class Frame:
    """How clauses make a review: `main` decides; `aside` says the same (`agrees`) or the opposite.

    A frame without `main` denies its aside: "it is not true that ...".
    """

    name: str
    pattern: str
    weight: float
    agrees: bool = False

    @property
    def has_main(self) -> bool:
        return "{main}" in self.pattern

    @property
    def has_aside(self) -> bool:
        return "{aside}" in self.pattern


@dataclass(frozen=True)
class Review:
    """A review. Its label is the polarity of the clause that decides."""

    frame: Frame
    main: Clause | None
    aside: Clause | None
    opener: str = ""
    setting: str = ""
    witness: str = ""

    @property
    def label(self) -> int:
        """0 negative, 1 positive."""
        if self.main is not None:
            return int(self.main.is_positive)
        assert self.aside is not None
        return int(not self.aside.is_positive)

    @property
    def text(self) -> str:
        body = self.frame.pattern.format(
            main=self.main and self.main.text, aside=self.aside and self.aside.text, witness=self.witness
        )
        if self.opener:
            body = f"{self.opener}, {body}"
        # Some frames have two sentences.
        sentences = ([self.setting] if self.setting else []) + body.split(". ")
        return " ".join(sentence[0].upper() + sentence[1:] + "." for sentence in sentences)


def _predicates(words: Polar | None, flips: bool, *patterns: str) -> tuple[Predicate, ...]:
    return tuple(Predicate(pattern, words, flips) for pattern in patterns)


PREDICATES: tuple[Predicate, ...] = (
    *_predicates(None, False, "{subject} was {how}{word}", "{subject} was {how}{word}", "I found {subject} {how}{word}",
                 "{subject} seemed {how}{word} to me", "{subject} proved {how}{word}", "{subject} felt {how}{word}"),
    *_predicates(None, True, "{subject} was not {how}{word}", "{subject} was never {how}{word}",
                 "{subject} was far from {word}", "{subject} was hardly {word}", "{subject} was anything but {word}",
                 "nobody would call {subject} {word}", "there was nothing {word} about {subject}"),
    *_predicates(lexicon.VERDICTS, False, "{subject} was a {word}", "{subject} turned out to be a {word}"),
    *_predicates(lexicon.VERDICTS, True, "{subject} was no {word}", "{subject} was hardly a {word}"),
    *_predicates(lexicon.QUALITIES, False, "{subject} was full of {word}", "I saw a lot of {word} in {subject}"),
    *_predicates(lexicon.QUALITIES, True, "{subject} was free of {word}", "I saw no {word} in {subject}"),
    *_predicates(lexicon.OPINIONS, False, "I {past} {subject}", "we {past} {subject}", "everyone {past} {subject}"),
    *_predicates(lexicon.OPINIONS, True, "I did not {word} {subject}", "nobody {past} {subject}",
                 "we never {past} {subject}"),
    *_predicates(lexicon.EFFECTS, False, "{subject} {past} me", "{subject} managed to {word} us"),
    *_predicates(lexicon.EFFECTS, True, "{subject} did not {word} me", "{subject} failed to {word} us"),
)  # fmt: skip

FRAMES: tuple[Frame, ...] = (
    Frame("plain", "{main}", 12),
    Frame("agreement", "{aside} and {main}", 6, agrees=True),
    Frame("agreement", "{aside}. Besides, {main}", 1, agrees=True),
    Frame("agreement", "{aside}. Moreover, {main}", 1, agrees=True),
    Frame("contrast", "{aside}, but {main}", 3),
    Frame("contrast", "{aside}, yet {main}", 1),
    Frame("contrast", "{aside}. However, {main}", 1),
    Frame("concession first", "although {aside}, {main}", 1.5),
    Frame("concession first", "even though {aside}, {main}", 0.5),
    Frame("concession last", "{main}, although {aside}", 1.5),
    Frame("concession last", "{main}, even though {aside}", 0.5),
    Frame("hearsay", "{witness} said that {aside}, but {main}", 0.5),
    Frame("hearsay", "{witness} were wrong to say that {aside}", 0.5),
    Frame("hearsay", "{witness} were right to say that {main}", 0.5),
)


class Grammar:
    """Draws reviews, all of them different, from one seed."""

    def __init__(self, seed: int):
        self._random = random.Random(seed)
        self._seen: set[str] = set()

    def reviews(self, number: int) -> Iterator[Review]:
        """Reviews not drawn before, half of them positive."""
        for i in range(number):
            review = self._review(positive=i % 2 == 1)
            while review.text in self._seen:
                review = self._review(positive=i % 2 == 1)
            self._seen.add(review.text)
            yield review

    def _review(self, positive: bool) -> Review:
        draw = self._random
        domain = draw.choice(lexicon.DOMAINS)
        frame = draw.choices(FRAMES, [frame.weight for frame in FRAMES])[0]
        subjects = self._subjects(domain)
        aside = main = None
        if frame.has_aside:
            aside = self._clause(domain, subjects[0], positive == frame.agrees)
        if frame.has_main:
            main = self._clause(domain, subjects[1], positive)
        setting = ""
        if draw.random() < 0.3:
            setting = draw.choice(domain.settings).format(
                thing=draw.choice(domain.things),
                companion=draw.choice(lexicon.COMPANIONS),
                time=draw.choice(lexicon.TIMES),
            )
        opener = draw.choice(lexicon.OPENERS) if draw.random() < 0.15 else ""
        return Review(frame, main, aside, opener, setting, witness=draw.choice(lexicon.WITNESSES))

    def _subjects(self, domain: Domain) -> list[str]:
        """Two different subjects; the thing itself is one of them now and then."""
        aspects = self._random.sample(domain.aspects, 2)
        if self._random.random() < 0.2:
            aspects[self._random.randrange(2)] = self._random.choice(domain.things)
        return [f"the {aspect}" for aspect in aspects]

    def _clause(self, domain: Domain, subject: str, positive: bool) -> Clause:
        draw = self._random
        flips = draw.random() < 0.22
        predicate = draw.choice([predicate for predicate in PREDICATES if predicate.flips == flips])
        words = predicate.words
        if words is None:
            words = domain.adjectives if draw.random() < 0.4 else lexicon.ADJECTIVES
        word_is_positive = positive != flips
        word = self._rare_at_times(words[word_is_positive])
        intensifier = draw.choice(lexicon.INTENSIFIERS) if draw.random() < 0.3 else ""
        return Clause(predicate, subject, word, word_is_positive, intensifier)

    def _rare_at_times(self, words: Sequence[str]) -> str:
        """One of the words, the n-th with a weight of 1 / n: Zipf's law."""
        return self._random.choices(words, [1 / (rank + 1) for rank in range(len(words))])[0]


def write_data(data_dir: Path, train: int, dev: int, unlabelled: int, seed: int = 1) -> list[str]:
    """Write `demo/train.tsv` and `demo/dev.tsv` in the layout of the task `demo`, and the unlabelled `corpus.txt`.

    No review stands in two of them. Returns the corpus, one review a line; what is there already stays.
    """
    corpus = data_dir / "corpus.txt"
    if not corpus.exists():  # it is written last
        grammar = Grammar(seed)
        task = get_task("demo")
        folder = data_dir / task.name
        folder.mkdir(parents=True, exist_ok=True)
        for split, number in (("train", train), ("dev", dev)):
            with TableWriter(folder / task.files[split], (*task.text_columns, task.label_column)) as table:
                for review in grammar.reviews(number):
                    table.write((review.text, task.label_codes[review.label]))
        with TableWriter(corpus) as lines:
            for review in grammar.reviews(unlabelled):
                lines.write((review.text,))
    return corpus.read_text(encoding="utf-8").splitlines()


def write_few(data_dir: Path, few_dir: Path, number: int) -> None:
    """Write to `few_dir` the first rows of the train file of `data_dir`, and its whole dev file."""
    task = get_task("demo")
    for split in ("train", "dev"):
        path = few_dir / task.name / task.files[split]
        path.parent.mkdir(parents=True, exist_ok=True)
        table = open_table(task, find_file(task, data_dir, split), split)
        assert isinstance(table, Table)
        with TableWriter(path, table.header) as few:
            for row in islice(table, number if split == "train" else None):
                few.write(row.cells)
