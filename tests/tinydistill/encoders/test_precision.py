"""The precision of models that run and of models that are trained."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification, TrainingArguments

import run_tinybert
from tests.tinydistill.conftest import tiny_bert_config
from tests.tinydistill.of_tasks import intermediate
from tinydistill.distiller import Distiller
from tinydistill.layer_map import uniform
from tinydistill.trainer import DistillationTrainer


def test_both_phases_in_bf16(data_dir: Path, chance_teacher: Path, tmp_path: Path) -> None:
    """As in float32 but for rounding, and what is saved is float32."""
    losses = {}
    for precision in ("float32", "bf16"):
        args = ["--task", "SST-2", "--data-dir", str(data_dir), "--output-dir", str(tmp_path / precision)]
        args += ["--teacher", str(chance_teacher), "--student", "shape:layers=2,hidden=16,heads=2,ffn=24"]
        args += ["--allow-weak-teacher", "--max-length", "16", "--max-steps", "4", "--logging-steps", "1"]
        for phase in ("intermediate", "prediction"):
            run_tinybert.main(["--phase", phase, *args, "--precision", precision])
            run = json.loads((tmp_path / precision / phase / "run.json").read_text(encoding="utf-8"))
            assert run["settings"]["precision"] == precision
            losses[precision, phase] = [entry["loss"] for entry in run["losses"]]
            weights = load_file(tmp_path / precision / phase / "model.safetensors")
            assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    for phase in ("intermediate", "prediction"):
        assert len(losses["bf16", phase]) == 4
        assert losses["bf16", phase] == pytest.approx(losses["float32", phase], rel=0.02)
        assert losses["bf16", phase] != losses["float32", phase]


def test_a_teacher_in_bf16_may_serve_another_trainer(tmp_path: Path) -> None:
    teacher, student = (BertForSequenceClassification(tiny_bert_config(layers=n)) for n in (4, 2))
    args = TrainingArguments(output_dir=str(tmp_path), bf16=True, use_cpu=True, report_to="none")
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 3]]), "attention_mask": torch.ones(1, 4).long()}
    seen = []
    for _ in range(2):
        distiller = Distiller(student, intermediate(uniform(4, 2)))
        trainer = DistillationTrainer(distiller, teacher, args=args, data_collator=lambda rows: rows[0])
        seen.append(trainer.teacher(inputs)["teacher"].hidden[4])
    assert torch.equal(*seen)
