"""One step of each phase against the formulas, computed from the models' outputs in double precision.

Formulas: TinyBERT, equations 7 to 10; those of `reference` as TinyBERT's authors compute them, with padding and classes
in the means: https://github.com/huawei-noah/Pretrained-Language-Model/blob/master/TinyBERT/task_distill.py
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from tests.tinydistill.conftest import make_tokenizer, tiny_bert_config

from .conftest import PHASES, Command

LENGTH, HEADS, CLASSES = 16, 2, 2


def outputs_of(folder: Path, batch: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Scores before softmax of each block, (B, H, L, L), hidden states and logits, by transformers' eager attention."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").double().eval()
    made: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if name.endswith((".query", ".key")):
            module.register_forward_hook(lambda _m, _i, output, name=name: made.update({name: output}))
    with torch.no_grad():
        output = model(**batch, output_hidden_states=True)
    scores = []
    for block in range(model.config.num_hidden_layers):
        query, key = (
            made[f"bert.encoder.layer.{block}.attention.self.{name}"].unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for name in ("query", "key")
        )
        scores.append(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5)
    return scores, list(output.hidden_states), output.logits


def expected(scale: str, student: Path, teacher: Path, projections: dict[str, Tensor], texts: list[str]) -> dict:
    """The losses of all texts as one batch, each formula written out for one example after the other."""
    batch = make_tokenizer()(texts, padding="max_length", max_length=LENGTH, return_tensors="pt")
    scores, hidden, logits = outputs_of(student, batch)
    scores_t, hidden_t, logits_t = outputs_of(teacher, batch)
    attention = states = outputs = 0.0
    for b, n in enumerate(batch["attention_mask"].sum(1).tolist()):
        rows, per_pair, per_token = (LENGTH, LENGTH**2, LENGTH) if scale == "reference" else (n, n**2, n)
        for i, j in enumerate((1, 3)):
            difference = scores[i][b, :, :rows, :n] - scores_t[j][b, :, :rows, :n]  # masked keys are left out: zeros
            attention += difference.square().sum() / (HEADS * per_pair)
        for m, k in enumerate((0, 2, 4)):
            own = hidden[m][b, :rows] @ projections[f"{m}.weight"].double().T + projections[f"{m}.bias"].double()
            states += (own - hidden_t[k][b, :rows]).square().sum() / (per_token * own.shape[-1])
        cross_entropy = -(logits_t[b].softmax(-1) * logits[b].log_softmax(-1)).sum()
        outputs += cross_entropy / CLASSES if scale == "reference" else cross_entropy
    return {"loss_attention": attention / len(texts), "loss_hidden": states / len(texts), "loss": outputs / len(texts)}


@pytest.mark.parametrize("scale", ["reference", "valid"])
def test_a_step_from_given_weights(command: Command, tmp_path: Path, scale: str) -> None:
    """All rows in one batch, at a rate at which nothing moves."""
    torch.manual_seed(4)
    student = tmp_path / "student"
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.2}
    BertForSequenceClassification(tiny_bert_config(layers=2, hidden_size=16, **still)).save_pretrained(student)
    make_tokenizer().save_pretrained(student)
    texts = command.texts()
    rates = [x for phase in PHASES for x in (f"--{phase}-lr", "1e-30")]
    step = ["--max-steps", "1", "--batch-size", str(len(texts)), "--logging-steps", "1", *rates]
    command(tmp_path / "out", *step, "--student", str(student), "--loss-scale", scale, "--padding", "max_length")

    records = {phase: json.loads((tmp_path / "out" / phase / "run.json").read_text()) for phase in PHASES}
    teacher = Path(records["intermediate"]["settings"]["teacher"])
    projections = load_file(tmp_path / "out" / "intermediate" / "projections.safetensors")
    wanted = expected(scale, student, teacher, projections, texts)
    (first,), (second,) = (records[phase]["losses"] for phase in PHASES)
    for name in ("loss_attention", "loss_hidden"):
        assert first[name] == pytest.approx(wanted[name].item(), rel=1e-5)
    assert first["loss"] == pytest.approx((wanted["loss_attention"] + wanted["loss_hidden"]).item(), rel=1e-5)
    assert second["loss"] == pytest.approx(wanted["loss"].item(), rel=1e-5)
