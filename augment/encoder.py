"""A masked LM's encoder as augmentation runs it: the states of the gaps alone, at the precision asked for, compiled if
asked."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import ModelOutput

from glue_tasks import UserError

_BUILT_AS_BERT = ("bert", "camembert", "electra", "ernie", "roberta", "xlm-roberta")


class StatesAtPlaces(nn.Module):
    """Stands where a masked LM has its encoder, and hands on the states of certain places alone.

    So the head, whatever the architecture, projects (Q, 1, D) to the vocabulary and not (B, L, D). In BERT and its kin
    the last block, too, works on those places alone behind its attention: three quarters of its products are saved.
    Precision is a matter of the encoder: the head works in float32, as bf16's three digits would make ties of near
    scores.
    Raises UserError, at the first call, if it is to be compiled and there is no compiler.
    """

    rows: Tensor  # (Q,), set before each call: which sentence of the batch
    positions: Tensor  # (Q,), and which of its pieces

    def __init__(self, encoder: nn.Module, device: torch.device, precision: str, compiled: bool = False):
        super().__init__()
        self.encoder = encoder
        self.device = device
        self.in_bf16 = precision != "float32"
        joint = _join_of_last_block(encoder)
        self._last_block_selects = joint is not None
        if joint is not None:
            joint.register_forward_pre_hook(self._select)
        if self.in_bf16:
            # Once and not at each use; autocast would give the same.
            for module in encoder.modules():
                if isinstance(module, nn.Linear):
                    module.to(torch.bfloat16)
        if precision == "int8":
            _use_int8(encoder)
        self._compiled = compiled
        # Not a submodule: it is the same encoder, and its weights must not be there twice.
        self._run = [torch.compile(encoder, dynamic=True) if compiled else encoder]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:  # DeBERTa's head looks for the embeddings of its encoder
            return getattr(super().__getattr__("encoder"), name)

    def forward(self, *args: Any, **kwargs: Any) -> ModelOutput:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bf16):
            outputs = self._outputs(*args, **kwargs)
        states = outputs[0]  # (Q, 1, D), or (B, L, D)
        if not self._last_block_selects:
            states = states[self.rows, self.positions][:, None]
        # Some heads hand on what else their encoder gave.
        handed_on = outputs if isinstance(outputs, ModelOutput) else BaseModelOutput(last_hidden_state=states)
        handed_on["last_hidden_state"] = states.float()
        return handed_on

    def _outputs(self, *args: Any, **kwargs: Any) -> Any:
        (run,) = self._run
        try:
            return run(*args, **kwargs)
        except Exception as error:
            if not self._compiled or "compile" not in f"{type(error).__module__}{type(error).__name__}{error}".lower():
                raise
            raise UserError(
                "the masked LM could not be compiled; install a C++ compiler such as g++, or leave out --compile and "
                f"--precision int8: {str(error).strip().splitlines()[0]}"
            ) from None

    def _select(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Of the attention's output and of what is added to it, both (B, L, D), the places: (Q, 1, D)."""
        return tuple(states[self.rows, self.positions][:, None] for states in inputs)


def _join_of_last_block(encoder: Any) -> nn.Module | None:
    """Where the last block adds its attention's output to its input; behind it a block works on each place by itself.

    None if the blocks are built otherwise.
    """
    if encoder.config.model_type not in _BUILT_AS_BERT:
        return None
    blocks: Any = encoder.encoder.layer
    return blocks[-1].attention.output


class Int8Linear(nn.Module):
    """x W' + b by 8-bit integers: W is scaled by output, x by row, each so that its largest magnitude is 127.

    A row's result so depends on no other row, and outliers, which trained BERTs have, cost only the rows they are in
    (LLM.int8(), Dettmers et al. 2022, arXiv 2208.07339, section 2). The integers' product is exact.
    """

    weight: Tensor  # (in, out), int8
    scale: Tensor  # (out,)
    bias: Tensor | None

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight = linear.weight.detach().float()  # (out, in)
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127  # (out,)
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8).T.contiguous())
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())

    def forward(self, states: Tensor) -> Tensor:
        """(..., in) -> (..., out) in bf16."""
        rows = states.reshape(-1, states.shape[-1]).float()
        scale = rows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / 127
        product = torch._int_mm((rows / scale).round().to(torch.int8), self.weight)
        product = product * scale * self.scale
        if self.bias is not None:
            product = product + self.bias
        return product.to(torch.bfloat16).reshape(*states.shape[:-1], -1)


def _use_int8(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            _use_int8(child)
