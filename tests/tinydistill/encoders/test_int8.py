"""8-bit products against a twin in double precision, and a teacher made of them; by command: test_int8_run.py."""

import copy
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from glue_tasks.errors import UserError
from tests import forked
from tests.tinydistill.of_tasks import intermediate
from tests.tinydistill.test_processes import start
from tinydistill.encoders.cpu import int8
from tinydistill.encoders.cpu.int8 import Int8Linear, check_device, largest_inputs, quantise
from tinydistill.encoders.cpu.products import prepare_products
from tinydistill.encoders.precision import autocast
from tinydistill.features import FeatureReader
from tinydistill.layer_map import LayerMap

CPU = torch.device("cpu")
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
needs_int8 = pytest.mark.skipif(not int8.steps(), reason="8-bit products need an x86 processor and oneDNN")
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 50}
OF_A_KIND = {
    "electra": {"embedding_size": 16},
    "mobilebert": {"intra_bottleneck_size": 16, "embedding_size": 16, "true_hidden_size": 16},
    "albert": {"embedding_size": 16},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
}
# Linear layers of their blocks. ALBERT's one block serves twice; MobileBERT's have ways in and out of a narrow middle.
KINDS = {"bert": 12, "roberta": 12, "electra": 12, "distilbert": 12, "albert": 6, "mobilebert": 30, "deberta-v2": 12}


def model_of(kind: str, **changes: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **({} if kind == "distilbert" else SIZES) | OF_A_KIND.get(kind, {}) | changes)
    config.vocab_size = 50
    return AutoModelForSequenceClassification.from_config(config).eval().requires_grad_(False)


def batch_of(lengths: list[int], seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths)
    mask = torch.stack([torch.arange(width) < length for length in lengths]).long()
    return {"input_ids": torch.randint(5, 50, mask.shape, generator=generator) * mask, "attention_mask": mask}


def last_states(model: PreTrainedModel, batch: dict[str, torch.Tensor], precision: str = "float32") -> torch.Tensor:
    """Of the valid pieces."""
    with torch.no_grad(), autocast(precision, CPU):
        return model.base_model(**batch).last_hidden_state[batch["attention_mask"].bool()].float()


def use_int8(model: PreTrainedModel, batches: list[dict[str, torch.Tensor]], precision: str) -> None:
    quantise(model, largest_inputs(model, batches, precision), precision)


def off_by(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm()).item()


def rounded(values: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
    return values.detach().to(dtype).double().numpy()


@needs_int8
@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 16), (3, 5, 17), (40, 33), (20, 8)])
def test_against_the_formula(shape: tuple[int, ...], bias: bool, precision: str) -> None:
    torch.manual_seed(0)
    dtype, width = DTYPES[precision], shape[-1]
    linear = nn.Linear(width, 21, bias=bias)
    linear.weight.data[3] *= 50  # a large row of weights
    linear.weight.data[5] = 0
    linear.weight.data[:, 4] = 0
    states = torch.randn(shape)
    states[..., 2] *= 300  # a column of outliers
    states[..., 6] = 0
    states.view(-1, width)[-1:] = 0
    largest = states.view(-1, width).abs().amax(dim=0)
    x, w = states.view(-1, width).numpy(), linear.weight.detach().numpy()  # float32, as what is rounded
    factor = np.sqrt(np.maximum(np.abs(x).max(axis=0), 1e-5) / np.maximum(np.abs(w).max(axis=0), 1e-5))
    w_scale = np.maximum(np.abs(w * factor).max(axis=1, keepdims=True) / 127, 1e-30)
    weights = np.round(w * factor / w_scale).astype(np.float64) * w_scale
    x = x * (1 / factor)
    low = x.min(axis=1, keepdims=True)
    x_step = np.maximum((x.max(axis=1, keepdims=True) - low) / int8.steps(), 1e-30)
    expected = (np.round((x - low) / x_step).astype(np.float64) * x_step + low) @ weights.T
    expected += linear.bias.detach().double().numpy() if bias else 0

    with torch.no_grad(), autocast(precision, CPU):
        found = Int8Linear(linear, largest, dtype)(states)
    assert found.dtype == dtype
    assert found.shape == (*shape[:-1], 21)
    off = np.abs(found.double().view(-1, 21).numpy() - expected)
    parts = np.abs(x) @ np.abs(weights).T  # what is added up in float32
    step = 2.0**-8 if precision == "bf16" else 1e-6
    assert (off <= step * np.abs(expected) + 1e-6 * (parts + 1)).all()


@needs_int8
def test_how_far_it_is_off() -> None:
    """Of random states a hundredth; and a large column, of inputs that the weights make little of, costs no more."""
    torch.manual_seed(0)
    states, linear = torch.randn(64, 96), nn.Linear(96, 48)
    with torch.no_grad():
        for large in (1.0, 100.0):
            states[:, 7] *= large
            linear.weight[:, 7] /= large
            found = Int8Linear(linear, states.abs().amax(dim=0), torch.float32)(states)
            assert off_by(found, linear(states)) < 0.012


@needs_int8
def test_a_row_depends_on_no_other_nor_on_padding() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(64, 32), torch.rand(64), torch.float32)
    states = torch.randn(6, 7, 64)
    with torch.no_grad():
        whole = layer(states)
        changed = states.clone()
        changed[:, 4:] = 1e6
        changed[3] = 0
        assert torch.equal(layer(changed)[[0, 1, 2, 4, 5], :4], whole[[0, 1, 2, 4, 5], :4])
        for alone in (states[2:3, 1:2], states[2:3, 1]):  # fewer rows than are multiplied at once
            torch.testing.assert_close(layer(alone).flatten(), whole[2, 1])


@needs_int8
def test_large_columns_are_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained BERTs have them, of any token and in the same columns of all layers, with small weights behind."""
    large = [11, 40]
    plain = model_of("bert", hidden_size=64, initializer_range=0.1)
    for name, weight in plain.named_parameters():
        if name.endswith("LayerNorm.weight"):
            weight[large] *= 60
        elif ".layer." in name and weight.shape[1:] == (64,):
            weight[:, large] /= 60
    batches = [batch_of([9, 4, 7]), batch_of([12, 5], seed=2)]
    others = [column for column in range(64) if column not in large]
    wanted, off = last_states(plain, batches[0])[:, others], []
    for smooth in (True, False):
        if not smooth:  # every column of inputs as large as its weights
            monkeypatch.setattr(
                int8, "Int8Linear", lambda linear, _, dtype: Int8Linear(linear, linear.weight.abs().amax(dim=0), dtype)
            )
        model = copy.deepcopy(plain)
        use_int8(model, batches, "float32")
        off.append(off_by(last_states(model, batches[0])[:, others], wanted))
    assert 10 * off[0] < off[1]


@needs_int8
@pytest.mark.parametrize("kind", KINDS)
def test_the_blocks_of_a_model_and_nothing_else(kind: str) -> None:
    model = model_of(kind)
    batch = batch_of([9, 4, 7])
    wanted = last_states(model, batch)
    names = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    use_int8(model, [batch], "float32")
    left = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    replaced = {name for name, module in model.named_modules() if isinstance(module, Int8Linear)}
    assert left | replaced == names
    assert len(replaced) == KINDS[kind]
    assert not any(word in name for name in replaced for word in ("embedding", "pooler", "classifier"))
    assert 0 < off_by(last_states(model, batch), wanted) < 0.03


@needs_int8
@pytest.mark.parametrize("precision", DTYPES)
def test_what_the_student_learns_from(precision: str) -> None:
    """Scores and hidden states are read as from any teacher, and the other layers may still be held in bf16."""
    plain, compared = model_of("bert"), intermediate(LayerMap((0, 1)))
    model, batch = copy.deepcopy(plain), batch_of([9, 4, 7])
    use_int8(model, [batch], precision)
    prepare_products(model, precision)
    assert model.bert.pooler.dense.weight.dtype == DTYPES[precision]
    query = model.bert.encoder.layer[0].attention.self.query
    assert isinstance(query, Int8Linear)
    assert (query.weight.dtype, query.scale.dtype, query.bias.dtype) == (torch.int8, torch.float32, torch.float32)
    valid, read = batch["attention_mask"].bool(), []
    with torch.no_grad():
        for each in (model, plain):
            with autocast(precision if each is model else "float32", CPU):
                read.append(FeatureReader(each, compared, side=1)(each, batch))
    own, wanted = read
    assert own.hidden.keys() == wanted.hidden.keys() == {0, 1, 2}
    for layer, states in own.hidden.items():
        assert off_by(states[valid].float(), wanted.hidden[layer][valid]) < 0.03
    for block in (0, 1):
        made, of = own.attention[block], wanted.attention[block]
        assert made.query.dtype == DTYPES[precision]
        assert off_by(made.query.float(), of.query) < 0.05


@needs_int8
def test_the_largest_inputs_are_those_of_valid_pieces() -> None:
    """However they are batched: padding, whose inputs are made large here, does not count."""
    model = model_of("bert")
    model.bert.embeddings.word_embeddings.weight.data[0, 21] = 1e4
    lengths = [9, 4, 7, 5]
    together = batch_of(lengths)
    alone = [
        {name: column[i : i + 1, :length] for name, column in together.items()} for i, length in enumerate(lengths)
    ]
    whole, *others = (int8.largest_inputs(model, batches, "float32") for batches in ([together], alone, alone[::-1]))
    for found in others:
        assert found == {name: pytest.approx(values, rel=1e-4) for name, values in whole.items()}
    name = "bert.encoder.layer.0.attention.self.query"
    with torch.no_grad():
        states = model.bert.embeddings(together["input_ids"])[together["attention_mask"].bool()]
    assert whole[name] == pytest.approx(states.abs().amax(dim=0).tolist(), rel=1e-4)
    assert whole[name][21] < 10
    assert "bert.pooler.dense" not in whole


@needs_int8
def test_compiled_once_for_all_shapes() -> None:
    model = model_of("bert", hidden_size=40)
    use_int8(model, [batch_of([9, 4, 7])], "bf16")
    last_states(model, batch_of([8, 8, 3]), "bf16")
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for lengths in ([3], [1], [5, 9, 9, 2, 1], [30] * 7):
        last_states(model, batch_of(lengths), "bf16")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs


@needs_int8
def test_processes_scale_alike() -> None:
    """The first one's, whatever another one would choose."""
    work = """
import torch
from glue_tasks.errors import exit_on_user_error
from tests.tinydistill.encoders.test_int8 import batch_of, model_of
from tinydistill import processes
from tinydistill.encoders.cpu import int8

with exit_on_user_error(), processes.together():
    int8._compiled = lambda function: function
    for seed in (processes.index(), 0):
        model = model_of("bert")
        batches = [batch_of([3, 2], seed)]
        largest = processes.from_first(lambda: int8.largest_inputs(model, batches, "float32"))
        int8.quantise(model, largest, "float32")
        print([m.smooth.tolist() for m in model.modules() if isinstance(m, int8.Int8Linear)])
        if seed == 0 and processes.index() == 0:
            own, others = (int8.largest_inputs(model_of("bert"), [batch_of([3, 2], s)], "float32") for s in (0, 1))
            assert own != others
"""
    (first, out, _), (second, other, _) = start("-c", work)
    assert (first, second) == (0, 0)
    assert out == other
    assert len(set(out.splitlines())) == 1


def test_a_device_without_such_products() -> None:
    with pytest.raises(UserError, match="models run on mps here; choose another precision than int8"):
        check_device(torch.device("mps"))


@pytest.mark.parametrize("lacking", ["machine", "operator", "onednn"])
def test_processors_without_such_products(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("qlinear: not built with oneDNN")

    if lacking == "machine":
        monkeypatch.setattr("platform.machine", lambda: "aarch64")
    elif lacking == "operator":
        monkeypatch.setattr(torch.ops, "onednn", SimpleNamespace())
    else:
        monkeypatch.setattr(torch.ops, "onednn", SimpleNamespace(qlinear_prepack=fail))
    int8.steps.cache_clear()
    try:
        for call in (lambda: check_device(CPU), lambda: use_int8(model_of("bert"), [batch_of([3])], "float32")):
            with pytest.raises(UserError, match="need an x86 processor and a PyTorch built with oneDNN, which are not"):
                call()
    finally:
        int8.steps.cache_clear()


@pytest.mark.parametrize(("bits", "expected"), [(33, 255), (15, 127), (14, 0)])
def test_as_many_steps_as_the_products_are_exact_for(bits: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """VNNI adds pairs of products in 32 bits; processors without it in 16, one of them for the sign."""

    def product(states: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        pairs = (states.long()[:, None] * weight.long()).unflatten(-1, (-1, 2)).sum(-1)
        return pairs.clamp(-(2**bits), 2**bits - 1).sum(-1).float()

    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(int8, "_packed", lambda integers: integers)
    monkeypatch.setattr(int8, "_product", product)
    int8.steps.cache_clear()
    try:
        assert int8.steps() == expected
    finally:
        int8.steps.cache_clear()


@needs_int8
def test_a_teacher_without_such_layers() -> None:
    model = model_of("bert")
    for block in model.bert.encoder.layer:
        for name, module in list(block.named_modules()):
            if isinstance(module, nn.Linear):
                block.set_submodule(name, nn.Sequential(nn.Identity(), _Conv(module)))
    with pytest.raises(UserError, match="type 'bert' has no linear layers in its blocks"):
        use_int8(model, [batch_of([3])], "float32")


class _Conv(nn.Module):
    """GPT-2's kind of linear layer."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states @ self.weight.T + self.bias


@needs_int8
def test_other_errors_are_not_taken_for_a_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(function: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(int8, "_compiled", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        use_int8(model_of("bert"), [batch_of([3])], "float32")


@needs_int8
def test_without_a_compiler(tmp_path: Path) -> None:
    work = """
import torch._inductor.config
from glue_tasks.errors import exit_on_user_error
from tests.tinydistill.encoders.test_int8 import batch_of, model_of, use_int8

torch._inductor.config.cpp.cxx = ("/nowhere/g++",)  # as CXX in the environment has it
with exit_on_user_error():
    use_int8(model_of("bert"), [batch_of([3, 2])], "float32")
"""
    done = forked.run(["-c", work], env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)})
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: 8-bit products could not be compiled; install a C++ compiler such as g++")
    assert "Traceback" not in done.stderr
