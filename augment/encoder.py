"""A masked LM's encoder as augmentation runs it: the states of the masked positions alone, at the precision asked for,
compiled if asked."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import ModelOutput

from glue_tasks import UserError
from tinydistill.encoders.attention import replace_attention
from tinydistill.encoders.cpu.products import prepare_products
from tinydistill.encoders.precision import autocast

_BUILT_AS_BERT = ("bert", "camembert", "electra", "ernie", "roberta", "xlm-roberta")


class StatesAtPositions(nn.Module):
    """Takes the place of a masked LM's encoder, and returns the states of certain positions alone.

    So the head, whatever the architecture, projects (Q, 1, D) to the vocabulary and not (B, L, D). In BERT and its kin
    the last block, too, works on those positions alone behind its attention: three quarters of its products are saved.
    Precision is a matter of the encoder: the head works in float32, as bf16's three digits would make ties of near
    scores. precision: bf16, fp16 or float32.
    Raises UserError, at the first call, if it is to be compiled and there is no compiler.
    """

    rows: Tensor  # (Q,), set before each call: which sentence of the batch
    positions: Tensor  # (Q,), and which of its pieces

    def __init__(self, encoder: PreTrainedModel, device: torch.device, precision: str, compiled: bool = False):
        super().__init__()
        self.encoder = encoder
        self.device = device
        self.precision = precision
        output = _attention_output_of_last_block(encoder)
        self._last_block_selects = output is not None
        if output is not None:
            output.register_forward_pre_hook(self._select)
        if not compiled:  # a compiler has ways of its own
            replace_attention(encoder)
        prepare_products(encoder, precision, pack=not compiled)
        self._compiled = compiled
        # Not a submodule: it is the same encoder, and its weights must not be there twice.
        self._run = [torch.compile(encoder, dynamic=True) if compiled else encoder]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:  # DeBERTa's head looks for the embeddings of its encoder
            return getattr(super().__getattr__("encoder"), name)

    def forward(self, *args: Any, **kwargs: Any) -> ModelOutput:
        with autocast(self.precision, self.device):
            outputs = self._outputs(*args, **kwargs)
        states = outputs[0]  # (Q, 1, D), or (B, L, D)
        if not self._last_block_selects:
            states = states[self.rows, self.positions][:, None]
        # Some heads return what else their encoder gave.
        returned = outputs if isinstance(outputs, ModelOutput) else BaseModelOutput(last_hidden_state=states)
        returned["last_hidden_state"] = states.float()
        return returned

    def _outputs(self, *args: Any, **kwargs: Any) -> Any:
        (run,) = self._run
        try:
            return run(*args, **kwargs)
        except Exception as error:
            if not self._compiled or "compile" not in f"{type(error).__module__}{type(error).__name__}{error}".lower():
                raise
            raise UserError(
                "the masked LM could not be compiled; install a C++ compiler such as g++, or leave out --compile: "
                f"{str(error).strip().splitlines()[0]}"
            ) from None

    def _select(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Of the attention's output and of what is added to it, both (B, L, D), the positions: (Q, 1, D)."""
        return tuple(states[self.rows, self.positions][:, None] for states in inputs)


def _attention_output_of_last_block(encoder: Any) -> nn.Module | None:
    """Adds the attention's output to the block's input; behind it a block works on each position by itself.

    None if the blocks are built otherwise.
    """
    if encoder.config.model_type not in _BUILT_AS_BERT:
        return None
    blocks: Any = encoder.encoder.layer
    return blocks[-1].attention.output
