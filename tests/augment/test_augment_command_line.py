import csv
import gzip
import json

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from augment import pipeline
from augment.__main__ import app, merge_app
from glue_tasks.files import open_table
from glue_tasks.glue import GLUE

RTE = """index\tsentence1\tsentence2\tlabel
0\tA good film makes people warm.\tPeople is cold.\tnot_entailment
1\tThe director shows a city.\tA city is old.\tentailment
"""


@pytest.fixture
def run(tmp_path, tiny_mlm, tiny_vectors):
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    (tmp_path / "glue" / "RTE" / "train.tsv").write_text(RTE)

    def invoke(*extra: str, **replaced: str):
        options = {
            "--task": "RTE",
            "--data-dir": str(tmp_path / "glue"),
            "--mlm": tiny_mlm,
            "--vectors": str(tiny_vectors),
            "--device": "cpu",
        }
        options.update({f"--{name.replace('_', '-')}": value for name, value in replaced.items()})
        return CliRunner().invoke(app, [word for pair in options.items() for word in pair] + list(extra))

    return invoke


def test_writes_beside_the_training_file_with_the_papers_n(run, tmp_path):
    result = run()
    assert result.exit_code == 0, result.output
    output = tmp_path / "glue" / "RTE" / "train_aug.tsv"
    rows = list(open_table(GLUE["RTE"], output))
    assert f"{output}: {len(rows)} rows from 2" in result.output
    assert "rows/s" in result.output
    assert len(rows) > 2 * 20  # N is 30 for RTE, on either side
    again = run()
    assert again.exit_code == 0
    assert "already done" in again.output
    other = run("--seed", "5")
    assert other.exit_code == 2
    assert "--overwrite" in other.stderr
    assert run("--seed", "5", "--overwrite").exit_code == 0


def test_without_vectors_the_model_answers_for_words_of_several_pieces(tmp_path, tiny_mlm, run):
    given = ["--task", "RTE", "--data-dir", str(tmp_path / "glue"), "--mlm", tiny_mlm, "--device", "cpu"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 2
    assert "--multi-piece-words mask" in result.stderr
    result = CliRunner().invoke(app, [*given, "--multi-piece-words", "mask"])
    assert result.exit_code == 0, result.output
    assert "0 (0%) by word vectors" in result.output
    record = json.loads((tmp_path / "glue" / "RTE" / "train_aug.json").read_text())
    assert "vectors" not in record["inputs"]
    assert record["settings"]["multi_piece_words"] == "mask"
    again = run()  # with vectors: another run
    assert again.exit_code == 2
    assert "multi_piece_words" in again.stderr
    assert run("--multi-piece-words", "both").exit_code == 2


def test_shards_and_ranks_are_merged_to_one_run(run, tmp_path, monkeypatch):
    assert run("--block-rows", "1", "--output-dir", str(tmp_path / "one")).exit_code == 0
    result = run("--block-rows", "1", "--output-dir", str(tmp_path / "two"), "--shard", "1/2")
    assert result.exit_code == 0
    assert "1 of 2 blocks are in" in result.output
    assert "shard 1/2: " in result.output
    given = ["--task", "RTE", "--data-dir", str(tmp_path / "two")]
    early = CliRunner().invoke(merge_app, given)
    assert early.exit_code == 2
    assert "1 of 2 blocks are not in" in early.stderr
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")  # as torchrun sets them
    assert run("--block-rows", "1", "--output-dir", str(tmp_path / "two")).exit_code == 0
    merged = CliRunner().invoke(merge_app, given)
    assert merged.exit_code == 0, merged.output
    one, two = ((tmp_path / name / "RTE" / "train_aug.tsv").read_bytes() for name in ("one", "two"))
    assert one == two
    again = CliRunner().invoke(merge_app, given)
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_a_shard_without_blocks_is_told_and_no_fault(run, tmp_path):
    result = run("--shard", "2/2", "--output-dir", str(tmp_path / "two"))
    assert result.exit_code == 0, result.output
    assert "shard 2/2: 0 rows from 0" in result.output


def test_overwrite_deletes_nothing_before_the_models_are_there(run, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "merge_file", interrupt)
    assert run("--block-rows", "1").exit_code == 130
    monkeypatch.undo()
    parts = tmp_path / "glue" / "RTE" / "train_aug.parts"
    before = sorted(parts.iterdir())
    assert run("--block-rows", "1", "--overwrite", mlm="./nowhere").exit_code == 2
    assert run("--block-rows", "1", "--overwrite", "--multi-piece-words", "vectors", vectors=str(parts)).exit_code == 2
    assert sorted(parts.iterdir()) == before


def test_an_unfinished_run_is_named(run, monkeypatch):
    monkeypatch.setattr(pipeline, "merge_file", interrupt)
    stopped = run()
    assert stopped.exit_code == 130
    assert "the same command with --resume" in stopped.stderr
    monkeypatch.undo()
    again = run()
    assert again.exit_code == 2
    assert "holds an unfinished run of the same settings" in again.stderr
    assert run("--resume", "--overwrite").exit_code == 2
    assert run("--resume").exit_code == 0


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_options_reach_the_work(run, tmp_path):
    result = run(
        "--N", "3", "--M", "4", "--p", "1", "--limit", "1", "--batch-size", "2", "--precision", "float32",
        "--vectors-limit", "4", "--output-dir", str(tmp_path / "elsewhere"), "--show", "1", "--glove",
        str(tmp_path / "nowhere.txt"),
    )  # fmt: skip
    assert result.exit_code == 2
    assert f"there is no file {tmp_path / 'nowhere.txt'}" in result.stderr  # --glove is --vectors
    result = run("--N", "3", "--limit", "1", "--output-dir", str(tmp_path / "elsewhere"), "--show", "1")
    assert result.exit_code == 0
    assert "A good film makes people warm. | People is cold." in result.output
    rows = list(open_table(GLUE["RTE"], tmp_path / "elsewhere" / "RTE" / "train_aug.tsv"))
    assert 1 < len(rows) <= 1 + 3 + 3
    assert not (tmp_path / "glue" / "RTE" / "train_aug.tsv").exists()


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"task": "RTX"}, "did you mean RTE"),
        ({"task": "CoLA"}, "there is no folder"),
        ({"data_dir": "nowhere"}, "there is no folder nowhere"),
        ({"mlm": "./nowhere"}, "there is no model folder ./nowhere"),
        ({"p": "2"}, "--p is a probability"),
        ({"N": "0"}, "--N is at least 1"),
        ({"precision": "half"}, "--precision is one of auto, bf16, fp16, float32, int8"),
        ({"device": "abacus"}, "no device 'abacus'"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(run, replaced, message):
    result = run(**replaced)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_help_names_every_option():
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    for option in ("--task", "--data-dir", "--mlm", "--vectors", "--glove", "--N", "--M", "--p", "--seed", "--limit",
                   "--output-dir", "--batch-size", "--device", "--precision", "--vectors-limit", "--overwrite",
                   "--show", "--compile"):  # fmt: skip
        assert option in result.output


@pytest.mark.parametrize("name", ["train.csv", "train.json", "train.tsv.gz", "train.parquet"])
def test_a_training_file_of_any_format_gives_a_table_that_is_read_back(run, tmp_path, name):
    folder = tmp_path / "glue" / "rte"
    (tmp_path / "glue" / "RTE").rename(folder)
    (folder / "train.tsv").unlink()
    rows = [line.split("\t") for line in RTE.splitlines()]
    records = [dict(zip(rows[0], cells, strict=True)) for cells in rows[1:]]
    records[0]["sentence1"] = 'A "good" film,\nmakes people warm.'
    if name == "train.tsv.gz":
        records[0]["sentence1"] = "A good film makes people warm."
        (folder / name).write_bytes(gzip.compress(RTE.encode()))
    elif name == "train.csv":
        with open(folder / name, "w", newline="") as file:
            csv.writer(file).writerows([rows[0], *(record.values() for record in records)])
    elif name == "train.json":
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), folder / name)
    result = run()
    assert result.exit_code == 0, result.output
    table = open_table(GLUE["RTE"], folder / "train_aug.tsv")
    assert set(table.header) == (
        {"sentence1", "sentence2", "label"} | ({"index"} if name[6:9] in ("csv", "tsv") else set())
    )
    read = [(*row.texts, row.label) for row in table]
    texts = [(r["sentence1"].replace("\n", " "), r["sentence2"], int(r["label"] != "entailment")) for r in records]
    assert [row for row in read if row in texts] == texts
    assert {row[2] for row in read} == {0, 1}
    counts = json.loads((folder / "train_aug.json").read_text())["counts"]
    assert (counts["rows_in"], counts["rows_out"], counts["rows_skipped"]) == (2, len(read), 0)


def test_bad_rows_are_skipped_when_asked_and_counted(run, tmp_path):
    folder = tmp_path / "glue" / "RTE"
    (folder / "train.tsv").write_text(RTE + "2\tonly one\n3\ta\tb\tmaybe\n")
    assert "2 rows cannot be read: line 4 (2 columns where 4 are expected), line 5 (unknown" in run().stderr
    result = run("--skip-bad-rows")
    assert result.exit_code == 0, result.output
    assert "duplicates dropped, 2 skipped" in result.stdout
    record = json.loads((folder / "train_aug.json").read_text())
    assert (record["counts"]["rows_in"], record["counts"]["rows_skipped"]) == (2, 2)
    assert record["settings"]["skip_bad_rows"] is True
    assert run().exit_code == 2  # and not "already done" with another setting
