"""Narrower students of a teacher's blocks: what is exact, against plain formulas in float64."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from glue_tasks.errors import UserError
from tinydistill.narrowing import Narrow, _basis, _Narrowing, _of_rank, _random_rows, _roots, narrow

D, HEADS, FFN = 24, 4, 32
SIZES = {
    "vocab_size": 60,
    "num_hidden_layers": 4,
    "hidden_size": D,
    "num_attention_heads": HEADS,
    "intermediate_size": FFN,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
CONFIGS: dict[str, Callable[..., PreTrainedConfig]] = {
    "bert": BertConfig,
    "roberta": RobertaConfig,
    "electra": lambda **sizes: ElectraConfig(**{"embedding_size": D, **sizes}),
    "electra-narrow": lambda **sizes: ElectraConfig(**sizes, embedding_size=10),
}
HEAD = {
    "none": AutoModel,
    "sentences": AutoModelForSequenceClassification,
    "tokens": AutoModelForTokenClassification,
    "spans": AutoModelForQuestionAnswering,
    "pieces": AutoModelForMaskedLM,
}


def model_of(family: str = "bert", head: str = "none", seed: int = 0, **changes: object) -> PreTrainedModel:
    """All weights random, those of biases and normalisations too."""
    torch.manual_seed(seed)
    changes = {"num_labels": 2 if head == "spans" else 3, **changes}
    if family == "electra" and "hidden_size" in changes:
        changes["embedding_size"] = changes["hidden_size"]
    model = HEAD[head].from_config(CONFIGS[family](**{**SIZES, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model


def narrowed(teacher: PreTrainedModel, student: PreTrainedModel, blocks: Sequence[int]) -> _Narrowing:
    with torch.no_grad():
        made = _Narrowing(teacher, student, blocks, _random_rows(teacher.config))
        made.run()
    return made


def linear(layer: torch.nn.Linear, states: Tensor) -> Tensor:
    return states @ layer.weight.double().T + layer.bias.double()


@pytest.mark.parametrize("head", HEAD)
@pytest.mark.parametrize("family", CONFIGS)
def test_the_full_size_is_the_teacher(family: str, head: str) -> None:
    teacher, student = model_of(family, head), model_of(family, head, seed=1, num_hidden_layers=2)
    narrow(teacher, student, (1, 3))
    theirs = teacher.state_dict()
    for key, value in student.state_dict().items():
        source = key.replace("layer.1.", "layer.3.").replace("layer.0.", "layer.1.")
        assert torch.equal(value, theirs[source]), key


@pytest.mark.parametrize("head", HEAD)
@pytest.mark.parametrize("family", CONFIGS)
def test_every_weight_of_a_narrow_student_is_the_teachers(family: str, head: str) -> None:
    """Two students with other weights of their own become one; the teacher and the random numbers stay as they are."""
    teacher = model_of(family, head).train()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    sizes = {"num_hidden_layers": 2, "hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 20}
    students = [model_of(family, head, seed, **sizes) for seed in (1, 2)]
    drawn = torch.get_rng_state()
    for student in students:
        narrow(teacher, student, (0, 2))
    assert torch.equal(torch.get_rng_state(), drawn)
    for key, value in students[0].state_dict().items():
        assert torch.equal(value, students[1].state_dict()[key]), key
        assert value.isfinite().all()
    assert teacher.training
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert students[0](**_random_rows(teacher.config))[0].isfinite().all()


def test_units_that_write_nothing_are_left_out_and_nothing_else_changes() -> None:
    teacher = model_of(head="tokens")
    student = model_of(head="tokens", seed=1, intermediate_size=FFN - 5)
    with torch.no_grad():
        for block in teacher.bert.encoder.layer:
            block.output.dense.weight[:, [0, 7, 8, 20, 31]] = 0
    narrow(teacher, student, range(4))
    rows = _random_rows(teacher.config)
    with torch.no_grad():
        torch.testing.assert_close(student(**rows).logits, teacher(**rows).logits)


def test_a_unit_that_never_changes_goes_into_the_bias() -> None:
    teacher = model_of(head="tokens", num_hidden_layers=1)
    student = model_of(head="tokens", seed=1, num_hidden_layers=1, intermediate_size=FFN - 1)
    with torch.no_grad():
        first = teacher.bert.encoder.layer[0].intermediate.dense
        first.weight[9], first.bias[9] = 0, 3.0
    narrow(teacher, student, (0,))
    rows = _random_rows(teacher.config)
    with torch.no_grad():
        torch.testing.assert_close(student(**rows).logits, teacher(**rows).logits)


@pytest.mark.parametrize("own_heads", [2, 4])
def test_attention_within_the_basis(own_heads: int) -> None:
    """Scores and what is written, of states that lie in the basis: two whole heads of 6, or four whose rank is 3."""
    teacher = model_of(num_hidden_layers=1)
    attention = teacher.encoder.layer[0].attention
    with torch.no_grad():
        for head in range(4):
            rows = slice(6 * head, 6 * head + 6)
            if own_heads == 4:  # of lower rank
                mix = torch.randn(6, 3)
                for layer in (attention.self.query, attention.self.value):
                    layer.weight[rows] = mix @ torch.randn(3, D)
                    layer.bias[rows] = mix @ torch.randn(3)
            elif head % 2:  # writes nothing
                attention.output.dense.weight[:, rows] = 0
    student = model_of(seed=1, num_hidden_layers=1, hidden_size=12, num_attention_heads=own_heads)
    basis = narrowed(teacher, student, (0,)).basis
    own = student.encoder.layer[0].attention
    states = torch.randn(5, 12, dtype=torch.float64)
    lifted = states @ basis.T
    chosen = range(4) if own_heads == 4 else (0, 2)
    size, own_size = 6, 12 // own_heads
    written = attention.output.dense.bias.double() @ basis
    own_written = own.output.dense.bias.double()
    with torch.no_grad():
        for place, head in enumerate(chosen):
            theirs, ours = slice(size * head, size * head + size), slice(own_size * place, own_size * (place + 1))
            queries, keys, values = (
                linear(getattr(attention.self, n), lifted)[:, theirs] for n in ("query", "key", "value")
            )
            own_queries, own_keys, own_values = (
                linear(getattr(own.self, n), states)[:, ours] for n in ("query", "key", "value")
            )
            scores, own_scores = (
                queries @ keys.T / math.sqrt(size),
                own_queries @ own_keys.T / math.sqrt(own_size),
            )
            torch.testing.assert_close(own_scores, scores, rtol=1e-4, atol=1e-4)
            weights = scores.softmax(-1)
            written = written + weights @ values @ attention.output.dense.weight.double()[:, theirs].T @ basis
            own_written = own_written + weights @ own_values @ own.output.dense.weight.double()[:, ours].T
    torch.testing.assert_close(own_written, written, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("head", "name"), [("tokens", "classifier"), ("spans", "qa_outputs")])
@pytest.mark.parametrize("family", CONFIGS)
def test_heads_that_read_the_last_states(family: str, head: str, name: str) -> None:
    teacher, student = model_of(family, head), model_of(family, head, 1, hidden_size=12, num_attention_heads=2)
    basis = narrowed(teacher, student, range(4)).basis
    states = torch.randn(5, 12, dtype=torch.float64)
    ours, theirs = (getattr(model, name) for model in (student, teacher))
    torch.testing.assert_close(linear(ours, states), linear(theirs, states @ basis.T), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", CONFIGS)
def test_heads_with_a_layer_of_their_own(family: str) -> None:
    """Twelve of the 24 units decide the classes, and they are kept."""
    teacher = model_of(family, "sentences")
    student = model_of(family, "sentences", 1, hidden_size=12, num_attention_heads=2)
    layers = [
        (model.bert.pooler.dense, model.classifier)
        if family == "bert"
        else (model.classifier.dense, model.classifier.out_proj)
        for model in (teacher, student)
    ]
    with torch.no_grad():
        layers[0][1].weight[:, 1::2] = 0
    basis = narrowed(teacher, student, range(4)).basis
    act = torch.nn.functional.gelu if family.startswith("electra") else torch.tanh
    states = torch.randn(5, 12, dtype=torch.float64)
    (dense, out), (own_dense, own_out) = layers
    wanted = linear(out, act(linear(dense, states @ basis.T)))
    torch.testing.assert_close(linear(own_out, act(linear(own_dense, states))), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", CONFIGS)
def test_heads_of_whole_texts_are_fitted_to_their_first_pieces(family: str) -> None:
    """Which units are left out, and what they give on average, by what the head reads."""
    teacher = model_of(family, "sentences")
    student = model_of(family, "sentences", 1, hidden_size=12, num_attention_heads=2)
    narrowed(teacher, student, range(4))
    dense, out, own_out = (
        (teacher.bert.pooler.dense, teacher.classifier, student.classifier)
        if family == "bert"
        else (teacher.classifier.dense, teacher.classifier.out_proj, student.classifier.out_proj)
    )
    act = torch.nn.functional.gelu if family.startswith("electra") else torch.tanh
    with torch.no_grad():
        states = teacher.base_model(**_random_rows(teacher.config)).last_hidden_state[:, 0].double()
        active, weight = act(linear(dense, states)), out.weight.double()
        strength = active.var(0) * weight.square().sum(0)
        left = strength.argsort()[:12].sort().values
        kept = strength.argsort()[12:].sort().values
        bias = out.bias.double() + weight[:, left] @ active.mean(0)[left]
    torch.testing.assert_close(own_out.weight.double(), weight[:, kept], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own_out.bias.double(), bias, rtol=1e-5, atol=1e-5)


def test_embeddings_and_masked_lm() -> None:
    teacher, student = model_of(head="pieces"), model_of(head="pieces", seed=1, hidden_size=12, num_attention_heads=2)
    basis = narrowed(teacher, student, range(4)).basis
    for name in ("word", "position", "token_type"):
        theirs, ours = (
            model.get_parameter(f"bert.embeddings.{name}_embeddings.weight").double() for model in (teacher, student)
        )
        torch.testing.assert_close(ours, theirs @ basis, rtol=1e-5, atol=1e-6)
    assert isinstance(student, BertForMaskedLM)
    assert student.cls.predictions.decoder.weight is student.bert.embeddings.word_embeddings.weight
    theirs, ours = (model.cls.predictions.transform.dense for model in (teacher, student))
    states = torch.randn(5, 12, dtype=torch.float64)
    torch.testing.assert_close(linear(ours, states), linear(theirs, states @ basis.T) @ basis, rtol=1e-5, atol=1e-5)


def test_gains_and_biases_are_those_of_least_squares() -> None:
    teacher, student = model_of(), model_of(seed=1, hidden_size=12, num_attention_heads=2)
    made = narrowed(teacher, student, range(4))
    for block in (0, 3):
        theirs = teacher.encoder.layer[block].output.LayerNorm
        own = student.encoder.layer[block].output.LayerNorm
        seen = made.seen[theirs]
        inputs, outputs = (each @ made.basis for each in (seen.inputs, seen.outputs))
        normed = (inputs - inputs.mean(1, keepdim=True)) / (
            inputs.var(1, keepdim=True, unbiased=False) + own.eps
        ).sqrt()
        for i in range(12):
            known = np.stack([normed[:, i].numpy(), np.ones(len(normed))], 1)
            gain, bias = np.linalg.lstsq(known, outputs[:, i].numpy(), rcond=None)[0]
            assert own.weight[i].item() == pytest.approx(gain, rel=1e-4, abs=1e-5)
            assert own.bias[i].item() == pytest.approx(bias, rel=1e-4, abs=1e-5)


def test_the_basis_spans_the_leading_directions() -> None:
    generator = np.random.default_rng(0)
    layers = [generator.normal(size=(50, 9)) @ generator.normal(size=(9, 9)) + 5 for _ in range(3)]
    basis = _basis(map(torch.from_numpy, layers), 4).numpy()
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-12)
    centred = [layer - layer.mean(0) for layer in layers]
    stacked = np.concatenate([layer / np.linalg.norm(layer) for layer in centred])
    leading = np.linalg.svd(stacked)[2][:4].T
    np.testing.assert_allclose(basis @ basis.T, leading @ leading.T, atol=1e-10)
    # The nearest to the chosen dimensions: their part of it is symmetric and positive.
    nearest = np.sort(np.argsort(-(leading**2).sum(1))[:4])
    np.testing.assert_allclose(basis[nearest], basis[nearest].T, atol=1e-10)
    assert (np.linalg.eigvalsh(basis[nearest]) > 0).all()
    assert torch.equal(_basis(map(torch.from_numpy, layers), 9), torch.eye(9, dtype=torch.float64))


def test_the_approximation_of_a_rank_is_the_best_for_what_it_reads() -> None:
    torch.manual_seed(0)
    states = torch.randn(200, 7, dtype=torch.float64) @ torch.randn(7, 7, dtype=torch.float64)
    matrix = torch.randn(1, 8, 8, dtype=torch.float64)
    roots = _roots(states)
    known = torch.nn.functional.pad(states, (0, 1), value=1.0)
    torch.testing.assert_close(roots[0] @ roots[0].T, known.T @ known / 200)
    first, second = _of_rank(3, matrix, roots, roots)
    assert first.shape == (1, 8, 3)
    assert second.shape == (1, 3, 8)

    def error(made: Tensor) -> float:
        """The mean squared error of x^T M y over all pairs of states."""
        return (known @ (made - matrix[0]) @ known.T).square().mean().item()

    values = np.linalg.svd((known @ matrix[0] @ known.T).numpy(), compute_uv=False)
    assert error((first @ second)[0]) == pytest.approx((values[3:] ** 2).sum() / 200**2)
    first, second = _of_rank(3, matrix, None, roots)
    values = np.linalg.svd((matrix[0] @ known.T).numpy(), compute_uv=False)
    left = ((first @ second)[0] - matrix[0]) @ known.T
    assert left.square().sum().item() == pytest.approx((values[3:] ** 2).sum())


def test_padding_is_not_looked_at() -> None:
    teacher = model_of()
    ids = torch.randint(1, 60, (6, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[::2, 6:] = 0
    made = []
    for rest in (0, 17):
        student = model_of(seed=1, hidden_size=12, num_attention_heads=2)
        narrow(teacher, student, range(4), {"input_ids": ids.where(mask > 0, rest), "attention_mask": mask})
        made.append(student.state_dict())
    for key, value in made[0].items():
        torch.testing.assert_close(value, made[1][key], rtol=1e-4, atol=1e-5)
    narrow(teacher, student, range(4))
    assert not torch.allclose(
        student.encoder.layer[0].output.dense.weight, made[0]["encoder.layer.0.output.dense.weight"]
    )


@pytest.mark.parametrize(
    ("sizes", "made"),
    [
        (Narrow(12), (12, 4, 16)),
        (Narrow(12, heads=2), (12, 2, 16)),
        (Narrow(ffn=8), (24, 4, 8)),
        (Narrow(20, ffn=32), (20, 4, 32)),
    ],
)
def test_sizes_in_proportion(sizes: Narrow, made: tuple[int, int, int]) -> None:
    shape = sizes.shape(BertConfig(**SIZES), 2)
    assert (shape.layers, shape.hidden, shape.heads, shape.ffn) == (2, *made)


@pytest.mark.parametrize(
    ("sizes", "config", "message"),
    [
        (Narrow(12), DistilBertConfig(), "type 'distilbert' cannot be narrowed; copy them whole with init:layers="),
        (Narrow(25), BertConfig(**SIZES), "hidden=25, more than the teacher's 24"),
        (Narrow(heads=8), BertConfig(**SIZES), "heads=8, more than the teacher's 4"),
        (Narrow(ffn=33), BertConfig(**SIZES), "ffn=33, more than the teacher's 32"),
        (Narrow(10), BertConfig(**SIZES), "hidden size of 10 does not divide into 4 heads"),
        (Narrow(10), ElectraConfig(**{**SIZES, "num_attention_heads": 2}, embedding_size=10), "the teacher's word emb"),
        (Narrow(12, heads=1), BertConfig(**SIZES), "12 wide, the teacher's only 6; give more heads, at least 2"),
    ],
)
def test_sizes_that_cannot_be(sizes: Narrow, config: PreTrainedConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sizes.shape(config, 2)
