"""Ours and TextBrewer's own losses (0.2.1, in float64): equal where it is right, and the difference where it is not.

TextBrewer gives one number for a batch, in which every token, or pair of tokens, counts the same; ours give one for
each example, which count the same. So its number is a mean of ours with the tokens of the examples as weights.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tinydistill import losses
from tinydistill.encoders.attention import QueriesAndKeys

pytestmark = pytest.mark.realdata

# The weight of an example with n tokens in TextBrewer's number is n to this power, where a mask is given.
POWER = {"attention_mse": 2, "attention_mse_sum": 2, "mmd": 2, "nst": 2, "pkd": 0, "gram": 0, "fsp": 0}
LENGTHS = torch.tensor([5.0, 3.0, 1.0], dtype=torch.float64)


@pytest.fixture(scope="module")
def vectors(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "reference" / "textbrewer_vectors.json").read_text())


def case(cases: list[dict[str, Any]], loss: str, student: str | list[str], **rest: object) -> dict[str, Any]:
    (found,) = (c for c in cases if c["loss"] == loss and c["S"] == student and all(c[k] == v for k, v in rest.items()))
    return found


def function(name: str) -> Any:
    return losses.LOSSES[losses.ALIASES.get(name, name)].function


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def of_scores(scores: Tensor) -> QueriesAndKeys:
    """Queries and keys with these scores."""
    return QueriesAndKeys(scores, torch.eye(scores.shape[-1], dtype=scores.dtype).expand_as(scores), 1.0)


def mask_of(vectors: dict[str, Any], mask: str | None) -> Tensor:
    return torch.tensor(vectors["inputs"]["mask"]) if mask else torch.ones(3, 5)


def weights_of(name: str, mask: str | None) -> Tensor:
    weights = LENGTHS ** POWER.get(name, 1) if mask else torch.ones_like(LENGTHS)
    return weights / weights.sum()


@pytest.mark.parametrize("temperature", [1, 4, 8])
@pytest.mark.parametrize("outputs", ["logits", "token_logits"])
@pytest.mark.parametrize("name", ["ce", "mse"])
def test_losses_of_logits(vectors: dict[str, Any], name: str, outputs: str, temperature: int) -> None:
    theirs = case(vectors["kd"], name, f"{outputs}_S", temperature=temperature)
    student, teacher = (tensor(vectors["inputs"][theirs[side]]) for side in "ST")
    student.requires_grad_()
    rows = function(name)(student.flatten(0, -2), teacher.flatten(0, -2), temperature)
    assert rows.view(3, -1).mean(1).tolist() == pytest.approx(theirs["each_example_alone"], rel=1e-12)
    assert rows.mean().item() == pytest.approx(theirs["value"], rel=1e-12)
    rows.mean().backward()
    torch.testing.assert_close(student.grad, tensor(theirs["grad_S"]))


@pytest.mark.parametrize("mask", [None, "mask"])
@pytest.mark.parametrize("name", ["hidden_mse", "cos", "pkd"])
def test_losses_of_hidden_states(vectors: dict[str, Any], name: str, mask: str | None) -> None:
    theirs = case(vectors["matches"], name, "hidden_S", mask=mask)
    student, teacher = (tensor(vectors["inputs"][theirs[side]]) for side in "ST")
    values = function(name)(student.requires_grad_(), teacher, mask_of(vectors, mask))
    assert values.tolist() == pytest.approx(theirs["each_example_alone"], rel=1e-6)
    total = (values * weights_of(name, mask)).sum()
    assert total.item() == pytest.approx(theirs["value"], rel=1e-6)
    total.backward()
    torch.testing.assert_close(student.grad, tensor(theirs["grad_S"]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "second", "mask"),
    [
        ("gram", "hidden_S2", None),
        ("gram", "hidden_S2", "mask"),
        ("fsp", "hidden_S", None),
        ("fsp", "hidden_S", "mask"),
        ("mmd", "hidden_S2", None),
        ("nst", "hidden_S", None),
    ],
)
def test_losses_of_two_layers(vectors: dict[str, Any], name: str, second: str, mask: str | None) -> None:
    """mmd and nst with a teacher of another width."""
    theirs = case(vectors["matches"], name, ["hidden_S", second], mask=mask)
    students, teachers = (tuple(tensor(vectors["inputs"][x]) for x in theirs[side]) for side in "ST")
    for x in students:
        x.requires_grad_()
    values = function(name)(students, teachers, mask_of(vectors, mask))
    assert values.tolist() == pytest.approx(theirs["each_example_alone"], rel=1e-10)
    total = (values * weights_of(name, mask)).sum()
    assert total.item() == pytest.approx(theirs["value"], rel=1e-10)
    total.backward()
    for x, wanted in zip(students, theirs["grad_S"], strict=True):
        torch.testing.assert_close(x.grad, tensor(wanted))


@pytest.mark.parametrize(
    ("name", "scores"),
    [
        ("attention_mse", "scores_S"),
        ("attention_mse", "scores_S_added"),
        ("attention_mse_sum", "scores_S"),
        ("attention_mse_sum", "scores_S_added"),
        ("attention_ce", "scores_S_added"),
        ("attention_ce_mean", "scores_S_added"),
    ],
)
def test_losses_of_attention_with_a_mask(vectors: dict[str, Any], name: str, scores: str) -> None:
    """Those of probabilities where the mask is in the scores: its softmax then has no padded keys, as ours never has.

    Ours get the scores without it."""
    theirs = case(vectors["matches"], name, scores, mask="mask")
    student, teacher = (tensor(vectors["inputs"][f"scores_{side}"]) for side in "ST")
    values = function(name)(of_scores(student.requires_grad_()), of_scores(teacher), mask_of(vectors, "mask"))
    assert values.tolist() == pytest.approx(theirs["each_example_alone"], rel=1e-9, abs=1e-12)
    total = (values * weights_of(name, "mask")).sum()
    assert total.item() == pytest.approx(theirs["value"], rel=1e-9)
    total.backward()
    torch.testing.assert_close(student.grad, tensor(theirs["grad_S"]))


@pytest.mark.parametrize("name", ["attention_ce", "attention_ce_mean"])
def test_attention_ce_counts_padded_keys_where_scores_are_raw_and_ours_does_not(
    vectors: dict[str, Any], name: str
) -> None:
    """TextBrewer's mask leaves out padded keys from the sum, but not from the two softmaxes: what padding happens to
    score changes the probabilities of tokens. Its formula, written out, gives its number; ours is that of softmaxes
    over tokens alone, whether padding scores what it does or anything else."""
    theirs = case(vectors["matches"], name, "scores_S", mask="mask")
    student, teacher = (tensor(vectors["inputs"][f"scores_{side}"]) for side in "ST")
    mask = mask_of(vectors, "mask").double()

    def textbrewers(student: Tensor, teacher: Tensor) -> float:
        if name.endswith("mean"):
            student, teacher = student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
        terms = -teacher.softmax(-1) * student.log_softmax(-1) * mask[:, None, :, None] * mask[:, None, None]
        return (terms.sum() / (student.shape[1] * mask.sum())).item()

    def ours(student: Tensor, teacher: Tensor) -> list[float]:
        return function(name)(of_scores(student), of_scores(teacher), mask).tolist()

    padded = (mask == 0)[:, None, None].expand_as(student)
    louder = student.masked_fill(padded, 3.0), teacher.masked_fill(padded, 3.0)
    assert textbrewers(student, teacher) == pytest.approx(theirs["value"], rel=1e-9)
    assert abs(textbrewers(*louder) - textbrewers(student, teacher)) > 0.1
    assert ours(student, teacher) == ours(*louder)
    sound = case(vectors["matches"], name, "scores_S_added", mask="mask")["each_example_alone"]
    assert ours(student, teacher) == pytest.approx(sound, rel=1e-9, abs=1e-12)
    assert theirs["each_example_alone"][0] == pytest.approx(sound[0], rel=1e-9)  # the one without padding
    assert all(abs(a - b) > 0.1 for a, b in zip(theirs["each_example_alone"][1:], sound[1:], strict=True))


@pytest.mark.parametrize("name", ["attention_mse", "attention_mse_sum"])
def test_negative_scores_are_wiped_without_a_mask_and_ours_are_not(vectors: dict[str, Any], name: str) -> None:
    """TextBrewer sets what is ≤ −0.001 to 0, meant for the −10000 of padding; half of all scores are negative."""
    theirs = case(vectors["matches"], name, "scores_S", mask=None)["value"]
    student, teacher = (tensor(vectors["inputs"][f"scores_{side}"]) for side in "ST")
    ours = function(name)(of_scores(student), of_scores(teacher), torch.ones(3, 5)).mean().item()
    if name == "attention_mse_sum":
        student, teacher = student.sum(1), teacher.sum(1)
    wiped = (x.masked_fill(x <= -1e-3, 0.0) for x in (student, teacher))
    assert (next(wiped) - next(wiped)).square().mean().item() == pytest.approx(theirs, rel=1e-9)
    assert ours == pytest.approx((student - teacher).square().mean().item(), rel=1e-9)
    assert ours > 2 * theirs


def test_probabilities_of_negative_scores_are_wiped_without_a_mask_and_ours_are_not(vectors: dict[str, Any]) -> None:
    """TextBrewer sets the teacher's probabilities of scores ≤ −0.001 to 0, and what is left does not add up to 1."""
    theirs = case(vectors["matches"], "attention_ce", "scores_S", mask=None)["value"]
    student, teacher = (tensor(vectors["inputs"][f"scores_{side}"]) for side in "ST")
    targets = teacher.softmax(-1)
    terms = -targets.masked_fill(teacher <= -1e-3, 0.0) * student.log_softmax(-1)
    assert terms.sum(-1).mean().item() == pytest.approx(theirs, rel=1e-9)
    ours = losses.attention_cross_entropy(of_scores(student), of_scores(teacher), torch.ones(3, 5)).mean().item()
    assert ours == pytest.approx((-targets * student.log_softmax(-1)).sum(-1).mean().item(), rel=1e-9)
    assert ours > 1.2 * theirs


@pytest.mark.parametrize(("name", "second"), [("mmd", "hidden_S2"), ("nst", "hidden_S")])
def test_mmd_divides_by_the_padded_length_where_there_is_a_mask_and_ours_by_the_width(
    vectors: dict[str, Any], name: str, second: str
) -> None:
    """Without a mask TextBrewer divides products by the width of each model, with one by L, padding included: then the
    loss is another for the same text in a longer batch, and the wider model's products are the larger ones."""
    theirs = case(vectors["matches"], name, ["hidden_S", second], mask="mask")
    students, teachers = (tuple(tensor(vectors["inputs"][x]) for x in theirs[side]) for side in "ST")
    mask = mask_of(vectors, "mask")
    pairs, counts = mask[:, :, None] * mask[:, None], mask.sum(1).square()
    by_length, by_width = (
        ((own / a - others / b).square() * pairs).sum((1, 2)) / counts
        for own, others in [[x @ y.transpose(1, 2) for x, y in (students, teachers)]]
        for a, b in ((5, 5), (4, 6))
    )
    assert by_length.tolist() == pytest.approx(theirs["each_example_alone"], rel=1e-9)
    assert (by_length * weights_of(name, "mask")).sum().item() == pytest.approx(theirs["value"], rel=1e-9)
    ours = function(name)(students, teachers, mask)
    assert ours.tolist() == pytest.approx(by_width.tolist(), rel=1e-9)
    padded = [tuple(torch.nn.functional.pad(x, (0, 0, 0, 3)) for x in pair) for pair in (students, teachers)]
    assert function(name)(*padded, torch.nn.functional.pad(mask, (0, 3))).tolist() == pytest.approx(ours.tolist())
    unmasked = case(vectors["matches"], name, ["hidden_S", second], mask=None)["each_example_alone"]
    assert ours[0].item() == pytest.approx(unmasked[0], rel=1e-9)  # it has no padding, and yet another masked value
    assert abs(theirs["each_example_alone"][0] - unmasked[0]) > 0.1


@pytest.mark.parametrize(
    ("name", "failure", "expected"),
    [
        ("cos", "cos with an empty mask", 0.0),
        ("gram", "gram of a sentence without tokens", 0.0),
        ("pkd", "pkd with a zero vector", 1.0),
    ],
)
def test_textbrewer_gives_nan_and_ours_a_number(
    vectors: dict[str, Any], name: str, failure: str, expected: float
) -> None:
    """It divides by no tokens, or by the length of a vector of zeros; one such example spoils a whole run."""
    assert vectors["failures"][failure] == "no error, gives nan"
    student, teacher = (tensor(vectors["inputs"][f"hidden_{side}"]) for side in "ST")
    mask = torch.ones(3, 5)
    if name == "pkd":
        student[1] = 0.0
    else:
        mask[1] = 0
    student.requires_grad_()
    sides = ((student, student), (teacher, teacher)) if name == "gram" else (student, teacher)
    values = function(name)(*sides, mask)
    values.sum().backward()
    assert values.isfinite().all()
    assert values[1].item() == pytest.approx(expected)
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert torch.equal(student.grad[1], torch.zeros(5, 4, dtype=torch.float64))


def test_heads_that_differ_are_an_error(vectors: dict[str, Any]) -> None:
    """TextBrewer compares one head with each of the others, with a warning of PyTorch's at most."""
    assert vectors["failures"]["attention_mse of different heads"].startswith("no error, gives")
    student, teacher = (tensor(vectors["inputs"][f"scores_{side}"]) for side in "ST")
    with pytest.raises(ValueError, match="the student has 1 attention heads and the teacher 2"):
        losses.attention_mse(of_scores(student[:, :1]), of_scores(teacher), torch.ones(3, 5))


@pytest.mark.parametrize(("outputs", "labels"), [("logits_T", "labels"), ("token_logits_T", "token_labels")])
def test_shift_probability(vectors: dict[str, Any], outputs: str, labels: str) -> None:
    (theirs,) = (c for c in vectors["probability_shift"]["cases"] if c["logits"] == outputs)
    logits, gold = tensor(vectors["inputs"][outputs]), torch.tensor(vectors["inputs"][labels])
    got = losses.shift_probability(logits.flatten(0, -2), gold.flatten())
    assert got.view_as(logits).tolist() == theirs["shifted"]
    assert torch.equal(logits, tensor(vectors["inputs"][outputs]))  # TextBrewer changes the teacher's own


def test_negative_labels_of_examples_are_left_alone(vectors: dict[str, Any]) -> None:
    """In a batch of examples TextBrewer indexes the logits with the label: −1 is taken for the last class, and −100,
    which stands for no label everywhere else, is an IndexError. Ours leaves such rows alone, as it does tokens."""
    logits = tensor(vectors["inputs"]["logits_T"])
    assert torch.equal(logits[range(3), torch.tensor([-1, -1, -1])], logits[:, 3])
    with pytest.raises(IndexError):
        logits[range(3), torch.tensor([-100, 0, 1])]
    assert torch.equal(losses.shift_probability(logits, torch.tensor([-1, -100, -1])), logits)


def test_rows_that_were_selected_may_be_shifted(vectors: dict[str, Any]) -> None:
    """TextBrewer selects the logits of the tokens that count, but not their labels, and fails."""
    assert vectors["probability_shift"]["after logits_mask"].startswith("IndexError")
    counts = torch.tensor(vectors["inputs"]["mask"]).bool()
    logits, gold = tensor(vectors["inputs"]["token_logits_T"]), torch.tensor(vectors["inputs"]["token_labels"])
    whole = losses.shift_probability(logits.flatten(0, 1), gold.flatten()).view_as(logits)
    assert torch.equal(losses.shift_probability(logits[counts], gold[counts]), whole[counts])
