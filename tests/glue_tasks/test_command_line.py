"""python -m glue_tasks, and the figures it shows."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from glue_tasks import TASKS
from glue_tasks.__main__ import app, main
from glue_tasks.describe import lines, percentile, summarise
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import open_table

ROOT = Path(__file__).resolve().parents[2]


def run(*args: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small SST-2 and STS-B."""
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "SST-2" / "train.tsv").write_text(
        "sentence\tlabel\nvery good\t1\nbad\t0\nso so so\t0\nfine\t1\na b\t1\n"
    )
    (tmp_path / "SST-2" / "test.tsv").write_text("index\tsentence\n0\twho knows\n")
    (tmp_path / "STS-B").mkdir()
    (tmp_path / "STS-B" / "dev.tsv").write_text("sentence1\tsentence2\tscore\na b\tc\t1.5\nd\te\t5\nf\tg\t2.5\n")
    return tmp_path


def test_list_names_every_task_with_its_figures() -> None:
    code, out, _ = run("list")
    assert code == 0
    english, chinese = out.split("\n\n")
    rows = {row.split()[0]: row for table in (english, chinese) for row in table.splitlines()[1:]}
    assert rows.keys() == TASKS.keys()
    assert {row.split()[1] for row in english.splitlines()[1:]} == {"en"}
    assert {row.split()[1] for row in chinese.splitlines()[1:]} == {"zh"}
    for task in TASKS.values():
        epochs = f"{task.teacher_epochs} + {task.intermediate_epochs} + {task.prediction_epochs}"
        for cell in (*task.metrics, task.summary, *([epochs, str(task.variants)] if "train" in task.files else [])):
            assert cell in rows[task.name]
    assert "2 + 10 + 3    3e-5, 1e-4, 1e-4  10" in rows["CMNLI"]
    assert "+" not in rows["AX"]  # it is not trained on


def test_list_loads_nothing_heavy() -> None:
    script = (
        "import sys; from glue_tasks.__main__ import main\n"
        "try:\n    main(['list'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'numpy', 'scipy', 'sklearn', 'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_show_tells_rows_labels_lengths_and_examples(data: Path) -> None:
    code, out, _ = run("show", "sst2", "--data-dir", data)
    assert code == 0
    train, test = out.split("\n\n")[1:]
    assert f"train: 5 rows in {data / 'SST-2' / 'train.tsv'}" in train
    assert "negative 2 (40.0%)   positive 3 (60.0%)" in train
    assert "words    50% 2   90% 3   99% 3   max 3" in train
    assert "line 2, positive\n    sentence: very good\n" in train
    assert train.count("sentence: ") == 3
    assert "test: 1 rows" in test
    assert "labels are not read in a test split" in test


def test_show_of_one_split(data: Path) -> None:
    code, out, _ = run("show", "SST-2", "--data-dir", data, "--split", "test")
    assert code == 0
    assert "test: 1 rows" in out
    assert "train:" not in out


def test_show_of_a_regression(data: Path) -> None:
    code, out, _ = run("show", "STS-B", "--data-dir", data)
    assert code == 0
    assert "min 1.5   mean 3.000   max 5" in out
    assert "line 2, score 1.5\n    sentence1: a b\n    sentence2: c\n" in out


@pytest.mark.realdata
def test_show_counts_word_pieces(data: Path, shared: Path) -> None:
    model = shared / "models" / "minilm-l6-h384-mlm"
    code, out, _ = run("show", "SST-2", "--data-dir", data, "--split", "train", "--tokenizer", model)
    assert code == 0
    assert "pieces   50% 4   90% 5   99% 5   max 5   longer than 64: 0 rows" in out
    _, out, _ = run("show", "STS-B", "--data-dir", data, "--tokenizer", model)
    assert "pieces   50% 5   90% 6   99% 6   max 6   longer than 128: 0 rows" in out  # [CLS] a b [SEP] c [SEP]


def test_summary_counts_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    labels = [i % 3 == 0 for i in range(2500)]
    path.write_text("sentence\tlabel\n" + "".join(f"{'w ' * (i % 7)}\t{int(one)}\n" for i, one in enumerate(labels)))
    summary = summarise(
        open_table(TASKS["SST-2"], path), count_pieces=lambda texts: [len(row[0].split()) + 2 for row in texts]
    )
    assert summary.rows == 2500
    assert summary.labels == Counter(map(int, labels))
    assert summary.words == Counter(i % 7 for i in range(2500))
    assert summary.pieces == Counter(i % 7 + 2 for i in range(2500))
    assert [row.line for row in summary.examples] == [2, 3, 4]


def test_rows_longer_than_the_maximum_are_counted(data: Path) -> None:
    table = open_table(TASKS["SST-2"], data / "SST-2" / "train.tsv")
    summary = summarise(table, count_pieces=lambda texts: [63, 64, 65, 66, 70])  # the task's maximum is 64
    assert "  pieces   50% 65   90% 70   99% 70   max 70   longer than 64: 3 rows" in lines(table, summary)


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 100))
def test_percentile_is_numpys_inverted_cdf(lengths: list[int], percent: int) -> None:
    expected = np.percentile(lengths, percent, method="inverted_cdf")
    assert percentile(Counter(lengths), percent) == expected


def test_a_model_folder_without_a_tokenizer_is_told(tmp_path: Path, data: Path) -> None:
    """transformers would make one to which every word is unknown."""
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    code, _, err = run("show", "SST-2", "--data-dir", data, "--tokenizer", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert f"no tokenizer could be read from {tmp_path}" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["show", "SST", "--data-dir", "{data}"], "did you mean SST-2"),
        (["show", "SST-2", "--data-dir", "{data}/nowhere"], "there is no folder"),
        (["show", "MRPC", "--data-dir", "{data}"], "get MRPC from https://gluebenchmark.com"),
        (["show", "SST-2", "--data-dir", "{data}", "--split", "dev"], "there is no file"),
        (["show", "SST-2", "--data-dir", "{data}", "--split", "valid"], "its splits are train, dev, test"),
        (["show", "SST-2", "--data-dir", "{data}", "--tokenizer", "{data}/SST-2"], "no tokenizer could be read"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(data: Path, args: list[str], message: str) -> None:
    code, out, err = run(*(arg.format(data=data) for arg in args))
    assert code == 2
    assert out == ""
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sentence\tlabel\ngood\t1\nbad\t7\n", "train.tsv, line 3: unknown label '7'"),
        (b"sentence\tlabel\ngood 1\n", "train.tsv, line 2: 1 column where 2"),
        (b"sentence\tlabel\n\x80\t1\n", "train.tsv, line 2: byte 1 of the line (0x80) is not UTF-8"),
        (b"", "train.tsv has no rows"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(data: Path, content: bytes, message: str) -> None:
    (data / "SST-2" / "train.tsv").write_bytes(content)
    code, _, err = run("show", "SST-2", "--data-dir", data)
    assert code == 2
    assert message in err


def test_main_takes_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["list"])
    assert end.value.code == 0
    assert "CoLA" in capsys.readouterr().out


@pytest.mark.parametrize("args", [[], ["--help"], ["show", "--help"]])
def test_help_alone_suffices(args: list[str]) -> None:
    _, out, err = run(*args)
    assert "Usage" in out + err


class Panic(BaseException):
    """Of a Rust library: no Exception."""


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "stopped; to go on, run the same command again"),
        (PermissionError(13, "Permission denied", "/some/file"), 2, "no permission to open /some/file"),
        (MemoryError(), 2, "out of memory"),
        (OSError(30, "Read-only file system", "/some/file"), 2, "/some/file cannot be written on a read-only file sys"),
        (FileExistsError(17, "File exists", __file__), 2, f"{__file__} is a file where a folder is needed"),
        (NotADirectoryError(20, "Not a directory", f"{__file__}/a/b"), 2, f"{__file__} is a file where a folder"),
        (
            FileNotFoundError(2, "No such file", "/gone/cache/x.arrow"),
            2,
            "there is no folder /gone/cache; make it, or start again",
        ),
        (
            RuntimeError("Parent directory /gone/a does not exist."),
            2,
            "there is no folder /gone/a; make it, or start again if",
        ),
        (RuntimeError("can't start new thread"), 2, "no thread can be started; allow this user more processes"),
        (RuntimeError("std::bad_alloc"), 2, "out of memory; use a smaller --batch-size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "out of memory"),
        (OSError(12, "Cannot allocate memory"), 2, "or allow more (ulimit -v)"),
        (
            Panic("The global thread pool has not been initialized.: ThreadPoolBuildError"),
            2,
            "no thread can be started",
        ),
        (OSError(28, "No space left on device"), 2, "the disk is full; free some space"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_lies_outside_the_program_is_one_sentence(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, exit_on_user_error(resumable=False):
        raise error
    assert end.value.code == code
    err = capsys.readouterr().err
    assert sentence in err
    assert "--resume" not in err


@pytest.mark.parametrize("error", [KeyError("ours"), FileExistsError(17, "File exists", "/"), NotADirectoryError()])
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), exit_on_user_error():
        raise error


def test_show_tells_how_the_columns_of_records_were_found(tmp_path: Path) -> None:
    (tmp_path / "cluewsc2020").mkdir()
    target = '{"span1_text": "她", "span1_index": 2, "span2_text": "他", "span2_index": 0}'
    row = f'{{"target": {target}, "idx": 1, "label": "true", "text": "他说她来"}}\n'
    (tmp_path / "cluewsc2020" / "dev.json").write_text(row, encoding="utf-8")
    code, out, err = run("show", "CLUEWSC2020", "--data-dir", tmp_path)
    assert code == 0, err
    assert "  format   JSON\n  text     text is the field 'text'\n  label    label is the field 'label'\n" in out
    assert "  made by  CLUEWSC2020: the text with its two spans marked" in out
    assert "  length   50% 8   90% 8   99% 8   max 8   characters\n  line 1, true\n    text: [他]说_她_来\n" in out
    (tmp_path / "cmnli").mkdir()
    rows = '{"s": 1, "sentence1": "a", "sentence2": "b", "gold_label": "-"}\n' * 2
    rows += '{"s": 1, "sentence1": "a", "sentence2": "b", "gold_label": "neutral"}\n'
    (tmp_path / "cmnli" / "train.jsonl").write_text(rows, encoding="utf-8")
    code, out, err = run("show", "CMNLI", "--data-dir", tmp_path)
    assert code == 0, err
    assert "label is the field 'gold_label'" in out
    assert "train: 1 rows in" in out
    assert "train.jsonl, 2 unscored\n" in out
    assert "neutral 1 (100.0%)" in out


def test_show_tells_what_separates_the_cells_of_each_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "Mine"\ntext_columns = ["text"]\nlabel_column = "label"\nlabels = ["no", "yes"]\nseparator = ";"\n'
        '[files]\ntrain = "train.tsv"\ndev = "dev.csv"\n'
    )
    (tmp_path / "Mine").mkdir()
    (tmp_path / "Mine" / "train.tsv").write_text("text\tlabel\nof tabs; all the same\tyes\n")
    (tmp_path / "Mine" / "dev.csv").write_text('text;label\n"two\nlines\x1b[2J";no\n')
    code, out, err = run("show", "--task-file", tmp_path / "mine.toml", "--data-dir", tmp_path)
    assert code == 0, err
    train, dev = out.split("\n\n")[1:]
    assert "a tab between cells" in train
    assert "text: of tabs; all the same" in train
    assert "a semicolon between cells" in dev
    assert "text: two lines [2J\n" in dev  # on one line, and nothing that a terminal would obey


def test_show_skips_bad_rows_when_asked(tmp_path: Path) -> None:
    (tmp_path / "sst-2").mkdir()
    (tmp_path / "sst-2" / "dev.csv").write_text("sentence,label\ngood,1\nbad\nbad,0\n")
    code, _, err = run("show", "SST-2", "--data-dir", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "dev.csv, line 3: 1 column where 2 are expected" in err
    code, out, _ = run("show", "SST-2", "--data-dir", tmp_path, "--skip-bad-rows")
    assert code == 0
    assert f"dev: 2 rows in {tmp_path / 'sst-2' / 'dev.csv'}, 1 skipped\n" in out
    assert "negative 1 (50.0%)" in out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to the limit")
def test_a_limit_on_memory_is_told_before_torch_runs_into_it() -> None:
    limited = f"ulimit -v 900000; exec {sys.executable} run_tinybert.py --phase evaluate --task SST-2 --data-dir x"
    done = subprocess.run(["bash", "-c", limited], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    told = "error: this process may use 0.9 GiB of memory (ulimit -v), and torch needs 1.5 GiB to start; allow more\n"
    assert done.stderr == told
