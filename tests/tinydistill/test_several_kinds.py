"""One body for a sentence, a token and a question: tasks of all kinds together."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification

import run_tinybert
from glue_tasks import get_task
from tests.tinydistill.spans_and_tokens import tagged, tiny_model, write_questions, write_sentences


def test_tasks_of_all_kinds_share_a_body(data_dir: Path, teacher_dir: Path, tokenizer, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "SST-2").symlink_to(data_dir / "SST-2")
    teachers = {"SQuAD1.1": "", "SST-2": str(teacher_dir)}  # whose body has a pooler, and comes second
    for split, count in (("train", 30), ("dev", 12)):
        write_questions(data / "SQuAD1.1" / f"{split}-v1.1.json", count, seed=count)
        write_sentences(data / "CoNLL2003" / f"{split}.txt", tagged(count, seed=count))
    for name in ("SQuAD1.1", "CoNLL2003"):
        teachers[name] = str(tmp_path / name)
        tiny_model(get_task(name), layers=4).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    named = [each for task, path in teachers.items() for each in ("--task", task, "--teacher", f"{task}={path}")]
    where = ["--data-dir", str(data), "--output-dir", str(tmp_path / "run"), "--student", "init:layers=2"]
    quick = ["--max-steps", "6", "--batch-size", "8", "--max-length", "32", "--precision", "float32"]
    run_tinybert.main(["--phase", "all", *named, *where, *quick, "--allow-weak-teacher", "--task-sampling", "0"])
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    scored = {name: set(of["students"]["prediction"]["dev"]["dev"]) for name, of in report["tasks"].items()}
    assert scored == {
        "SST-2": {"accuracy"},
        "SQuAD1.1": {"f1", "exact_match"},
        "CoNLL2003": {"entity_f1", "entity_precision", "entity_recall"},
    }
    folder = tmp_path / "run" / "prediction"
    bodies = [
        {key: value for key, value in load_file(folder / task / "model.safetensors").items() if "encoder" in key}
        for task in teachers
    ]
    assert all(torch.equal(bodies[0][key], other[key]) for other in bodies[1:] for key in bodies[0])
    assert AutoModelForQuestionAnswering.from_pretrained(folder / "SQuAD1.1").config.num_labels == 2
    assert AutoModelForTokenClassification.from_pretrained(folder / "CoNLL2003").config.id2label[0] == "O"
