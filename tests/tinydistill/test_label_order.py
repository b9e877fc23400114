"""A model whose labels are in another order is reordered, to the bit; one that cannot be is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertForMaskedLM,
    BertForSequenceClassification,
    DistilBertConfig,
    ElectraConfig,
    ErnieConfig,
    MobileBertConfig,
    PreTrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from tinydistill.kinds import kind_of
from tinydistill.label_order import align, compare_orders, is_unnamed, start_order
from tinydistill.layer_map import uniform
from tinydistill.models import load_classifier, load_fine_tuned
from tinydistill.students import StudentSpec, build_student

from .conftest import PIECES, make_tokenizer, tiny_bert_config

MNLI, SST2 = TASKS["MNLI"], TASKS["SST-2"]
OTHER = ("contradiction", "entailment", "neutral")
SIZES = {"vocab_size": len(PIECES), "max_position_embeddings": 32}
WIDE = SIZES | {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES: dict[str, PreTrainedConfig] = {
    "bert": tiny_bert_config(layers=2),
    "roberta": RobertaConfig(**WIDE, pad_token_id=0),
    "xlm-roberta": XLMRobertaConfig(**WIDE, pad_token_id=0),
    "electra": ElectraConfig(**WIDE, embedding_size=12),
    "ernie": ErnieConfig(**WIDE),
    "albert": AlbertConfig(**WIDE, embedding_size=12),
    "distilbert": DistilBertConfig(**SIZES, dim=24, n_layers=2, n_heads=2, hidden_dim=32),
    "mobilebert": MobileBertConfig(**WIDE, embedding_size=12, intra_bottleneck_size=12, num_feedforward_networks=1),
}
BATCH = {"input_ids": torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0]]), "attention_mask": torch.ones(2, 5).long()}


def with_names(config: PreTrainedConfig, *names: str) -> PreTrainedConfig:
    config = type(config).from_dict(config.to_dict())
    config.id2label, config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    return config


def make_model(*names: str, family: str = "bert") -> BertForSequenceClassification:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(with_names(FAMILIES[family], *names)).eval()
    for name, parameter in model.named_parameters():
        if "classifier" in name:  # a bias of zeros would be in any order
            torch.nn.init.normal_(parameter)
    return model


@torch.no_grad()
def logits(model: BertForSequenceClassification) -> torch.Tensor:
    return model.eval()(**BATCH).logits


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("names", [OTHER, ("NEUTRAL", "Contradiction", "entailment"), MNLI.labels])
def test_an_aligned_model_gives_the_same_outputs_in_the_tasks_order(
    family: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    """In float64, so that not even the order of a sum may show; again after saving and loading."""
    model = make_model(*names, family=family).double()
    plain = [name.lower() for name in names]
    expected = logits(model)[:, [plain.index(label) for label in MNLI.labels]]
    notes = align(MNLI, model, "m", kind_of(MNLI).head())
    assert torch.equal(logits(model), expected)
    assert len(notes) == (names != MNLI.labels)
    assert [model.config.id2label[i].lower() for i in range(3)] == list(MNLI.labels)
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float64)
    assert torch.equal(logits(again), expected)
    assert again.config.label2id == model.config.label2id
    assert align(MNLI, again, "m", kind_of(MNLI).head()) == []


def test_the_note_says_both_orders() -> None:
    (note,) = align(MNLI, make_model(*OTHER), "m", kind_of(MNLI).head())
    assert note == (
        "the model m has its labels in the order contradiction, entailment, neutral; its outputs were put into the "
        "order of MNLI: entailment, neutral, contradiction"
    )


def test_codes_as_names() -> None:
    model = make_model("1", "0")
    before = logits(model)
    assert align(SST2, model, "m", kind_of(SST2).head())
    assert torch.equal(logits(model), before.flip(-1))
    assert align(SST2, make_model("0", "1"), "m", kind_of(SST2).head()) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b"), r"has 2 outputs, MNLI has 3 labels \(entailment, neutral, contradiction\)"),
        (("positive", "neutral", "negative"), "has the labels positive, neutral, negative, MNLI has entailment"),
        (("entailment", "neutral", "neutral "), "has the labels entailment, neutral, neutral , MNLI"),
    ],
)
def test_other_labels(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        align(MNLI, make_model(*names), "m", kind_of(MNLI).head())


def test_a_regression() -> None:
    with pytest.raises(UserError, match="has 3 outputs, STS-B has one value"):
        align(TASKS["STS-B"], make_model("a", "b", "c"), "m", kind_of(TASKS["STS-B"]).head())
    model = make_model("LABEL_0")
    assert align(TASKS["STS-B"], model, "m", kind_of(TASKS["STS-B"]).head()) == []
    assert not is_unnamed(TASKS["STS-B"], model, "m")


def test_a_head_that_cannot_be_reordered() -> None:
    model = make_model(*OTHER)
    model.classifier = torch.nn.Sequential(torch.nn.Linear(24, 3), torch.nn.Linear(3, 3))
    before = logits(model)
    with pytest.raises(UserError, match=r"its head \(BertForSequenceClassification\) is not one that can be reordered"):
        align(MNLI, model, "m", kind_of(MNLI).head())
    assert torch.equal(logits(model), before)


def test_a_model_without_names_stays_as_it_is() -> None:
    model = make_model("LABEL_0", "LABEL_1", "LABEL_2")
    before = logits(model)
    assert align(MNLI, model, "m", kind_of(MNLI).head()) == []
    assert is_unnamed(MNLI, model, "m")
    assert torch.equal(logits(model), before)
    assert not is_unnamed(SST2, make_model("0", "1"), "m")


def test_a_student_copied_from_an_aligned_teacher_has_its_outputs(tmp_path: Path) -> None:
    teacher = make_model(*OTHER)
    teacher.save_pretrained(tmp_path)
    expected = logits(teacher)[:, [1, 2, 0]]
    teacher, notes = load_fine_tuned(str(tmp_path), MNLI)
    assert len(notes) == 1
    student = build_student(StudentSpec(teacher_layers=2), teacher, MNLI, uniform(2, 2), seed=0)
    assert torch.equal(logits(student), expected)
    assert tuple(student.config.id2label.values()) == MNLI.labels


def test_a_fine_tuning_starts_from_a_head_of_the_same_labels_in_the_tasks_order(tmp_path: Path) -> None:
    start = make_model(*OTHER)
    start.save_pretrained(tmp_path)
    model = load_classifier(str(tmp_path), MNLI, fresh_head=True)
    assert torch.equal(logits(model), logits(start)[:, [1, 2, 0]])
    assert tuple(model.config.id2label.values()) == MNLI.labels
    assert start_order(MNLI, start.config, "m") == (1, 2, 0)
    # Of another task the head is a new one.
    other = load_classifier(str(tmp_path), SST2, fresh_head=True)
    assert other.classifier.weight.shape == (2, 24)
    assert start_order(SST2, start.config, "m") is None
    two_ways = with_names(start.config, *MNLI.labels)
    two_ways.id2label = dict(enumerate(OTHER))
    assert start_order(MNLI, two_ways, "m") is None


def test_a_masked_lm_has_no_head_to_reorder(tmp_path: Path) -> None:
    BertForMaskedLM(tiny_bert_config(num_labels=3)).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    assert load_classifier(str(tmp_path), MNLI, fresh_head=True).config.num_labels == 3


def test_the_order_that_is_named_puts_the_model_right() -> None:
    """What the message about dev says, written into the configuration, is what `align` needs."""
    references = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    outputs = np.eye(3)[np.array([1, 2, 0])[references]]
    _, (best, *_) = compare_orders(MNLI, outputs, references)
    model = make_model(*best.meanings(MNLI).split(", "))
    before = logits(model)
    align(MNLI, model, "t", kind_of(MNLI).head())
    assert torch.equal(logits(model), before[:, list(best.places)])
    assert (outputs[:, best.places].argmax(-1) == references).all()
