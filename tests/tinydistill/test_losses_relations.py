"""MiniLMv2's losses against their formula, written out in float64 loops."""

import pytest
import torch

from tests.tinydistill.loss_inputs import BATCHES, kl, mask_of, over_queries, scores_of, value_and_gradients
from tinydistill import losses
from tinydistill.encoders.attention import QueriesAndKeys

PART = {"query_relations": "query", "key_relations": "key", "value_relations": "value"}


def parts(batch: int, heads: int, width: int, size: int) -> QueriesAndKeys:
    query, key, value = torch.randn(3, batch, heads, width, size).unbind()
    return QueriesAndKeys(query, key, size**-0.5, value)


def relation_heads(of: torch.Tensor, heads: int) -> QueriesAndKeys:
    """Element by element: component c of relation head r is the component r·D/R + c of all heads side by side."""
    batch, own_heads, width, size = of.shape
    each = own_heads * size // heads
    split = torch.zeros(batch, heads, width, each, dtype=torch.float64)
    for r in range(heads):
        for c in range(each):
            head, component = divmod(r * each + c, size)
            split[:, r, :, c] = of[:, head, :, component].double()
    return QueriesAndKeys(split, split, each**-0.5)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("lengths", "width"), BATCHES)
@pytest.mark.parametrize(
    ("own", "others", "heads"), [((2, 6), (2, 6), 2), ((2, 6), (3, 8), 4), ((3, 4), (1, 6), 6), ((3, 4), (4, 2), 1)]
)
@pytest.mark.parametrize("name", PART)
def test_relations(
    name: str, own: tuple[int, int], others: tuple[int, int], heads: int, lengths: list[int], width: int, left: bool
) -> None:
    """Of equal and unequal (heads, size of a head), with more and fewer relation heads than those of attention."""
    torch.manual_seed(0)
    sizes = ((len(lengths), n, width, size) for n, size in (own, others))
    student, teacher = (parts(*size) for size in sizes)
    mask = mask_of(lengths, width, left)
    got = losses.LOSSES[name].function(student, teacher, mask, heads)
    s, t = (scores_of(relation_heads(getattr(of, PART[name]), heads)) for of in (student, teacher))
    assert got.tolist() == pytest.approx(over_queries(kl, s, t, mask), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", PART)
def test_gradients_in_float64(name: str) -> None:
    """With padding, and with an example without tokens, which gives 0."""
    torch.manual_seed(0)
    states = torch.randn(3, 2, 4, 3, dtype=torch.float64)
    teacher, mask = parts(3, 3, 4, 4), mask_of([4, 2, 0], 4)
    loss = losses.LOSSES[name].function
    value = loss(QueriesAndKeys(states, states, 1.0, states), teacher, mask, 3)
    assert value.dtype == torch.float64
    assert value[2] == 0
    assert torch.autograd.gradcheck(
        lambda x: loss(QueriesAndKeys(x, x, 1.0, x), teacher, mask, 3), states.requires_grad_()
    )


@pytest.mark.parametrize("bad", [1e6, float("nan")])
@pytest.mark.parametrize("name", PART)
def test_padding_reaches_neither_value_nor_gradient(name: str, bad: float) -> None:
    torch.manual_seed(0)
    mask = mask_of([2, 4], 6, left=True)
    outside = (mask == 0)[:, None, :, None].expand(2, 3, 6, 4)
    student, teacher = parts(2, 3, 6, 4).query, parts(2, 3, 6, 4).query
    (clean, (gradient,)), (got, (spoilt,)) = (
        value_and_gradients(
            lambda x, t=t: losses.LOSSES[name].function(
                QueriesAndKeys(x, x, 1.0, x), QueriesAndKeys(t, t, 1.0, t), mask, 6
            ),
            [s],
            (),
        )
        for s, t in ((student, teacher), (student.masked_fill(outside, bad), teacher.masked_fill(outside, -bad)))
    )
    assert torch.equal(got, clean)
    assert torch.equal(gradient, spoilt)
    assert torch.equal(spoilt[outside], torch.zeros(int(outside.sum())))
    assert spoilt[~outside].abs().min() > 0


@pytest.mark.parametrize("name", PART)
def test_half_precision_is_compared_in_float32(name: str) -> None:
    torch.manual_seed(0)
    student, teacher = (torch.randn(2, 3, 8, 16).bfloat16() for _ in "ST")
    mask = mask_of([8, 3], 8)

    def value(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return losses.LOSSES[name].function(QueriesAndKeys(s, s, 1.0, s), QueriesAndKeys(t, t, 1.0, t), mask, 4)

    with torch.autocast("cpu", torch.bfloat16):
        got = value(student, teacher)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), value(student.double(), teacher.double()), rtol=1e-5, atol=1e-6)


def test_what_does_not_fit() -> None:
    mask = torch.ones(1, 5)
    with pytest.raises(ValueError, match="5 relation heads do not divide a width of 12"):
        losses.query_relations(parts(1, 3, 5, 4), parts(1, 2, 5, 5), mask, 5)
    with pytest.raises(ValueError, match="5 relation heads do not divide a width of 12"):
        losses.key_relations(parts(1, 2, 5, 5), parts(1, 3, 5, 4), mask, 5)
    with pytest.raises(ValueError, match="needs the values of both models"):
        losses.value_relations(parts(1, 3, 5, 4), parts(1, 3, 5, 4)._replace(value=None), mask, 3)
