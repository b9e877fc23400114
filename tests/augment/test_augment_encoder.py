"""The encoder as augmentation runs it, against the encoder as transformers runs it."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from augment.encoder import StatesAtPositions
from glue_tasks import UserError

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 50}
BUILT_AS_BERT = ("bert", "camembert", "electra", "ernie", "roberta", "xlm-roberta")
OTHERS = ("deberta-v2", "mobilebert", "distilbert")


def encoder_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    sizes = dict(SIZES)
    if kind == "electra":
        sizes["embedding_size"] = 16
    if kind == "mobilebert":
        sizes |= {"intra_bottleneck_size": 16, "embedding_size": 16, "true_hidden_size": 16}
    if kind == "distilbert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 50}
    return AutoModel.from_config(AutoConfig.for_model(kind, **sizes)).eval()


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(5, 9, dtype=torch.long)
    mask[1, 4:] = 0
    mask[3, 7:] = 0
    return {"input_ids": torch.randint(5, 50, (5, 9), generator=generator), "attention_mask": mask}


ROWS = torch.tensor([0, 1, 2, 2, 3, 4, 4])  # some rows have two positions, as in joint masking
POSITIONS = torch.tensor([8, 3, 0, 5, 6, 1, 1])


def states_at_positions(encoder: nn.Module, batch: dict[str, torch.Tensor], precision: str = "float32") -> torch.Tensor:
    asked = StatesAtPositions(encoder, torch.device("cpu"), precision)
    asked.rows, asked.positions = ROWS, POSITIONS
    with torch.inference_mode():
        return asked(**batch).last_hidden_state


@pytest.mark.parametrize("kind", BUILT_AS_BERT + OTHERS)
def test_the_states_of_the_positions_are_those_of_the_whole_encoder(kind, batch):
    encoder = encoder_of(kind)
    with torch.inference_mode():
        expected = encoder(**batch)[0][ROWS, POSITIONS][:, None]
    found = states_at_positions(encoder, batch)
    assert found.shape == (7, 1, 32)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "selects"), [*((k, True) for k in BUILT_AS_BERT), *((k, False) for k in OTHERS)])
def test_the_last_block_of_bert_and_its_kin_works_on_the_positions_alone(kind, selects, batch, monkeypatch):
    monkeypatch.setenv("TINYDISTILL_PLAIN", "1")  # the layers stay, and with them the hooks
    encoder = encoder_of(kind)
    widths = []
    for module in encoder.modules():
        if isinstance(module, nn.Linear) and module.out_features == 48:
            module.register_forward_hook(lambda module, inputs, output: widths.append(output.shape[:-1].numel()))
    states_at_positions(encoder, batch)
    assert (widths[-1] == 7) == selects


@pytest.mark.parametrize("kind", BUILT_AS_BERT + OTHERS)
def test_bf16_is_what_autocast_gives(kind, batch):
    encoder = encoder_of(kind)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = encoder(**batch)[0][ROWS, POSITIONS][:, None].float()
    torch.testing.assert_close(states_at_positions(encoder, batch, "bf16"), expected, rtol=0, atol=0.05)


def test_compiled_gives_the_same(batch):
    encoder = encoder_of("bert")
    expected = states_at_positions(encoder, batch)
    compiled = StatesAtPositions(encoder_of("bert"), torch.device("cpu"), "float32", compiled=True)
    compiled.rows, compiled.positions = ROWS, POSITIONS
    with torch.inference_mode():
        torch.testing.assert_close(compiled(**batch).last_hidden_state, expected, rtol=1e-4, atol=1e-5)
        # another length and another number of positions
        shorter = {name: tensor[:3, :6] for name, tensor in batch.items()}
        compiled.rows, compiled.positions = torch.tensor([0, 2]), torch.tensor([1, 5])
        plain = encoder_of("bert")(**shorter)[0][compiled.rows, compiled.positions][:, None]
        torch.testing.assert_close(compiled(**shorter).last_hidden_state, plain, rtol=1e-4, atol=1e-5)


def test_without_a_compiler_there_is_one_sentence(batch, monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("Failed to compile: no working C++ compiler found\nmore lines")

    compiled = StatesAtPositions(encoder_of("bert"), torch.device("cpu"), "float32", compiled=True)
    compiled.rows, compiled.positions = ROWS, POSITIONS
    compiled._run = [refuse]
    with pytest.raises(UserError, match="install a C\\+\\+ compiler such as g\\+\\+") as told:
        compiled(**batch)
    assert "\n" not in str(told.value)
