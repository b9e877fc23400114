"""Tasks of spans and tokens: their tables, their own task files, `list`, `show` and `download`."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Features, Value
from datasets import Sequence as ListOf
from typer.testing import CliRunner

from glue_tasks import TASKS, Task, UserError, get_task
from glue_tasks.__main__ import app
from glue_tasks.digests import reading_digest
from glue_tasks.files import open_table
from glue_tasks.hub import Format, download
from glue_tasks.places import augmented_name, find_file
from glue_tasks.reading import READING
from glue_tasks.rows import Answer, Question
from glue_tasks.tagging import TAGGING
from glue_tasks.task import bio_tags
from glue_tasks.task_file import check_task, load_task
from tests.glue_tasks.hub_repository import Rows, publish, with_rows

OF_ROWS = [*READING.values(), *TAGGING.values()]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for `datasets`, empty."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def run(*args: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    return done.exit_code, done.stdout, done.stderr


# Tables.

# task: maximum length, epochs and rate of the teacher (TextBrewer's examples, BERT's and CMRC 2018's baselines)
PUBLISHED = {
    "SQuAD1.1": (384, 2, 3e-5),
    "SQuAD2.0": (384, 2, 3e-5),
    "CMRC2018": (512, 2, 3e-5),
    "DRCD": (512, 2, 3e-5),
    "CoNLL2003": (128, 3, 5e-5),
    "MSRA": (128, 2, 2e-5),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_the_published_ones(name: str) -> None:
    task = TASKS[name]
    assert (task.max_length, task.teacher_epochs, task.teacher_learning_rate) == PUBLISHED[name]


@pytest.mark.parametrize("task", OF_ROWS, ids=lambda task: task.name)
def test_tables(task: Task) -> None:
    check_task(task)
    assert (task.text_columns, task.label_column) in [(("tokens",), "tags"), (("question", "context"), "answers")]
    assert augmented_name(task) == "train_aug.jsonl"
    if task.kind == "tokens":
        assert task.labels == bio_tags(*task.entity_types)
        assert task.metrics == ("entity_f1", "entity_precision", "entity_recall")
    else:
        assert task.span_score == {"SQuAD1.1": "squad", "SQuAD2.0": "squad2"}.get(task.name, "cmrc")
        assert task.num_labels == 2


def test_names_that_people_give_them() -> None:
    names = {
        "squad": "SQuAD1.1",
        "squad_v2": "SQuAD2.0",
        "cmrc2018": "CMRC2018",
        "drcd": "DRCD",
        "conll2003": "CoNLL2003",
    }
    assert {name: get_task(name).name for name in names} == names
    assert augmented_name(TASKS["SST-2"]) == "train_aug.tsv"


# Tags by the numbers of the hub's datasets, as their cards have them.
CONLL = "O B-PER I-PER B-ORG I-ORG B-LOC I-LOC B-MISC I-MISC"
WEIBO = " ".join(
    f"{one}-{each}.{form}" for one in "BI" for each in ("GPE", "LOC", "ORG", "PER") for form in ("NAM", "NOM")
)
TAGS_OF_HUB = {
    "CoNLL2003": CONLL,
    "MSRA": CONLL.partition(" B-MISC")[0],
    "PeoplesDaily": CONLL.partition(" B-MISC")[0],
    "Weibo": WEIBO + " O",
}


@pytest.mark.parametrize("name", TAGS_OF_HUB)
def test_numbers_of_the_hub_are_its_tags(tmp_path: Path, name: str) -> None:
    tags = TAGS_OF_HUB[name].split()
    path = tmp_path / "train.jsonl"
    records = [
        {"tokens": ["a", "b"], "ner_tags": [tags.index("B-" + tag[2:]), tags.index(tag)]} for tag in tags if tag != "O"
    ]
    records.append({"tokens": ["a", "b"], "ner_tags": [tags.index("O")] * 2})
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    task = TASKS[name]
    labels = [
        [task.labels[each] for each in row.label] for row in open_table(task, path) if isinstance(row.label, tuple)
    ]
    assert labels == [*(["B-" + tag[2:], tag] for tag in tags if tag != "O"), ["O", "O"]]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "folder", "split", "file", "rows"),
    [
        ("SQuAD1.1", "mrc", "train", "train-v1.1-part.json", 11_877),
        ("CMRC2018", "mrc", "dev", "cmrc2018_dev.json", 3_219),
        ("CMRC2018", "mrc", "test", "cmrc2018_trial.json", 1_002),
        ("DRCD", "mrc", "test", "DRCD_test.json", 3_493),
        ("MSRA", "ner", "dev", "dev.txt", 4_631),
        ("Weibo", "ner", "test", "test.all.bmes", 270),
    ],
)
def test_real_files_are_found_by_their_names(
    shared: Path, name: str, folder: str, split: str, file: str, rows: int
) -> None:
    path = find_file(TASKS[name], shared / "data" / folder, split)
    assert path.name == file
    assert sum(1 for _ in open_table(TASKS[name], path, split)) == rows


# Task files.


def load(folder: Path, text: str) -> Task:
    path = folder / "own.toml"
    path.write_text(f'name = "Own"\n{text}', encoding="utf-8")
    return load_task(path)


@pytest.mark.parametrize(
    "labels",
    [
        '["PER", "LOC"]',
        '["O", "PER", "LOC"]',
        '["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]',
        '["B-PER", "B-LOC", "I-PER", "I-LOC", "O"]',
        '["O", "B-PER", "M-PER", "E-PER", "S-PER", "B-LOC"]',
    ],
)
def test_types_or_tags_become_the_tags_of_bio(tmp_path: Path, labels: str) -> None:
    own = load(tmp_path, f'kind = "tokens"\nlabels = {labels}')
    assert own.labels == bio_tags("PER", "LOC")
    assert own.metrics == ("entity_f1", "entity_precision", "entity_recall")
    assert own.files == {"train": "train.txt", "dev": "dev.txt", "test": "test.txt"}
    (tmp_path / "dev.txt").write_text("a B-PER\nb I-PER\nc O\n")
    (row,) = open_table(own, tmp_path / "dev.txt", "dev")
    assert (row.texts, row.label) == (("a", "b", "c"), (1, 2, 0))


def test_codes_of_tags_go_with_them(tmp_path: Path) -> None:
    own = load(tmp_path, 'kind = "tokens"\nlabels = ["B-X", "I-X", "O"]\nlabel_codes = [0, 1, 2]')
    (tmp_path / "dev.jsonl").write_text('{"tokens": ["a", "b", "c"], "tags": [2, 0, 1]}\n')
    (row,) = open_table(own, tmp_path / "dev.jsonl", "dev")
    assert (own.labels, row.label) == (("O", "B-X", "I-X"), (0, 1, 2))


def test_untyped_tags_of_ones_own(tmp_path: Path) -> None:
    assert load(tmp_path, 'kind = "tokens"\nlabels = ["O", "B", "I"]').labels == ("O", "B", "I")


def test_spans_of_ones_own(tmp_path: Path) -> None:
    own = load(tmp_path, 'kind = "spans"\nspan_score = "squad2"')
    assert (own.labels, own.metrics, own.id_column, own.may_lack_answer) == ((), ("f1", "exact_match"), "id", True)
    assert own.files == {"train": "train.json", "dev": "dev.json", "test": "test.json"}
    named = load(tmp_path, 'kind = "spans"\ntext_columns = ["q", "passage"]\nlabel_column = "spans"\nid_column = "key"')
    (tmp_path / "dev.jsonl").write_text('{"key": 1, "q": "Who?", "passage": "He.", "spans": ["He"]}\n')
    (row,) = open_table(named, tmp_path / "dev.jsonl", "dev")
    assert isinstance(row, Question)
    assert (row.id, row.texts, row.answers) == ("1", ("Who?", "He."), (Answer("He", 0),))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('kind = "tokens"\nlabels = ["O", "I-PER", "PER"]', "has 'PER' among the tags in labels; name the types"),
        ('kind = "tokens"\nlabels = ["PER", "PER"]', "has 'B-PER' twice in labels"),
        ('kind = "tokens"\nlabels = []', "has no labels; name them"),
        ('kind = "tokens"\nlabels = ["O"]', "has one label, 'O'; name all of them"),
        ('kind = "tokens"', "does not say labels"),
        (
            'kind = "tokens"\nlabels = ["PER"]\nlabel_codes = [0]',
            "has label_codes for PER; name the tags that they are of",
        ),
        ('kind = "tokens"\nlabels = ["O", "B-X", "I-X"]\nlabel_codes = [0]', "has 1 label_codes for 3 labels"),
        ('kind = "tokens"\nlabels = ["PER"]\nmetrics = ["accuracy"]', "scores tokens by accuracy; there are entity_f1"),
        ('kind = "tokens"\nlabels = ["PER"]\nmetrics = ["entity"]', "has the metric 'entity'; there are accuracy"),
        ('kind = "tokens"\nlabels = ["PER"]\ntext_columns = ["a", "b"]', "has 2 text_columns; tokens have one"),
        (
            'kind = "tokens"\nlabels = ["PER"]\nheader = false',
            "sets header, which is for tables, and tokens are in none",
        ),
        ('kind = "tokens"\nlabels = ["PER"]\nspan_score = "cmrc"', 'sets span_score, which is for kind = "spans"'),
        ('kind = "tokens"\nlabels = "regression"', "which do not go together"),
        ('kind = "spans"\nlabels = ["a", "b"]', "has labels, and spans have none"),
        (
            'kind = "spans"\nspan_score = "cmr"',
            "sets span_score to 'cmr'; there are squad, squad2, cmrc; did you mean 'cmrc'",
        ),
        (
            'kind = "spans"\ntext_columns = ["q"]',
            "has 1 text_columns; spans have two, those of the question and the context",
        ),
        ('kind = "spans"\nseparator = ";"', "sets separator, which is for tables"),
        ('kind = "spans"\nmetrics = ["entity_f1"]', "scores spans by entity_f1; there are f1, exact_match"),
        ('kind = "token"\nlabels = ["PER"]\ntext_columns = ["a"]\nlabel_column = "b"', "did you mean 'tokens'?"),
    ],
)
def test_what_a_task_file_cannot_say(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        load(tmp_path, text)
    assert sentence in str(error.value)


def test_a_task_made_in_python_has_tags_in_their_order() -> None:
    with pytest.raises(ValueError, match="of tokens they are O, and B and I of each type: O, B-PER, I-PER"):
        check_task(Task("x", "", ("tokens",), "tags", ("B-PER", "I-PER", "O"), ("entity_f1",), "tokens"))


def test_how_files_are_read_depends_on_the_task_alone() -> None:
    assert reading_digest(TASKS["MSRA"]) != reading_digest(TASKS["CoNLL2003"])
    assert reading_digest(TASKS["SQuAD1.1"]) != reading_digest(TASKS["SQuAD2.0"])


# Commands.


def test_list_says_their_kinds() -> None:
    code, out, _ = run("list")
    assert code == 0
    rows = {row.split()[0]: row for row in out.splitlines() if row}
    assert "tokens, 4 types" in rows["CoNLL2003"]
    assert "spans, or no answer" in rows["SQuAD2.0"]
    assert " spans  " in rows["CMRC2018"]


def test_show_of_tokens(tmp_path: Path) -> None:
    (tmp_path / "conll2003").mkdir()
    text = "EU B-ORG\nrejects O\nBritish I-MISC\n\u3000 O\n\nPeter B-PER\nBlackburn I-PER\n\nno O\n\na O\nb\n"
    (tmp_path / "conll2003" / "eng.train").write_text(text)
    (tmp_path / "conll2003" / "eng.testb").write_text("Well O\n")
    code, out, err = run("show", "CoNLL2003", "--data-dir", tmp_path, "--skip-bad-rows")
    assert code == 0, err
    assert (
        "tokens, 4 types; scored by entity_f1, entity_precision, entity_recall\n  types    PER   ORG   LOC   MISC\n"
        in out
    )
    assert "train: 3 sentences in" in out
    assert "eng.train, 1 skipped\n  format   a token on each line, its tag in the last column   tags in BIO\n" in out
    assert "  entities 3 in all   PER 1   ORG 1   LOC 0   MISC 1\n  none in  1 sentences (33.3%)\n" in out
    assert "  mended   1 tags that break their scheme, in the sentence of line 1 the first\n" in out
    assert "  left out 1 tokens of white space\n" in out
    assert "  tokens   50% 2   90% 3   99% 3   max 3   6 in all\n" in out
    assert "  line 1: EU rejects British\n    EU (ORG), British (MISC)\n  line 6: Peter Blackburn\n" in out
    assert "    Peter Blackburn (PER)\n" in out
    assert "test: 1 sentences in" in out
    assert "  entities tags are not read in a test split, or there are none\n" in out


def test_show_of_spans(tmp_path: Path) -> None:
    (tmp_path / "CMRC2018").mkdir()
    answers = [{"text": "河内", "answer_start": 9}, {"text": "河内市", "answer_start": -1}]
    question = {"id": "Q1", "question": "在哪里？", "answers": answers}
    data = {"data": [{"title": "t", "paragraphs": [{"context": "范廷颂在河内。", "qas": [question]}]}]}
    (tmp_path / "CMRC2018" / "cmrc2018_dev.json").write_text(json.dumps(data), encoding="utf-8")
    code, out, err = run("show", "CMRC2018", "--data-dir", tmp_path)
    assert code == 0, err
    assert "dev: 1 questions in" in out
    assert (
        "  format   JSON, articles and paragraphs with their questions\n  answers  2 in all   2 of 1 questions\n" in out
    )
    assert "  moved    1 answers not at their offset, found by their text\n" in out
    assert "  absent   1 answers not in their context, kept to score by\n" in out
    assert "  context  50% 7   90% 7   99% 7   max 7   characters\n" in out
    assert "  answer   50% 2   90% 3   99% 3   max 3   characters\n" in out
    assert "  question Q1: 在哪里？\n    context: 范廷颂在河内。\n    answer: 河内 (at 4)\n" in out
    assert "    answer: 河内市 (not in the context)\n" in out


@pytest.mark.realdata
def test_show_counts_word_pieces_of_both(tmp_path: Path, shared: Path) -> None:
    model = shared / "models" / "minilm-l6-h384-mlm"
    (tmp_path / "CoNLL2003").mkdir()
    (tmp_path / "CoNLL2003" / "dev.txt").write_text("Peter B-PER\nBlackburn I-PER\n" + "long O\n" * 130)
    code, out, err = run("show", "CoNLL2003", "--data-dir", tmp_path, "--tokenizer", model)
    assert code == 0, err
    assert "longer than 128: 1 sentences" in out
    (tmp_path / "squad").mkdir()
    record = {"id": "1", "question": "Who?", "context": "He did.", "answers": {"text": ["He"], "answer_start": [0]}}
    (tmp_path / "squad" / "dev.jsonl").write_text(json.dumps(record) + "\n")
    code, out, err = run("show", "SQuAD1.1", "--data-dir", tmp_path, "--tokenizer", model)
    assert code == 0, err
    assert "  format   JSON, a record for each question\n" in out
    assert "max 8   longer than 384: 0 questions, whose contexts are read in windows" in out


# The hub.

TEXT = Value("string")
TOKENS = Features({"id": TEXT, "tokens": ListOf(TEXT), "ner_tags": ListOf(ClassLabel(names=[*WEIBO.split(), "O"]))})
QUESTIONS = Features(
    {"id": TEXT, "context": TEXT, "question": TEXT, "answers": ListOf({"text": TEXT, "answer_start": Value("int32")})}
)
SENTENCES: Rows = [
    {"id": "0", "tokens": ["我", "叫", "李", "明"], "ner_tags": [16, 16, 6, 14]},
    {"id": "1", "tokens": [], "ner_tags": []},
]
ASKED: Rows = [
    {"id": "a", "context": "He did.", "question": "Who?", "answers": {"text": ["He"], "answer_start": [0]}},
    {"id": "b", "context": "He did.", "question": "When?", "answers": {"text": [], "answer_start": []}},
]


@pytest.mark.parametrize("format", ["parquet", "tsv"])
def test_what_was_downloaded_reads_as_the_rows_of_the_hub(tmp_path: Path, format: Format) -> None:
    weibo, squad = with_rows("Weibo", train=2), with_rows("SQuAD2.0", dev=2)
    download(
        [weibo], tmp_path / "data", publish(tmp_path / "weibo", weibo, {"train": SENTENCES}, TOKENS), format=format
    )
    download([squad], tmp_path / "data", publish(tmp_path / "squad", squad, {"dev": ASKED}, QUESTIONS), format=format)
    path = find_file(weibo, tmp_path / "data", "train")
    assert path.name == ("train.parquet" if format == "parquet" else "train.jsonl")
    (row,) = open_table(weibo, path)
    assert isinstance(row.label, tuple)
    assert (row.texts, [weibo.labels[each] for each in row.label]) == (
        ("我", "叫", "李", "明"),
        ["O", "O", "B-PER.NAM", "I-PER.NAM"],
    )
    path = find_file(squad, tmp_path / "data", "dev")
    assert path.name == ("dev-v2.0.parquet" if format == "parquet" else "dev-v2.0.json")
    rows = [(each.id, each.answers) for each in open_table(squad, path, "dev") if isinstance(each, Question)]
    assert rows == [("a", (Answer("He", 0),)), ("b", ())]


def test_files_as_the_hub_converts_them(tmp_path: Path) -> None:
    weibo = with_rows("Weibo", train=2)
    source = publish(tmp_path / "weibo", weibo, {"train": SENTENCES}, TOKENS)
    file = next((source / "default").glob("train-*.parquet"))
    (source / "default" / "train").mkdir()
    file.rename(source / "default" / "train" / "0000.parquet")
    (source / "README.md").unlink()
    download([weibo], tmp_path / "data", source)
    assert len(list(open_table(weibo, tmp_path / "data" / "Weibo" / "train.parquet"))) == 1


def damaged(rows: Rows, **fields: Any) -> list[dict[str, Any]]:
    return [*rows[:-1], {**rows[-1], **fields}]


@pytest.mark.parametrize(
    ("name", "rows", "features", "sentence"),
    [
        ("Weibo", damaged(SENTENCES, tokens=["a"]), TOKENS, "1 rows cannot be read, line 2 (1 tokens and 0 tags)"),
        ("MSRA", SENTENCES, TOKENS, "unknown tag 'B-PER.NAM'"),
        ("SQuAD2.0", damaged(ASKED, id="a"), QUESTIONS, "question a (an id that an earlier question has)"),
        ("SQuAD1.1", ASKED, QUESTIONS, "question b (a question without an answer)"),
        (
            "SQuAD1.1",
            [{**ASKED[0], "context": "She."}],
            QUESTIONS,
            "question a (the answer 'He' is not in its context of 4",
        ),
        ("Weibo", ASKED, QUESTIONS, "no column named 'tokens'"),
    ],
)
def test_rows_that_cannot_be_the_tasks_are_not_written(
    tmp_path: Path, name: str, rows: Rows, features: Features, sentence: str
) -> None:
    task = with_rows(name, train=len(rows))
    source = publish(tmp_path / "copy", task, {"train": rows}, features)
    with pytest.raises(UserError) as error:
        download([task], tmp_path / "data", source)
    assert sentence in str(error.value)
    assert not (tmp_path / "data").exists()


def test_what_the_hub_does_not_have_is_said(tmp_path: Path) -> None:
    code, _, err = run("download", "--task", "Resume", "--data-dir", tmp_path)
    assert code == 2
    assert "the hub does not have Resume; its files come from https://github.com/jiesutd/LatticeLSTM" in err
