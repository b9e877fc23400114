"""The word embedding of padding, in models whose tokens read their neighbours' word embeddings before any mask.

MobileBERT (arXiv 2004.02984, section 3.1) makes each token's state of three word embeddings. What a text's last token
reads behind it is zeros where the batch ends, and the row of padding elsewhere: with a row of zeros a text's outputs
are the same in any batch. Such a row stays zeros only as long as it is not trained, and a masked language model whose
decoder is tied to the embeddings trains all rows, padding's too.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinydistill.encoders.limits import depends_on_padding, with_padding_behind


def zero_padding_row(model: PreTrainedModel) -> bool:
    """Make the row zeros if with it a text's outputs no longer depend on its padding; whether anything was changed."""
    if (row := _row_that_is_read(model)) is None or not row.any():
        return False
    trained = row.clone()
    row.zero_()
    if depends_on_padding(model):  # by more than the row
        row.copy_(trained)
        return False
    return True


def keep_padding_row_zero(model: PreTrainedModel) -> None:
    """Let a row of zeros that tokens read get no gradient in training, whatever else its weight is used for."""
    if (row := _row_that_is_read(model)) is None or row.any():
        return
    embedding: Any = model.get_input_embeddings()
    if embedding.weight.requires_grad:
        embedding.weight.register_hook(functools.partial(_without_row, embedding.padding_idx))


def _without_row(row: int, gradient: Tensor) -> Tensor:
    """A copy, since others may hold the gradient too."""
    gradient = gradient.clone()
    gradient[row] = 0.0
    return gradient


def _row_that_is_read(model: PreTrainedModel) -> Tensor | None:
    """The word embedding of padding (D,), over the model's memory, if the states of tokens before padding read it."""
    try:
        embedding = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):  # of a model that has several, or none
        return None
    if not isinstance(embedding, nn.Embedding) or embedding.padding_idx is None or embedding.weight.is_meta:
        return None
    return embedding.weight.data[embedding.padding_idx] if _reads_padding(model, embedding) else None


def _reads_padding(model: PreTrainedModel, embedding: nn.Embedding) -> bool:
    """Whether the states of a text have a gradient by the word embeddings of the padding behind it."""
    words: list[Tensor] = []

    def separate(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        words.append(output.detach().requires_grad_())
        return words[-1]

    was_training = model.training
    handle = embedding.register_forward_hook(separate)
    model.eval()
    try:
        given = with_padding_behind(model.base_model)
        with torch.enable_grad():
            mask = given["attention_mask"].bool()  # (1, L); some architectures make a row longer than it is given
            states = model.base_model(**given).last_hidden_state[:, : mask.shape[1]][mask].double()  # (N, D)
            uneven = torch.linspace(1, 2, states.numel(), dtype=states.dtype, device=states.device)
            (gradient,) = torch.autograd.grad((states.flatten() * uneven).sum(), words[:1])
    except Exception:  # a model that cannot take such a row is told of where it is used
        return False
    finally:
        handle.remove()
        model.train(was_training)
    return bool(gradient[:, : mask.shape[1]][~mask].any())
