"""Thirty rows of published files of tokens and spans, with real models: tags in step, answers in place."""

import json
from pathlib import Path
from typing import Any

import pytest

from augment.candidate_options import CandidateOptions
from augment.pipeline import augment_file
from augment.settings import Settings
from glue_tasks import get_task
from glue_tasks.entities import read_entities
from glue_tasks.files import open_table

pytestmark = pytest.mark.realdata
ROWS = 30
_SENTENCES = 200  # of which entities are drawn


def augmented(shared: Path, folder: Path, name: str, file: str, **changes: Any) -> list[tuple[Any, list[Any]]]:
    """Each of the first rows as it is read, and its variants as they are read back."""
    task = get_task(name)
    model = "minilm-l6-h384-mlm" if task.language == "en" else "e5-small-l12-h384-mlm"
    options = CandidateOptions(multi_piece_words="mask", masking="joint", language=task.language)
    train, output = shared / "data" / file, folder / "train_aug.jsonl"
    if task.kind == "tokens":  # MSRA's 50,000 sentences take seconds to read
        sentences = train.read_text(encoding="utf-8").split("\n\n")[:_SENTENCES]
        train = folder / train.name
        train.write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
    settings = Settings(task, train, output, str(shared / "models" / model), None, 5, options=options, limit=ROWS)
    counts = augment_file(Settings(**{**vars(settings), **changes}))
    originals = [row for row, _ in zip(open_table(task, train), range(ROWS), strict=False)]
    read = open_table(task, output)
    rows = list(read)
    assert (read.tally.skipped, read.tally.mended, read.tally.moved) == (0, 0, 0)
    assert len(rows) == counts.rows_out == len(output.read_bytes().decode().removesuffix("\n").split("\n"))
    assert counts.rows_in == ROWS
    assert counts.replaceable > counts.without_candidate + ROWS
    groups: list[tuple[Any, list[Any]]] = []
    left = iter(originals)
    following = next(left)
    for row in rows:
        if following is not None and (row.texts, row.label) == (following.texts, following.label):
            groups.append((following, []))
            following = next(left, None)
        else:
            groups[-1][1].append(row)
    assert following is None
    assert sum(len(variants) for _, variants in groups) > 2 * ROWS
    return groups


@pytest.mark.parametrize(("name", "file"), [("MSRA", "ner/msra/train.txt"), ("Weibo", "ner/weibo/train.all.bmes")])
@pytest.mark.parametrize("swap_entities", [False, True])
def test_tokens(shared: Path, tmp_path: Path, name: str, file: str, swap_entities: bool) -> None:
    labels = get_task(name).labels
    swapped = 0
    for row, variants in augmented(shared, tmp_path, name, file, swap_entities=swap_entities):
        expected = entities(row, labels)
        for variant in variants:
            found = entities(variant, labels)
            assert [of_type for of_type, _ in found] == [of_type for of_type, _ in expected]
            swapped += found != expected
            assert variant.texts != row.texts
            assert len(variant.label) == len(variant.texts)
    assert (swapped > 0) == swap_entities


def entities(row: Any, labels: tuple[str, ...]) -> list[tuple[str, str]]:
    found = read_entities([labels[tag] for tag in row.label])
    return [(each.type, "".join(row.texts[each.first : each.last + 1])) for each in found]


@pytest.mark.parametrize(
    ("name", "file"),
    [("SQuAD1.1", "mrc/squad1.1/train-v1.1-part.json"), ("CMRC2018", "mrc/cmrc2018/cmrc2018_trial.json")],
)
def test_spans(shared: Path, tmp_path: Path, name: str, file: str) -> None:
    groups = augmented(shared, tmp_path, name, file)
    ids = [each.id for row, variants in groups for each in (row, *variants)]
    assert len(set(ids)) == len(ids)
    moved = 0
    for row, variants in groups:
        for variant in variants:
            assert [answer.text for answer in variant.answers] == [answer.text for answer in row.answers]
            for answer, original in zip(variant.answers, row.answers, strict=True):
                assert variant.texts[1][answer.start : answer.start + len(answer.text)] == answer.text
                moved += answer.start != original.start
            assert (variant.texts[0] != row.texts[0]) != (variant.texts[1] != row.texts[1])
    assert moved > ROWS
    written = [json.loads(line) for line in (tmp_path / "train_aug.jsonl").read_bytes().decode().split("\n") if line]
    for each in written:
        for text, start in zip(each["answers"]["text"], each["answers"]["answer_start"], strict=True):
            assert each["context"].startswith(text, start)
