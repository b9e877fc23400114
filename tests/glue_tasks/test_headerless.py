"""Tables without a header: the number of columns and the labels tell whose layout it is, or it is refused."""

import logging
from pathlib import Path

import pytest

from glue_tasks import TASKS, Task, UserError
from glue_tasks.files import open_table

MNLI_TRAIN = "{}\t1\t2\tgovernment\t( a )\t( b )\t(ROOT a)\t(ROOT b)\ta\tb\t{}\t{}\n"

# task, split, rows, and what is to be read of each: texts and label id
READ = [
    ("LCQMC", "train", "a\tb\t0\nc\td\t1\n", [(("a", "b"), 0), (("c", "d"), 1)]),
    ("CMNLI", "train", "a\tb\tneutral\nc\td\tentailment\n", [(("a", "b"), 0), (("c", "d"), 1)]),
    ("CMNLI", "dev", "2\ta\tb\t0\n3\tc\td\t2\n", [(("a", "b"), 0), (("c", "d"), 2)]),
    ("OCNLI", "train", "neutral\ta\tb\n-\te\tf\n", [(("a", "b"), 0)]),
    ("QQP", "train", "7\t1\t2\ta?\tb?\t0\n8\t3\t4\tc?\td?\t1\n", [(("a?", "b?"), 0), (("c?", "d?"), 1)]),
    ("QQP", "train", "7\t1\t2\ta?\tb?\t0\n8\t3\t4\ttorn\n in two\td?\t1\n", [(("a?", "b?"), 0)]),
    ("QQP", "dev", "1\ta ?\tb ?\t184\n0\tc ?\td ?\t9\n", [(("a ?", "b ?"), 1), (("c ?", "d ?"), 0)]),
    ("QQP", "test", "0\ta?\tb?\n1\tc?\td?\n", [(("a?", "b?"), None), (("c?", "d?"), None)]),
    ("MNLI", "train", MNLI_TRAIN.format(0, *["neutral"] * 2), [(("a", "b"), 1)]),
    ("MRPC", "train", "1\t702\t703\ta\tb\n0\t21\t22\tc\td\n", [(("a", "b"), 1), (("c", "d"), 0)]),
    ("STS-B", "dev", "a\tb\t5.0\nc\td\t0.6\n", [(("a", "b"), 5.0), (("c", "d"), 0.6)]),
    ("SST-2", "train", "good\t1\nbad\t0\n", [(("good",), 1), (("bad",), 0)]),
    ("CoLA", "train", "1\tgood\n0\tbad\n", [(("good",), 1), (("bad",), 0)]),
    ("ChnSentiCorp", "dev", "1\tgood\n0\tbad\n", [(("good",), 1), (("bad",), 0)]),
]


@pytest.mark.parametrize(("name", "split", "content", "rows"), READ)
def test_the_columns_and_labels_tell_the_layout(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, split: str, content: str, rows: list
) -> None:
    path = tmp_path / f"{split}.txt"
    path.write_text(content)
    with caplog.at_level(logging.WARNING):
        table = open_table(TASKS[name], path, split)
        assert [(row.texts, row.label) for row in table] == rows
    assert table.header is None
    assert f"{path}: no header; its {len(table.columns)} columns are read as " in caplog.text
    assert len(table.columns) == content.split("\n")[0].count("\t") + 1


OWN = Task("own", "", ("a", "b"), "label", ("no", "yes"), ("accuracy",), label_codes=("0", "1"))


@pytest.mark.parametrize(
    ("task", "split", "content"),
    [
        (OWN, "train", "x\ty\t1\n"),  # nobody has published how such a table looks
        (TASKS["SST-2"], "train", "1\t1\n0\t0\n"),  # the label may be either
        (TASKS["CMNLI"], "dev", "0\ta\tb\t0\n1\tc\td\t2\n"),
        (TASKS["RTE"], "train", "a\tb\tentailment\nc\td\tmaybe\n"),  # not in all rows
        (TASKS["LCQMC"], "test", "a\tb\nc\td\n"),  # the first row may be a header
        (TASKS["RTE"], "test", "index\ts1\ts2\n0\ta\tb\n"),  # and is one here
        (TASKS["RTE"], "train", "s1\ts2\tgold\na\tb\tentailment\n"),
        (TASKS["CLUEWSC2020"], "train", "a\ttrue\nb\tfalse\n"),  # its spans would not be marked
    ],
)
def test_what_is_not_certain_is_refused(tmp_path: Path, task: Task, split: str, content: str) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text(content)
    with pytest.raises(UserError, match="line 1: no column named"):
        open_table(task, path, split)
