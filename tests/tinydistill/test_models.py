"""Teachers and students: what is loaded, copied, built and refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedTokenizerFast,
)

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from tests.tinydistill.of_tasks import intermediate
from tinydistill.distiller import Distiller
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.layer_map import LayerMap, uniform
from tinydistill.models import load_classifier, size_on_disk, weights_digest
from tinydistill.narrowing import Narrow
from tinydistill.saving import save_student
from tinydistill.shapes import SHAPES, Shape
from tinydistill.students import StudentSpec, build_student, load_projections

from .conftest import PIECES, tiny_bert_config

SST2 = TASKS["SST-2"]


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("init:layers=3", StudentSpec(teacher_layers=3)),
        ("init:layers=0,2,11", StudentSpec(teacher_layers=3, blocks=(0, 2, 11))),
        ("init:layers=5,", StudentSpec(teacher_layers=1, blocks=(5,))),
        ("init:layers=3,hidden=312", StudentSpec(teacher_layers=3, narrow=Narrow(312))),
        ("init:layers=7,0,heads=2,hidden=8", StudentSpec(teacher_layers=2, blocks=(7, 0), narrow=Narrow(8, heads=2))),
        ("init:ffn=9,layers=1", StudentSpec(teacher_layers=1, narrow=Narrow(ffn=9))),
        ("tinybert-4l-312d", StudentSpec(shape=Shape(4, 312, 12, 1200))),
        ("TinyBERT-6L-768d", StudentSpec(shape=Shape(6, 768, 12, 3072))),
        ("shape:layers=3,hidden=312,heads=12,ffn=1200", StudentSpec(shape=Shape(3, 312, 12, 1200))),
        ("shape:ffn=8,heads=1,hidden=4,layers=1", StudentSpec(shape=Shape(1, 4, 1, 8))),
        ("runs/a", StudentSpec(path="runs/a")),
    ],
)
def test_student_spec(text: str, spec: StudentSpec) -> None:
    assert StudentSpec.parse(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        "init:",
        "init:layers=0",
        "init:3",
        "init:layers=1,,2",
        "init:layers=-1,2",
        "init:layers=",
        "init:hidden=8",
        "init:layers=2,hidden=0",
        "init:layers=2,layers=3",
        "init:layers=2,width=3",
        "shape:layers=3",
        "shape:layers=3,hidden=a,heads=1,ffn=2",
        "shape:x=1",
        "shape:layers=1,hidden=4,heads=1,ffn=8,ffn=9",
        "shape:layers=1,hidden=4,heads=1,ffn=8,bottleneck=2,shared=1",
    ],
)
def test_student_spec_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UserError, match="a student is a folder"):
        StudentSpec.parse(text)


def test_blocks_to_copy_that_cannot_be(teacher: BertForSequenceClassification) -> None:
    with pytest.raises(UserError, match="init:layers=0,2,0 names block 0 more than once"):
        StudentSpec.parse("init:layers=0,2,0")
    with pytest.raises(UserError, match="names block 4 to copy; the teacher's 4 blocks are numbered 0 to 3"):
        build_student(StudentSpec.parse("init:layers=0,4"), teacher, SST2, LayerMap(()), 0)


def test_init_copies_the_named_blocks(teacher: BertForSequenceClassification) -> None:
    """Whatever blocks teach, and in the order in which they are named."""
    built = build_student(StudentSpec.parse("init:layers=2,0"), teacher, SST2, uniform(4, 2), seed=0)
    theirs = teacher.state_dict()
    for key, value in built.state_dict().items():
        source = key.replace("layer.0.", "layer.2.") if "layer.0." in key else key.replace("layer.1.", "layer.0.")
        assert torch.equal(value, theirs[source]), key


def test_a_narrow_student_of_rows(teacher: BertForSequenceClassification) -> None:
    spec = StudentSpec.parse("init:layers=1,3,hidden=12,ffn=20")
    ids = torch.randint(1, len(PIECES), (4, 9), generator=torch.Generator().manual_seed(0))
    rows = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    built, again, other = (
        build_student(spec, teacher, SST2, LayerMap(()), seed, given)
        for seed, given in ((0, lambda: rows), (1, lambda: rows), (0, None))
    )
    assert (built.config.hidden_size, built.config.num_hidden_layers, built.config.intermediate_size) == (12, 2, 20)
    assert weights_digest(built) == weights_digest(again) != weights_digest(other)
    with torch.no_grad():
        assert built(**rows).logits.isfinite().all()


def test_tinybert_4l_has_the_published_size() -> None:
    """14.5 M parameters with BERT's vocabulary (TinyBERT, table 1)."""
    teacher = BertForSequenceClassification(tiny_bert_config(vocab_size=30522, max_position_embeddings=512))
    built = build_student(StudentSpec(shape=SHAPES["tinybert-4l-312d"].shape), teacher, SST2, uniform(4, 4), 0)
    assert round(built.num_parameters() / 1e6, 1) == 14.4  # with the head, without the published projections


@pytest.mark.parametrize("family", ["bert", "distilbert", "electra"])
def test_init_copies_the_mapped_blocks(family: str) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": len(PIECES), "max_position_embeddings": 32}
    teacher = {
        "bert": lambda: BertForSequenceClassification(tiny_bert_config()),
        "distilbert": lambda: DistilBertForSequenceClassification(
            DistilBertConfig(**sizes, dim=24, n_layers=4, n_heads=2, hidden_dim=32)
        ),
        "electra": lambda: ElectraForSequenceClassification(
            ElectraConfig(**sizes, embedding_size=12, hidden_size=24, num_hidden_layers=4, num_attention_heads=2)
        ),
    }[family]()
    built = build_student(StudentSpec(teacher_layers=2), teacher, SST2, LayerMap((0, 3)), seed=0)
    own, theirs = built.state_dict(), teacher.state_dict()
    assert built.config.num_hidden_layers == 2
    stack = "transformer" if family == "distilbert" else "encoder"
    for key, value in own.items():
        assert torch.equal(value, theirs[key.replace(f"{stack}.layer.1.", f"{stack}.layer.3.")]), key
    assert built.config.id2label == {0: "negative", 1: "positive"}


def test_fresh_weights_follow_the_seed(teacher: BertForSequenceClassification) -> None:
    spec = StudentSpec.parse("shape:layers=2,hidden=16,heads=2,ffn=8")
    one, same, other = (weights_digest(build_student(spec, teacher, SST2, uniform(4, 2), s)) for s in (1, 1, 2))
    assert one == same != other


def test_hidden_size_and_heads_must_agree(teacher: BertForSequenceClassification) -> None:
    with pytest.raises(UserError, match="hidden size of 16 does not divide into 3 heads"):
        build_student(StudentSpec.parse("shape:layers=2,hidden=16,heads=3,ffn=8"), teacher, SST2, uniform(4, 2), 0)


def test_a_teacher_without_a_head(masked_lm_dir: Path) -> None:
    with pytest.raises(UserError, match="is not a fine-tuned sequence classifier.*--phase teacher"):
        load_classifier(str(masked_lm_dir), SST2, fresh_head=False)
    model = load_classifier(str(masked_lm_dir), SST2, fresh_head=True)
    assert model.config.label2id == {"negative": 0, "positive": 1}
    assert load_classifier(str(masked_lm_dir), TASKS["STS-B"], fresh_head=True).config.num_labels == 1


def test_a_head_of_another_size_is_replaced(tmp_path: Path) -> None:
    BertForSequenceClassification(tiny_bert_config(num_labels=3)).save_pretrained(tmp_path)
    assert load_classifier(str(tmp_path), SST2, fresh_head=True).classifier.weight.shape == (2, 24)


def test_weights_that_do_not_fit_their_configuration(tmp_path: Path) -> None:
    BertForSequenceClassification(tiny_bert_config(layers=2)).save_pretrained(tmp_path)
    tiny_bert_config(layers=3).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="do not fit its configuration: bert.encoder.layer.2"):
        load_classifier(str(tmp_path), SST2, fresh_head=True)


def test_a_head_that_does_not_fit_the_configuration(tmp_path: Path) -> None:
    BertForSequenceClassification(tiny_bert_config(num_labels=3)).save_pretrained(tmp_path)
    tiny_bert_config().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="classifier.bias is 3 in the weights and 2 by config.json"):
        load_classifier(str(tmp_path), SST2, fresh_head=False)


def test_out_of_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch, masked_lm_dir: Path) -> None:
    def load(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("transformers.AutoModelForSequenceClassification.from_pretrained", load)
    with pytest.raises(torch.OutOfMemoryError):
        load_classifier(str(masked_lm_dir), SST2, fresh_head=True)


@pytest.mark.parametrize("fresh_head", [True, False])
def test_a_body_of_another_shape_is_not_made_anew(tmp_path: Path, fresh_head: bool) -> None:
    BertForSequenceClassification(tiny_bert_config(layers=2)).save_pretrained(tmp_path)
    tiny_bert_config(layers=2, intermediate_size=40).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="intermediate.dense.bias is 32 in the weights and 40 by config.json"):
        load_classifier(str(tmp_path), SST2, fresh_head=fresh_head)


def test_the_digest_sees_what_the_configuration_changes(teacher: BertForSequenceClassification, tmp_path: Path) -> None:
    teacher.save_pretrained(tmp_path)
    again = load_classifier(str(tmp_path), SST2, fresh_head=False)
    other = load_classifier(str(tmp_path), SST2, fresh_head=False)
    digest = weights_digest(again)
    assert weights_digest(other) == digest
    other.config.hidden_act = "relu"
    assert weights_digest(other) != digest


def test_a_configuration_of_wrong_types(tmp_path: Path) -> None:
    BertForSequenceClassification(tiny_bert_config()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": "a"}))
    with pytest.raises(UserError, match="cannot load the"):
        load_classifier(str(tmp_path), SST2, fresh_head=False)


def test_damaged_projections(tmp_path: Path) -> None:
    (tmp_path / "projections.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match="projections.safetensors is damaged"):
        load_projections(str(tmp_path))


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    BertForSequenceClassification(tiny_bert_config()).half().save_pretrained(tmp_path)
    assert load_classifier(str(tmp_path), SST2, fresh_head=False).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "there is no model folder"),
        ("a/b/c", "there is no model folder"),
        (
            "no-such/model",
            "there is no folder no-such/model here, and the (model|tokenizer) of that name could not",
        ),
    ],
)
def test_a_model_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_classifier(name, SST2, fresh_head=False)
    with pytest.raises(UserError, match=message):
        load_tokenizer(name)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no config.json"):
        load_classifier(str(tmp_path), SST2, fresh_head=False)


def test_the_saved_student_is_plain_and_its_projections_lie_beside(
    teacher: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    student = build_student(
        StudentSpec.parse("shape:layers=2,hidden=16,heads=2,ffn=8"), teacher, SST2, uniform(4, 2), 0
    )
    distiller = Distiller(student, intermediate(uniform(4, 2), projection="per-layer"), {"teacher": 24})
    save_student(distiller, tokenizer, 32, tmp_path)
    assert not any("projection" in key for key in load_file(tmp_path / "model.safetensors"))
    assert size_on_disk(tmp_path) == (tmp_path / "model.safetensors").stat().st_size
    found = load_projections(str(tmp_path))
    assert found.keys() == {f"{m}.{kind}" for m in range(3) for kind in ("weight", "bias")}
    assert torch.equal(found["2.weight"], distiller.projections[2].weight)
    assert load_classifier(str(tmp_path), SST2, fresh_head=False).num_parameters() == student.num_parameters()
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "projections.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_projections_of_the_published_students(tmp_path: Path, pickled: bool, shared: bool) -> None:
    """`fit_denses.<m>` of the second version, one `fit_dense` of the first; ours are found by the same names."""
    names = ["fit_dense"] if shared else ["fit_denses.0", "fit_denses.1", "fit_denses.2"]
    weights = {
        f"{name}.{kind}": torch.randn(24, 16)[: 24 if kind == "weight" else 1]
        for name in names
        for kind in ("weight", "bias")
    }
    weights = {k: v if k.endswith("weight") else v.flatten() for k, v in weights.items()}
    body = BertForMaskedLM(tiny_bert_config(layers=2, hidden_size=16)).state_dict()
    body = {key: value.clone() for key, value in body.items()}
    if pickled:
        torch.save({**body, **weights}, tmp_path / "pytorch_model.bin")
    else:
        save_file({**body, **weights}, tmp_path / "model.safetensors")
    found = load_projections(str(tmp_path))
    assert found.keys() == {f"{m}.{kind}" for m in range(len(names)) for kind in ("weight", "bias")}
    assert torch.equal(found["0.weight"], weights[f"{names[0]}.weight"])
