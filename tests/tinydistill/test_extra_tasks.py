"""Training on another task's rows too."""

import json
import shutil
from pathlib import Path

import pytest

from glue_tasks import get_task
from glue_tasks.errors import UserError
from tests.tinydistill.spans_and_tokens import write_questions
from tinydistill.extra_tasks import extra_tasks, labels_agree

from .runs import record

SQUAD, CMRC, DRCD, MSRA = (get_task(name) for name in ("SQuAD1.1", "CMRC2018", "DRCD", "MSRA"))


def test_tasks_of_other_inputs_are_refused() -> None:
    assert extra_tasks(CMRC, ["DRCD"]) == [DRCD]
    assert extra_tasks(get_task("SST-2"), ["CoLA"]) == [get_task("CoLA")]
    for task, name, why in (
        (CMRC, "MSRA", "has tokens, and CMRC2018 has questions about a context"),
        (get_task("SST-2"), "MRPC", "has pairs, and SST-2 has sentences"),
        (CMRC, "cmrc", "two of the tasks to train on are called 'CMRC2018'"),
        (get_task("MNLI"), "AX", "has no train split"),
    ):
        with pytest.raises(UserError, match=why):
            extra_tasks(task, [name])


def test_whose_gold_labels_are_the_task_s_too() -> None:
    assert labels_agree(CMRC, DRCD)
    assert not labels_agree(SQUAD, get_task("SQuAD2.0"))
    assert not labels_agree(get_task("SST-2"), get_task("CoLA"))
    assert not labels_agree(MSRA, get_task("Weibo"))


@pytest.fixture(scope="module")
def mrc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks; the second one's train file has no answers."""
    data = tmp_path_factory.mktemp("mrc")
    for split, count in (("train", 40), ("dev", 20)):
        write_questions(data / "SQuAD1.1" / f"{split}-v1.1.json", count, seed=len(split))
    write_questions(data / "Own" / "train.json", 30, seed=9)
    file = data / "Own" / "train.json"
    found = json.loads(file.read_text())
    for paragraph in (each for article in found["data"] for each in article["paragraphs"]):
        for question in paragraph["qas"]:
            del question["answers"]
    file.write_text(json.dumps(found))
    (data / "own.toml").write_text('name = "Own"\nkind = "spans"\n')
    return data


def run(data: Path, out: Path, phase: str, *args: str) -> dict:
    import run_tinybert

    given = ["--phase", phase, "--task", "SQuAD1.1", "--data-dir", str(data), "--output-dir", str(out)]
    quick = ["--batch-size", "10", "--max-length", "32", "--precision", "float32", "--allow-weak-teacher"]
    run_tinybert.main([*given, *quick, *args])
    return record(out / phase)


def test_rows_without_answers_teach_too(
    mrc: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    teacher = ["--teacher", str(tmp_path / "teacher"), "--student", "init:layers=2", "--max-steps", "2"]
    run(mrc, tmp_path, "teacher", "--pretrained", str(masked_lm_dir), "--max-steps", "2")
    extra = ["--extra-task", str(mrc / "own.toml")]
    alone = run(mrc, tmp_path / "alone", "prediction", *teacher)
    found = run(mrc, tmp_path / "more", "prediction", *teacher, *extra)
    assert alone["data"].keys() == {"train", "dev"}
    assert [found["data"][name]["rows"] for name in ("train", "train of Own", "dev")] == [40, 30, 20]
    assert "extra_Own_data" in found["settings"]
    # The same rows again are the same run; other ones are not.
    assert "already finished" in _said(capsys, mrc, tmp_path / "more", *teacher, *extra)
    with pytest.raises(SystemExit):
        run(mrc, tmp_path / "more", "prediction", *teacher, "--resume")
    # The teacher's outputs on each file are kept by themselves: those of the task's own rows are the ones from above.
    kept = [sorted(path.name for path in (tmp_path / name / "cache").glob("*.arrow")) for name in ("alone", "more")]
    assert set(kept[0]) < set(kept[1])


def _said(capsys: pytest.CaptureFixture, *args: object) -> str:
    capsys.readouterr()
    data, out, *others = args
    run(data, out, "prediction", *others, "--resume")  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_where_gold_labels_are_learnt_they_must_be_there(mrc: Path, masked_lm_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(mrc, data := tmp_path / "data")
    steps = ["--pretrained", str(masked_lm_dir), "--max-steps", "2"]
    with pytest.raises(SystemExit):  # Own has no answers
        run(data, tmp_path / "a", "teacher", *steps, "--extra-task", str(data / "own.toml"))
    write_questions(data / "Own" / "train.json", 30, seed=9)
    found = run(data, tmp_path / "b", "teacher", *steps, "--extra-task", str(data / "own.toml"))
    assert found["data"]["train of Own"]["rows"] == 30
