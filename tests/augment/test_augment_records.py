"""Files of tokens and spans through the whole pipeline: written in blocks, joined, resumed, and read back."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from augment.__main__ import app, merge_app
from augment.kinds.spans import Spans
from augment.kinds.tokens import Tokens
from augment.of_run import augment_for
from augment.pipeline import augment_file, merge_file
from augment.settings import Settings, Shard
from glue_tasks import TASKS, UserError
from glue_tasks.entities import read_entities
from glue_tasks.files import open_table
from tests.augment.made_rows import SPANS, TOKENS, settings_of
from tinydistill.options import Options
from tinydistill.settings import with_augmented

SENTENCES = [
    "Ada/B-PER Lovelace/I-PER saw a good film in Paris/B-LOC .",
    "the of",
    "Bob/B-PER tells a warm story of the old house",
    "the river Thames/B-LOC is long and the city London/B-LOC old",
    "Ada/B-PER Lovelace/I-PER saw a good film in Paris/B-LOC .",
]
CONTEXTS = ["a good film of a young actor tells a warm story", "the old city on the long river is great"]
QUESTIONS = [("what film ?", 0, "young actor"), ("a good story ?", 0, "warm"), ("what river ?", 1, "long river")]


def tokens_file() -> list[dict[str, Any]]:
    pairs = [[(each + "/O").split("/")[:2] for each in sentence.split()] for sentence in SENTENCES]
    return [{"tokens": [token for token, _ in row], "tags": [tag for _, tag in row]} for row in pairs]


def spans_file() -> list[dict[str, Any]]:
    return [
        {
            "id": f"q{number}",
            "context": CONTEXTS[at],
            "question": question,
            "answers": {"text": [answer], "answer_start": [CONTEXTS[at].index(answer)]},
        }
        for number, (question, at, answer) in enumerate(QUESTIONS)
    ]


@pytest.fixture(params=["tokens", "swapped", "spans"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, tiny_mlm: str) -> Settings:
    is_spans = request.param == "spans"
    rows = spans_file() if is_spans else tokens_file()
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    swaps = {"swap_entities": True} if request.param == "swapped" else {}
    return settings_of(SPANS if is_spans else TOKENS, tmp_path, mlm=tiny_mlm, variants=12, **swaps)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().decode().removesuffix("\n").split("\n")]


def counts_of(settings: Settings) -> dict[str, Any]:
    counts = json.loads(settings.output.with_suffix(".json").read_text())["counts"]
    return {name: value for name, value in counts.items() if "second" not in name}


def remove_output(settings: Settings) -> None:
    settings.output.unlink()
    settings.output.with_suffix(".json").unlink()


def test_each_row_is_followed_by_its_variants_and_read_back(settings: Settings) -> None:
    counts = augment_file(settings)
    originals = lines(settings.train_file)
    written = lines(settings.output)
    places = [i for i, row in enumerate(written) if row in originals]
    assert [written[i] for i in places] == originals
    assert counts.rows_in == len(originals)
    assert counts.rows_out == len(written) > 4 * len(originals)
    sides = 2 if settings.task.kind == "spans" else 1
    assert counts.duplicates_dropped == sides * 12 * len(originals) - (len(written) - len(originals))
    assert counts.replaceable == counts.answered_by_masked_lm + counts.answered_by_fill + counts.without_candidate
    rows = list(open_table(settings.task, settings.output))
    if settings.task.kind == "spans":
        assert [(row.texts[0], row.texts[1], row.id) for row in rows] == [  # type: ignore[attr-defined]
            (each["question"], each["context"], each["id"]) for each in written
        ]
        for row in written:
            (answer,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
            assert row["context"][start : start + len(answer)] == answer
    else:
        assert [row.texts for row in rows] == [tuple(each["tokens"]) for each in written]
        assert [tuple(settings.task.labels[tag] for tag in row.label) for row in rows] == [  # type: ignore[union-attr]
            tuple(each["tags"]) for each in written
        ]
        at = {i: max(place for place in places if place <= i) for i in range(len(written))}
        for i, row in enumerate(written):
            original = written[at[i]]
            found, expected = ([entity.type for entity in read_entities(each["tags"])] for each in (row, original))
            assert found == expected
            if not settings.swap_entities:
                kept = [(token, tag) for token, tag in zip(row["tokens"], row["tags"], strict=True) if tag != "O"]
                assert kept == [
                    (token, tag) for token, tag in zip(original["tokens"], original["tags"], strict=True) if tag != "O"
                ]


def test_the_output_depends_on_neither_blocks_nor_batches_and_on_the_seed(settings: Settings) -> None:
    augment_file(settings)
    expected = settings.output.read_bytes()
    for change in ({"batch_size": 1}, {"block_rows": 1}, {"block_rows": 2}):
        augment_file(replace(settings, **change), overwrite=True)
        assert settings.output.read_bytes() == expected
    augment_file(replace(settings, limit=2), overwrite=True)
    assert expected.startswith(settings.output.read_bytes())
    augment_file(replace(settings, seed=1), overwrite=True)
    assert settings.output.read_bytes() != expected


def test_a_resumed_run_and_shards_are_one_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    augment_file(settings)
    settings = replace(settings, block_rows=1)
    expected, counts = settings.output.read_bytes(), counts_of(settings)
    if settings.task.kind == "spans":  # the shared context was asked about once
        augment_file(settings, overwrite=True)
        counts = counts_of(settings)
    remove_output(settings)
    kind = Spans if settings.task.kind == "spans" else Tokens
    variants = kind.variants

    def interrupted(self: Any, number: int, *args: Any, **kwargs: Any) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return variants(self, number, *args, **kwargs)

    monkeypatch.setattr(kind, "variants", interrupted)
    with pytest.raises(KeyboardInterrupt):
        augment_file(settings)
    parts = settings.output.with_suffix(".parts")
    files = ["000000.json", "000000.jsonl", "000001.json", "000001.jsonl", "run.json"]
    assert sorted(path.name for path in parts.iterdir()) == files
    monkeypatch.undo()
    augment_file(settings, resume=True)
    assert settings.output.read_bytes() == expected
    assert counts_of(settings) == counts
    assert sorted(path.name for path in settings.output.parent.iterdir() if path.name.startswith("train")) == [
        "train.jsonl", "train_aug.json", "train_aug.jsonl",
    ]  # fmt: skip

    remove_output(settings)
    for number in (2, 1):
        augment_file(settings, shard=Shard(number, 2))
    merge_file(settings.output)
    assert settings.output.read_bytes() == expected
    assert counts_of(settings) == counts


def test_whether_entities_are_swapped_is_a_setting_of_the_record(tmp_path: Path, tiny_mlm: str) -> None:
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tokens_file()))
    settings = settings_of(TOKENS, tmp_path, mlm=tiny_mlm, swap_entities=True)
    augment_file(settings)
    with pytest.raises(UserError, match=r"other settings or files \(swap_entities\)"):
        augment_file(replace(settings, swap_entities=False))


def conll_file() -> str:
    pairs = [zip(row["tokens"], row["tags"], strict=True) for row in tokens_file()]
    return "\n".join("".join(f"{token} {tag}\n" for token, tag in row) for row in pairs)


def squad_file() -> str:
    paragraphs: list[dict[str, Any]] = [{"context": context, "qas": []} for context in CONTEXTS]
    for number, (question, at, answer) in enumerate(QUESTIONS):
        answers = [{"text": answer, "answer_start": CONTEXTS[at].index(answer)}]
        paragraphs[at]["qas"].append({"id": f"q{number}", "question": question, "answers": answers})
    return json.dumps({"version": "1.1", "data": [{"title": "Films", "paragraphs": paragraphs}]})


@pytest.mark.parametrize("name", ["CoNLL2003", "SQuAD1.1"])
def test_command_line_and_the_layouts_as_published(tmp_path: Path, tiny_mlm: str, name: str) -> None:
    is_spans = name == "SQuAD1.1"
    train_file = tmp_path / name / TASKS[name].files["train"]
    train_file.parent.mkdir()
    train_file.write_text(squad_file() if is_spans else conll_file())
    common = ["--task", name, "--data-dir", str(tmp_path)]
    arguments = [*common, "--mlm", tiny_mlm, "--multi-piece-words", "mask", "--precision", "float32"]

    def run(*more: str) -> str:
        result = CliRunner().invoke(app, [*arguments, *more])
        assert result.exit_code == 0, result.output
        return result.output

    shown = run("--show", "1", "--N", "5")
    output = tmp_path / name / "train_aug.jsonl"
    originals = spans_file() if is_spans else tokens_file()
    assert f"{output}: {len(lines(output))} rows from {len(originals)}" in shown
    assert [row for row in lines(output) if row in originals] == originals
    # What is shown in brackets is what is written.
    texts = {text for row in lines(output) for text in (" ".join(row.get("tokens", [])), *map(str, row.values()))}
    marked = [line.strip() for line in shown.splitlines() if line.startswith("    ")]
    assert marked
    assert all("[" in line and re.sub(r"[\[\]]", "", line) in texts for line in marked)
    expected = output.read_bytes()
    output.unlink()
    output.with_suffix(".json").unlink()
    for part in ("1/2", "2/2"):
        run("--N", "5", "--block-rows", "2", "--shard", part)
    result = CliRunner().invoke(merge_app, common)
    assert result.exit_code == 0, result.output
    assert output.read_bytes() == expected
    swapped = CliRunner().invoke(app, [*arguments, "--swap-entities", "--overwrite"])
    assert swapped.exit_code == (2 if is_spans else 0)
    if is_spans:
        assert "--swap-entities is for tasks of tagged tokens, and SQuAD1.1 is none" in swapped.output


@pytest.mark.parametrize("name", ["CoNLL2003", "SQuAD1.1"])
def test_what_augment_of_run_tinybert_makes(tmp_path: Path, tiny_mlm: str, name: str) -> None:
    task = TASKS[name]
    train_file = tmp_path / "data" / name / task.files["train"]
    train_file.parent.mkdir(parents=True)
    train_file.write_text(squad_file() if name == "SQuAD1.1" else conll_file())
    given = {"data_dir": str(tmp_path / "data"), "output_dir": str(tmp_path / "run"), "mlm": tiny_mlm}
    made = augment_for(task, Options(**given, multi_piece_words="mask", variants=4))
    assert made == tmp_path / "run" / "augment" / "train_aug.jsonl"
    rows = list(open_table(task, made))
    originals = list(open_table(task, train_file))
    assert [row.texts for row in rows if row.texts in {each.texts for each in originals}] == [
        each.texts for each in originals
    ]
    assert len(rows) > 3 * len(originals)


def test_augmented_is_the_file_beside_the_train_file(tmp_path: Path) -> None:
    written = tmp_path / "SQuAD1.1" / "train_aug.jsonl"
    written.parent.mkdir()
    options = Options(data_dir=str(tmp_path), augmented=True)
    with pytest.raises(UserError, match=r"there is no file .*train_aug.jsonl; write it with `python -m augment"):
        with_augmented(TASKS["SQuAD1.1"], options)
    written.touch()
    assert with_augmented(TASKS["SQuAD1.1"], options).train_file == str(written)
