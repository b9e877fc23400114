"""Files of questions about contexts: SQuAD's nested JSON, and a record for each question, as of the hub.

SQuAD's has `data`, a list of articles, each with `paragraphs`, each with a `context` and its `qas`. CMRC 2018 and DRCD
have the same; a list of articles or paragraphs alone, as CMRC 2018 was given out first (`context_text`, `query_text`,
`query_id`), is read too. Records are JSON lines, a JSON array or Parquet, with `answers` as the hub has them,
`{"text": [...], "answer_start": [...]}`.

An answer is taken from its offset if it is there; else from where its text is, the nearest place if there are several,
as 12 answers of CMRC 2018 need. Annotators of CMRC 2018 wrote 193 answers of the dev set in words of their own, marked
by the offset -1: such a text is kept to score by, as the official script does. Any other answer that is not in its
context is a Fault, and so is a question without any that is, except where SQuAD 2.0's have none.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from glue_tasks.columns import find_columns
from glue_tasks.errors import UserError, warn_once
from glue_tasks.lines import Fault, Numbered, read_lines, shown, suffix_of
from glue_tasks.records import Record, read_object, read_records
from glue_tasks.rows import Answer, Question, Split, Tally
from glue_tasks.task import Task

_CONTEXTS = ("context", "context_text")
_LISTS = frozenset({"data", "paragraphs", "qas"})
_SETS_KEPT = 1_000  # of field names; a file has a few


class Asked(NamedTuple):
    """A question as the file has it."""

    id: str
    question: str
    context: str
    answers: Sequence[Answer] | None  # those that are in no context too; None where the file does not say
    article: str  # "" in a file of records

    @property
    def place(self) -> str:
        return _place(self.article, self.id)


def _place(article: str, question: str) -> str:
    """As in "article Normandy, question 56ddde6b"; "" where neither is known."""
    named = [("article", article), ("question", question)]
    return ", ".join(f"{kind} {shown(name, 60)}" for kind, name in named if name)


@dataclass(frozen=True)
class QuestionSplit(Split):
    """A split of questions. `line` of a question of a nested file is its number in it, from 1."""

    has_answers: bool  # that are read
    read: Callable[[], Numbered[Asked]] = field(repr=False)

    @property
    def is_labelled(self) -> bool:
        return self.has_answers

    def _rows(self, tally: Tally) -> Iterator[Question]:
        seen: set[str] = set()
        for line, asked in self.read():
            try:
                if isinstance(asked, Fault):
                    raise asked
                if asked.id in seen:
                    raise Fault("an id that an earlier question has", "give each question its own", asked.place)
                row = self._row(line, asked, tally)
            except Fault as fault:
                tally.add_fault(line, fault)
                continue
            seen.add(asked.id)
            if self.skip_bad_rows or not tally.skipped:  # else only what else is wrong is still of interest
                tally.rows += 1
                yield row

    def _row(self, line: int, asked: Asked, tally: Tally) -> Question:
        answers = _placed(self.task, asked, tally) if self.has_answers else None
        if not asked.question.strip() or not asked.context.strip():
            if self.skip_bad_rows:
                raise Fault("a question or context without text", "", asked.place)
            tally.empty += 1
            tally.first_empty = tally.first_empty or line
        return Question(line, (), (asked.question, asked.context), None, asked.id, answers)


def open_questions(
    task: Task,
    path: Path,
    split: str,
    skip_bad_rows: bool,
    needs_labels: bool,
    records: Callable[[], Numbered[Record]] | None = None,
) -> QuestionSplit:
    """Open a file of the task's split: `glue_tasks.files.open_table` for spans.

    Raises UserError if the file has no question, or no answers where they are needed.
    """

    def read() -> Numbered[Asked]:
        return _questions(task, records() if records else _records(path), not split.startswith("test"))

    opened = QuestionSplit(task, path, False, read, skip_bad_rows=skip_bad_rows)
    if split.startswith("test"):
        return opened
    first: tuple[int, Fault] | None = None
    rows = 0
    for line, asked in read():
        rows += 1
        if isinstance(asked, Fault):
            first = first or (line, asked)
        elif asked.answers or (task.may_lack_answer and asked.answers is not None):
            return QuestionSplit(task, path, True, read, skip_bad_rows=skip_bad_rows)
    if first:
        raise UserError(first[1].at(path, first[0]))
    if not rows:
        raise UserError(f"{path} has no questions; it is empty, or its lists are")
    if needs_labels:
        raise UserError(f"{path} has no answers, as in a test file; write `answers` for each question")
    warn_once(f"{path} has no answers, and is read without, since none are needed here")
    return opened


def _placed(task: Task, asked: Asked, tally: Tally) -> tuple[Answer, ...]:
    """The answers at their places in the context, those without one last. Raises Fault."""
    if not asked.answers:
        if asked.answers is not None and task.may_lack_answer:
            return ()
        cure = "" if task.may_lack_answer else f'{task.name} has an answer for each; or set span_score to "squad2"'
        raise Fault("a question without an answer", cure, asked.place)
    placed, unplaced = [], []
    for answer in asked.answers:
        start = _find(answer, asked.context)
        if start is None and answer.start == -1:
            unplaced.append(answer)
        elif start is None:
            raise Fault(
                f"the answer {shown(answer.text, 40)!r} is not in its context of {len(asked.context):,} characters",
                "copy it from there",
                asked.place,
            )
        else:
            placed.append(Answer(answer.text, start))
            if start != answer.start and answer.start != _UNKNOWN:
                tally.moved += 1
                tally.first_moved = tally.first_moved or asked.place
    if not placed:
        raise Fault("a question none of whose answers is in its context", "copy one from there", asked.place)
    tally.unplaced += len(unplaced)
    return (*placed, *unplaced)


_UNKNOWN = -2  # the offset of an answer for which the file has none


def _find(answer: Answer, context: str) -> int | None:
    """Where the answer's text is: at its offset, else the nearest place; None if it is nowhere."""
    text, offset = answer
    if offset >= 0 and context.startswith(text, offset):
        return offset
    before = context.rfind(text, 0, max(0, min(offset, len(context))) + len(text))
    after = context.find(text, max(0, offset))
    found = [start for start in (before, after) if start >= 0]
    return min(found, key=lambda start: abs(start - offset)) if found else None


# From the file.


def _questions(task: Task, records: Numbered[Record], labelled: bool) -> Numbered[Asked]:
    """The questions of records of either layout; without their answers if they are not to be read."""
    ask = _asker(task, labelled)
    number = 0
    for line, record in records:
        if isinstance(record, Fault):
            yield line, record
            continue
        nested = not _LISTS.isdisjoint(record)
        for article, fields in _nested(record, task.text_columns[1]) if nested else [("", record)]:
            number += 1
            try:
                asked: Asked | Fault = _raised(fields) if isinstance(fields, Fault) else ask(fields, article)
            except Fault as fault:
                asked = Fault(fault.what, fault.cure, fault.place or (article and _place(article, "")))
            yield number if nested else line, asked


def _raised(fault: Fault) -> Asked:
    raise fault


def is_nested(path: Path) -> bool:
    """Whether a file has the questions of its articles or paragraphs in lists, by the first record that can be read."""
    first = next((record for _, record in _records(path) if not isinstance(record, Fault)), {})
    return not _LISTS.isdisjoint(first)


def _records(path: Path) -> Numbered[Record]:
    return iter([(1, read_object(path))]) if _is_one_object(path) else read_records(path)


def _is_one_object(path: Path) -> bool:
    """Whether a JSON object begins on the first line and does not end there."""
    if suffix_of(path) == ".parquet":
        return False
    first = next((text for _, text in read_lines(path) if isinstance(text, Fault) or text.strip()), "")
    return isinstance(first, str) and first.lstrip().startswith("{") and not first.rstrip().endswith("}")


def _nested(record: Record, context: str) -> Iterator[tuple[str, Record | Fault]]:
    """The name of each question's article, and its fields, with the paragraph's text as `context`."""
    for article in _objects(record, "data"):
        title = "" if isinstance(article, Fault) else _title(article)
        for paragraph in [article] if isinstance(article, Fault) else _objects(article, "paragraphs"):
            if isinstance(paragraph, Fault):
                yield title, paragraph
                continue
            text = next((paragraph[name] for name in (context, *_CONTEXTS) if name in paragraph), None)
            for question in _objects(paragraph, "qas"):
                fields = question if isinstance(question, Fault) else {**question, context: text}
                yield title or _title(paragraph), fields


def _objects(record: Record, name: str) -> Iterator[Record | Fault]:
    """The objects of a list; the record itself if it has no such list, but one further in."""
    if name not in record and name != "qas":
        yield record
    elif not isinstance(found := record.get(name), list):
        yield Fault(f"{name} is no list" if name in record else f"a paragraph without {name}", "write it as SQuAD does")
    else:
        yield from (
            each if isinstance(each, dict) else Fault(f"{shown(str(each), 40)!r} in {name}, which is a list of objects")
            for each in found
        )


def _title(record: Record) -> str:
    return next((str(record[name]) for name in ("title", "id", "context_id") if record.get(name)), "")


def _asker(task: Task, labelled: bool) -> Callable[[Record, str], Asked]:
    """What makes a question of a record's fields, and raises Fault."""
    id_column = task.id_column or "id"
    fields_of: dict[tuple[str, ...], tuple[str, str, str, str]] = {}  # of each set of fields that occurs

    def columns_of(names: tuple[str, ...]) -> tuple[str, str, str, str]:
        found = find_columns(task, task.text_columns, names)
        if isinstance(found, Fault):
            raise found
        ids = find_columns(task, (id_column,), names)
        if isinstance(ids, Fault):
            raise Fault("a question without an id", f"write it as {id_column!r}")
        answers = find_columns(task, (task.label_column,), names)
        question, context = (names[at] for at in found)
        return names[ids[0]], question, context, "" if isinstance(answers, Fault) else names[answers[0]]

    def ask(fields: Record, article: str) -> Asked:
        names = tuple(fields)
        if names not in fields_of:
            columns = columns_of(names)
            if len(fields_of) == _SETS_KEPT:
                fields_of.clear()
            fields_of[names] = columns
        id, question, context, answers = fields_of[names]
        known = fields[id]
        if not isinstance(known, str | int) or isinstance(known, bool) or known == "":
            raise Fault("a question without an id", f"write it as {id_column!r}")
        place = _place(article, str(known))
        for name, value in ((id, str(known)), (question, fields[question]), (context, fields[context])):
            if not isinstance(value, str):
                kind = "nothing" if value is None else f"a {type(value).__name__}"
                raise Fault(f"{name} holds {kind}, not text", "", place)
            _check_characters(name, value, place)
        found = _answers(fields, answers, place) if labelled and answers else None
        return Asked(str(known), fields[question], fields[context], found, article)

    return ask


def _check_characters(name: str, value: str, place: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Fault(f"{name} holds half a character (a lone surrogate)", "", place) from None


def _answers(fields: Record, column: str, place: str) -> tuple[Answer, ...] | None:
    """The answers of a question, in whichever layout. Raises Fault."""
    value = fields[column]
    impossible = fields.get("is_impossible")
    if value is None:
        return () if impossible is True else None
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        if isinstance(texts, str):
            texts, starts = [texts], [starts]
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise Fault(f"{column} has no text and answer_start of one length", _CURE, place)
        pairs = list(zip(texts, starts, strict=True))
    else:
        each = value if isinstance(value, list) else [value]
        pairs = [
            (answer.get("text"), answer.get("answer_start", _UNKNOWN))
            if isinstance(answer, dict)
            else (answer, _UNKNOWN)
            for answer in each
        ]
    for text, start in pairs:
        if not isinstance(text, str) or not text.strip():
            raise Fault("an answer without a text", _CURE, place)
        if type(start) is not int:
            raise Fault(f"the answer {shown(text, 40)!r} has the offset {shown(str(start), 40)}", _CURE, place)
        _check_characters(column, text, place)
    if impossible is True and pairs:
        raise Fault("is_impossible is true, and there is an answer", "correct one of them", place)
    if impossible is False and not pairs:
        raise Fault("is_impossible is false, and there is no answer", "correct one of them", place)
    return tuple(Answer(text, start) for text, start in pairs)


_CURE = 'write an answer as {"text": ..., "answer_start": ...}, its offset in characters from 0'
