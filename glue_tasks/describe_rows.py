"""What is in a split of tokens or of spans: format, entities or answers, lengths, examples. As `describe` for tables.

One pass; only counts are kept, never the text.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from glue_tasks.describe import BLOCK, TEXT_SHOWN, CountPieces, count_words, is_packed, percentiles, wrapped
from glue_tasks.entities import Entity, Scheme, read_entities
from glue_tasks.lines import RECORDS, shown, suffix_of
from glue_tasks.question_files import QuestionSplit, is_nested
from glue_tasks.rows import Question, Row, Split
from glue_tasks.task import Task
from glue_tasks.token_files import TokenSplit

_EXAMPLES = 3  # the first rows


def lines_of_rows(split: Split, count_pieces: CountPieces | None = None) -> Iterator[str]:
    """Read a split of tokens or spans once, and say what is in it, line by line. Raises UserError at a bad row."""
    if isinstance(split, TokenSplit):
        yield from _of_tokens(split, count_pieces)
    elif isinstance(split, QuestionSplit):
        yield from _of_questions(split, count_pieces)
    else:
        raise TypeError(f"{type(split).__name__} is described by `describe.lines`")


def _of_tokens(split: TokenSplit, count_pieces: CountPieces | None) -> Iterator[str]:
    task = split.task
    types: Counter[str] = Counter()
    tokens: Counter[int] = Counter()  # number of tokens -> sentences, as all lengths here
    pieces: Counter[int] = Counter()
    without = 0
    examples: list[Row] = []
    rows = iter(split)
    while block := list(itertools.islice(rows, BLOCK)):
        examples += block[: _EXAMPLES - len(examples)]
        tokens.update(len(row.texts) for row in block)
        pieces.update(count_pieces([row.texts for row in block]) if count_pieces else ())
        for row in block:
            found = _entities(task, row)
            types.update(entity.type for entity in found)
            without += not found
    scheme = f"{split.scheme} read as {Scheme.BIO}" if split.scheme not in (Scheme.BIO, None) else split.scheme
    layout = "a token on each line" + ", its tag in the last column" * split.is_labelled
    yield from wrapped("format", _format(split.path, layout), *([f"tags in {scheme}"] if scheme else []))
    if split.is_labelled:
        counts = (f"{each or 'of no type'} {types[each]:,}" for each in task.entity_types)
        yield from wrapped("entities", f"{types.total():,} in all", *counts)
        yield from wrapped("none in", f"{without:,} sentences ({without / tokens.total():.1%})")
    else:
        yield from wrapped("entities", "tags are not read in a test split, or there are none")
    tally = split.tally
    if tally.mended:
        yield from wrapped("mended", f"{tally.mended:,} tags that break their scheme, {tally.first_mended} the first")
    if tally.spaces:
        yield from wrapped("left out", f"{tally.spaces:,} tokens of white space")
    if tally.skipped:
        yield from wrapped("skipped", tally.faults())
    yield from wrapped("tokens", *percentiles(tokens), f"{sum(size * many for size, many in tokens.items()):,} in all")
    yield from _pieces(task, pieces, "sentences")
    between = "" if task.language == "zh" else " "
    for row in examples:
        yield f"  line {row.line}: {shown(between.join(row.texts), TEXT_SHOWN)}"
        found = _entities(task, row)
        named = (f"{between.join(row.texts[first : last + 1])} ({each})" for each, first, last in found)
        yield from (f"    {shown(', '.join(named), TEXT_SHOWN)}" for _ in found[:1])


def _entities(task: Task, row: Row) -> Sequence[Entity]:
    return read_entities([task.labels[each] for each in row.label]) if isinstance(row.label, tuple) else []


def _of_questions(split: QuestionSplit, count_pieces: CountPieces | None) -> Iterator[str]:
    task, is_chinese = split.task, split.task.language == "zh"
    questions: Counter[int] = Counter()  # number of words -> questions, as all lengths here
    contexts: Counter[int] = Counter()
    lengths: Counter[int] = Counter()
    pieces: Counter[int] = Counter()
    known: Counter[int] = Counter()  # number of answers -> questions
    examples: list[Question] = []
    rows = iter(split)
    while block := [row for row in itertools.islice(rows, BLOCK) if isinstance(row, Question)]:
        examples += block[: _EXAMPLES - len(examples)]
        questions.update(count_words(row.texts[:1], is_chinese) for row in block)
        contexts.update(count_words(row.texts[1:], is_chinese) for row in block)
        known.update(len(row.answers) for row in block if row.answers is not None)
        lengths.update(count_words([each.text], is_chinese) for row in block for each in row.answers or ())
        pieces.update(count_pieces([row.texts for row in block]) if count_pieces else ())
    layout = "articles and paragraphs with their questions" if is_nested(split.path) else "a record for each question"
    yield from wrapped("format", f"{_format(split.path, '')}, {layout}")
    if split.is_labelled:
        counts = (f"{many or 'none'} of {number:,} questions" for many, number in sorted(known.items()))
        yield from wrapped("answers", f"{lengths.total():,} in all", *counts)
    else:
        yield from wrapped("answers", "they are not read in a test split, or there are none")
    tally = split.tally
    if tally.moved:
        yield from wrapped("moved", f"{tally.moved:,} answers not at their offset, found by their text")
    if tally.unplaced:
        yield from wrapped("absent", f"{tally.unplaced:,} answers not in their context, kept to score by")
    if tally.skipped:
        yield from wrapped("skipped", tally.faults())
    unit = "characters" if is_chinese else "words"
    yield from wrapped("context", *percentiles(contexts), unit)
    yield from wrapped("question", *percentiles(questions), unit)
    if lengths:
        yield from wrapped("answer", *percentiles(lengths), unit)
    yield from _pieces(task, pieces, "questions, whose contexts are read in windows")
    for row in examples:
        yield f"  question {shown(row.id, TEXT_SHOWN)}: {shown(row.texts[0], TEXT_SHOWN)}"
        yield f"    {task.text_columns[1]}: {shown(row.texts[1], TEXT_SHOWN)}"
        for text, start in dict.fromkeys(row.answers or ()):
            yield f"    answer: {shown(text, TEXT_SHOWN)} ({f'at {start:,}' if start >= 0 else 'not in the context'})"
        if row.answers == ():
            yield "    no answer"


def _format(path: Path, of_lines: str) -> str:
    packed = ", gzipped" if is_packed(path) else ""
    if of_lines and suffix_of(path) not in RECORDS:
        return of_lines + packed
    return ("Parquet" if suffix_of(path) == ".parquet" else "JSON") + packed


def _pieces(task: Task, pieces: Counter[int], what: str) -> Iterator[str]:
    if pieces:
        longer = sum(count for length, count in pieces.items() if length > task.max_length)
        yield from wrapped("pieces", *percentiles(pieces), f"longer than {task.max_length}: {longer:,} {what}")
