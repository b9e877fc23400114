"""The example that teaches a BiGRU: its padding and pooling, and a whole run with a tiny teacher."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertTokenizerFast
from typer import Typer
from typer.testing import CliRunner

from examples.bigru_student import BiGRU, Shape, load, main, make

WORDS = ["the", "film", "plot", "is", "was", "good", "great", "fine", "bad", "awful", "poor"]
LABELS = {"negative": 0, "positive": 1}


def bert(pieces: int) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=pieces,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        id2label={i: name for name, i in LABELS.items()},
        label2id=LABELS,
    )
    return BertForSequenceClassification(config).eval()


@pytest.mark.parametrize("pooling", ["max", "attention"])
def test_neither_padding_nor_the_batch_changes_a_row(pooling: str) -> None:
    """Against the cells of the GRU run piece by piece on each row alone."""
    torch.manual_seed(0)
    model = BiGRU(Shape(pieces=9, width=4, hidden=3, labels=2, pooling=pooling)).eval()  # type: ignore[arg-type]
    ids = torch.randint(1, 9, (3, 7))
    lengths = [2, 7, 1]
    mask = (torch.arange(7) < torch.tensor(lengths)[:, None]).long()
    with torch.no_grad():
        _, states, logits = model({"input_ids": ids, "attention_mask": mask})
        for row, length in enumerate(lengths):
            parts = []
            for name, order in (("", range(length)), ("_reverse", range(length)[::-1])):
                cell = torch.nn.GRUCell(4, 3)
                for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(cell, kind).copy_(getattr(model.gru, f"{kind}_l0{name}"))
                state, found = torch.zeros(3), {}
                for i in order:
                    state = found[i] = cell(model.embeddings.weight[ids[row, i]], state)
                parts.append(torch.stack([found[i] for i in range(length)]))
            own = torch.cat(parts, -1)  # (n, 2H)
            torch.testing.assert_close(states[row, :length], own)
            pooled = own.max(0).values
            if pooling == "attention":
                weights = (own @ model.attention.weight[0]).softmax(0)
                pooled = (weights[:, None] * own).sum(0)
            torch.testing.assert_close(logits[row], model.head.weight @ pooled + model.head.bias)


def test_it_starts_from_the_teachers_embeddings() -> None:
    teacher = bert(20)
    student = make(teacher, hidden=8, pooling="max")
    assert torch.equal(student.embeddings.weight, teacher.get_input_embeddings().weight)
    with torch.no_grad():
        student.embeddings.weight.zero_()
    assert teacher.get_input_embeddings().weight.abs().sum() > 0  # they are a copy


def test_a_run(tmp_path: Path) -> None:
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(vocab), model_max_length=32)
    teacher = bert(len(tokenizer))
    for folder in (teacher, tokenizer):
        folder.save_pretrained(tmp_path / "teacher")
    (tmp_path / "SST-2").mkdir()
    rows = [f"the {a} {b} {c}\t{int(i < 3)}" for a in WORDS[1:3] for b in WORDS[3:5] for i, c in enumerate(WORDS[5:])]
    for split in ("train", "dev"):
        (tmp_path / "SST-2" / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    app = Typer()
    app.command()(main)
    given = ["--teacher", str(tmp_path / "teacher"), "--data-dir", str(tmp_path), "--output-dir", str(tmp_path / "out")]
    sizes = ["--hidden", "8", "--rows", "16", "--epochs", "10", "--batch-size", "4", "--learning-rate", "0.02"]
    result = CliRunner().invoke(app, [*given, *sizes, "--pooling", "attention"])
    assert result.exit_code == 0, result.output
    for line in ("BiGRU, distilled", "BiGRU, without a teacher", "16 rows, 40 steps each, seed 42"):
        assert line in result.output
    student = load(tmp_path / "out" / "distilled")
    reread = AutoTokenizer.from_pretrained(tmp_path / "out" / "distilled")
    batch = reread([row.split("\t")[0] for row in rows], return_tensors="pt", padding=True)
    with torch.no_grad():
        logits, taught = student(batch)[2], teacher(**batch).logits
        untaught = make(teacher, 8, "attention").eval()(batch)[2]
    assert (logits - taught).square().mean() < (untaught - taught).square().mean() / 4
    alone = load_file(tmp_path / "out" / "without-a-teacher" / "model.safetensors")
    assert alone.keys() == student.state_dict().keys()
    golds = torch.tensor([int(row[-1]) for row in rows])
    with torch.no_grad():
        answers = load(tmp_path / "out" / "without-a-teacher")(batch)[2].argmax(-1)
    assert (answers == golds).float().mean() > 0.9
    again = CliRunner().invoke(app, [*given, *sizes])
    assert again.exit_code == 2
    assert "is not empty" in again.output
    other = CliRunner().invoke(app, [*given[:-1], str(tmp_path / "other"), "--pooling", "mean"])
    assert other.exit_code == 2
    assert "it can be max, attention" in other.output
