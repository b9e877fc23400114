"""A model whose labels are in another order is put right, to the bit; one that cannot be is refused."""

import itertools
import math
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
from tinydistill import label_order
from tinydistill.label_order import align, check_order, compare_orders, doubt, is_unnamed, start_order
from tinydistill.layer_map import uniform
from tinydistill.models import StudentSpec, build_student, load_classifier, load_fine_tuned

from .conftest import PIECES, make_tokenizer, tiny_bert_config

MNLI, SST2, TNEWS = TASKS["MNLI"], TASKS["SST-2"], TASKS["TNEWS"]
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
    notes = align(MNLI, model, "m")
    assert torch.equal(logits(model), expected)
    assert len(notes) == (names != MNLI.labels)
    assert [model.config.id2label[i].lower() for i in range(3)] == list(MNLI.labels)
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float64)
    assert torch.equal(logits(again), expected)
    assert again.config.label2id == model.config.label2id
    assert align(MNLI, again, "m") == []


def test_the_note_says_both_orders() -> None:
    (note,) = align(MNLI, make_model(*OTHER), "m")
    assert note == (
        "the model m has its labels in the order contradiction, entailment, neutral; its outputs were put into the "
        "order of MNLI: entailment, neutral, contradiction"
    )


def test_codes_as_names() -> None:
    model = make_model("1", "0")
    before = logits(model)
    assert align(SST2, model, "m")
    assert torch.equal(logits(model), before.flip(-1))
    assert align(SST2, make_model("0", "1"), "m") == []


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
        align(MNLI, make_model(*names), "m")


def test_a_regression() -> None:
    with pytest.raises(UserError, match="has 3 outputs, STS-B has one value"):
        align(TASKS["STS-B"], make_model("a", "b", "c"), "m")
    model = make_model("LABEL_0")
    assert align(TASKS["STS-B"], model, "m") == []
    assert not is_unnamed(TASKS["STS-B"], model, "m")


def test_a_head_that_cannot_be_reordered() -> None:
    model = make_model(*OTHER)
    model.classifier = torch.nn.Sequential(torch.nn.Linear(24, 3), torch.nn.Linear(3, 3))
    before = logits(model)
    with pytest.raises(UserError, match=r"its head \(BertForSequenceClassification\) is not one that can be reordered"):
        align(MNLI, model, "m")
    assert torch.equal(logits(model), before)


def test_a_model_without_names_stays_as_it_is() -> None:
    model = make_model("LABEL_0", "LABEL_1", "LABEL_2")
    before = logits(model)
    assert align(MNLI, model, "m") == []
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


def outputs_for(predictions: np.ndarray, labels: int) -> np.ndarray:
    return np.eye(labels)[predictions]


def recall_by_hand(outputs: np.ndarray, references: np.ndarray) -> float:
    """Mean over the labels that occur of the share of their rows that are right, row by row."""
    right: dict[int, list[bool]] = {}
    for row, label in zip(outputs, references, strict=True):
        right.setdefault(int(label), []).append(max(range(len(row)), key=row.__getitem__) == label)
    return sum(sum(rows) / len(rows) for rows in right.values()) / len(right)


def lead_by_hand(outputs: np.ndarray, other: np.ndarray, references: np.ndarray) -> float:
    """McNemar's statistic, row by row, each row weighted by one over the rows of its label."""
    difference = variance = 0.0
    for mine, theirs, label in zip(outputs.argmax(-1), other.argmax(-1), references, strict=True):
        weight = 1 / (references == label).sum()
        step = int(mine == label) - int(theirs == label)
        difference += weight * step
        variance += weight**2 * abs(step)
    return difference / math.sqrt(variance) if variance else 0.0


@pytest.mark.parametrize("task", [SST2, MNLI], ids=lambda task: task.name)
@pytest.mark.parametrize("seed", range(5))
def test_orders_against_row_by_row(task, seed: int) -> None:
    random = np.random.default_rng(seed)
    count = task.num_labels
    references = random.choice(count, 60, p=np.arange(1, count + 1) / sum(range(1, count + 1)))
    outputs = random.normal(size=(60, count)) + 0.7 * np.eye(count)[random.permutation(count)[references]]
    recall, others = compare_orders(task, outputs, references)
    assert recall == pytest.approx(recall_by_hand(outputs, references))
    assert {each.places for each in others} == set(itertools.permutations(range(count))) - {tuple(range(count))}
    for each in others:
        reordered = outputs[:, each.places]
        assert each.recall == pytest.approx(recall_by_hand(reordered, references))
        assert each.lead == pytest.approx(lead_by_hand(outputs, reordered, references))
    assert [each.recall for each in others] == sorted((each.recall for each in others), reverse=True)


def test_many_labels_are_assigned(monkeypatch: pytest.MonkeyPatch) -> None:
    """With six labels every order can still be tried, as the assignment does without."""
    from dataclasses import replace

    six = replace(TNEWS, labels=TNEWS.labels[:6], label_codes=())
    random = np.random.default_rng(0)
    references = random.integers(0, 6, 200)
    outputs = random.normal(size=(200, 6)) + 1.5 * np.eye(6)[random.permutation(6)[references]]
    _, assigned = compare_orders(six, outputs, references)
    monkeypatch.setattr(label_order, "_ALL_ORDERS", 6)
    _, tried = compare_orders(six, outputs, references)
    assert len(tried) == math.factorial(6) - 1
    assert assigned[0] == tried[0]
    moving = [each for each in tried if all(i != place for i, place in enumerate(each.places))]
    assert moving[0] in assigned


REFERENCES = np.array([0, 0, 0, 1, 1, 2, 2, 2] * 5)


@pytest.mark.parametrize("unnamed", [True, False])
def test_outputs_in_another_order(unnamed: bool) -> None:
    """The first output means contradiction, the second entailment, the third neutral, whatever their names."""
    outputs = outputs_for(np.array([1, 2, 0])[REFERENCES], 3)
    with pytest.raises(UserError, match="labels of t are in the order contradiction, entailment, neutral, not in that"):
        check_order(MNLI, "t", outputs, REFERENCES, unnamed)


def test_the_order_that_is_named_puts_the_model_right() -> None:
    """What the message says, written into the configuration, is what `align` needs."""
    outputs = outputs_for(np.array([1, 2, 0])[REFERENCES], 3)
    _, (best, *_) = compare_orders(MNLI, outputs, REFERENCES)
    model = make_model(*best.meanings(MNLI).split(", "))
    before = logits(model)
    align(MNLI, model, "t")
    assert torch.equal(logits(model), before[:, list(best.places)])
    assert (outputs[:, best.places].argmax(-1) == REFERENCES).all()


def test_an_order_that_is_still_above_chance() -> None:
    """Two of three labels are swapped, the third is most of the rows."""
    references = np.array([0] * 60 + [1] * 20 + [2] * 20)
    outputs = outputs_for(np.array([0, 2, 1])[references], 3)
    assert (outputs.argmax(-1) == references).mean() == 0.6
    with pytest.raises(UserError, match="in the order entailment, contradiction, neutral.*1.000 .*0.333 as they stand"):
        check_order(MNLI, "t", outputs, references, unnamed=False)


@pytest.mark.parametrize("right", [1.0, 0.6])
def test_a_good_model(right: float) -> None:
    random = np.random.default_rng(0)
    references = random.integers(0, 3, 300)
    predictions = np.where(random.random(300) < right, references, random.integers(0, 3, 300))
    outputs = outputs_for(predictions, 3)
    check_order(MNLI, "t", outputs, references, unnamed=True)
    assert doubt(MNLI, "t", outputs, references) == ""


def test_a_frequent_label_proves_no_order() -> None:
    """90 of 100 rows right by one answer to all: in neither order does the model know anything."""
    references = np.array([0] * 90 + [1] * 10)
    for label in (0, 1):
        outputs = outputs_for(np.full(100, label), 2)
        check_order(SST2, "t", outputs, references, unnamed=True)
        assert (
            "100 dev rows cannot tell whether they are in the order negative, positive or positive, negative"
            in doubt(SST2, "t", outputs, references)
        )


def test_few_rows_prove_no_order() -> None:
    references = np.array([0, 1] * 5)
    predictions = references.copy()
    predictions[:3] = 1 - predictions[:3]  # 7 of 10 are right: 1.3 standard errors
    outputs = outputs_for(predictions, 2)
    check_order(SST2, "t", outputs, references, unnamed=True)
    assert doubt(SST2, "t", outputs, references)
    check_order(SST2, "t", 1 - outputs, references, unnamed=True)
    assert doubt(SST2, "t", 1 - outputs, references)


def test_names_count_for_something() -> None:
    """54% in the other order of 2,000 rows: told of a model without names, not held against one with names."""
    references = np.arange(2000) % 2
    predictions = np.where(np.arange(2000) % 100 < 54, 1 - references, references)
    outputs = outputs_for(predictions, 2)
    check_order(SST2, "t", outputs, references, unnamed=False)
    with pytest.raises(UserError, match="in the order positive, negative"):
        check_order(SST2, "t", outputs, references, unnamed=True)


def test_many_labels_some_of_which_have_no_rows() -> None:
    random = np.random.default_rng(0)
    references = random.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13], 300)
    predictions = np.where(random.random(300) < 0.5, references, random.integers(0, 15, 300))
    outputs = outputs_for(predictions, 15)
    check_order(TNEWS, "t", outputs, references, unnamed=True)
    assert doubt(TNEWS, "t", outputs, references) == ""
    shuffled = outputs[:, random.permutation(15)]
    with pytest.raises(UserError, match="by 300 dev rows the labels of t are in the order"):
        check_order(TNEWS, "t", shuffled, references, unnamed=True)
    swapped = outputs[:, [1, 0, *range(2, 15)]]
    with pytest.raises(UserError, match="are in the order news_culture, news_story, news_entertainment"):
        check_order(TNEWS, "t", swapped, references, unnamed=True)


def test_a_head_that_was_never_trained_is_hardly_ever_believed() -> None:
    random = np.random.default_rng(0)
    references = random.integers(0, 3, 400)
    believed = 0
    for _ in range(200):
        outputs = random.normal(size=(400, 3))
        try:
            check_order(MNLI, "t", outputs, references, unnamed=True)
        except UserError:
            continue
        believed += not doubt(MNLI, "t", outputs, references)
    assert believed <= 4
