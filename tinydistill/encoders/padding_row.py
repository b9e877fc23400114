"""The word embedding of padding, in models whose tokens read their neighbours' word embeddings before any mask.

MobileBERT (arXiv 2004.02984, section 3.1) makes each token's state of three word embeddings. What a text's last token
reads behind it is zeros where the batch ends, and the row of padding elsewhere: with a row of zeros a text's outputs
are the same in any batch. Such a row stays zeros only as long as it is not trained, and a masked language model whose
decoder is tied to the embeddings trains all rows, padding's too.
"""

import functools
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from tinydistill.encoders.limits import depends_on_padding


def zero_padding_row(model: PreTrainedModel) -> tuple[bool, bool]:
    """Make the row zeros if a text's states then no longer depend on its padding.

    Gives whether it was made zeros, and whether states depend on padding all the same.
    """
    if not depends_on_padding(model.base_model):
        return False, False
    if (row := _padding_row(model)) is None or not row.any():
        return False, True
    trained = row.clone()
    row.zero_()
    if depends_on_padding(model.base_model):  # by more than the row
        row.copy_(trained)
        return False, True
    return True, False


def keep_padding_row_zero(model: PreTrainedModel) -> None:
    """Let a row of zeros that tokens read get no gradient in training, whatever else its weight is used for."""
    if (row := _padding_row(model)) is None or row.any():
        return
    embedding: Any = model.get_input_embeddings()
    if embedding.weight.requires_grad and _is_read(model, row):
        embedding.weight.register_hook(functools.partial(_without_row, embedding.padding_idx))


def _without_row(row: int, gradient: Tensor) -> Tensor:
    """A copy, since others may hold the gradient too."""
    gradient = gradient.clone()
    gradient[row] = 0.0
    return gradient


def _padding_row(model: PreTrainedModel) -> Tensor | None:
    """The word embedding of padding (D,), over the model's memory."""
    try:
        embedding = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):  # of a model that has several, or none
        return None
    if not isinstance(embedding, nn.Embedding) or embedding.padding_idx is None or embedding.weight.is_meta:
        return None
    return embedding.weight.data[embedding.padding_idx]


def _is_read(model: PreTrainedModel, row: Tensor) -> bool:
    """Whether the states of a text depend on a row of padding, which is zeros and is so afterwards."""
    try:
        row.fill_(1.0)
        return depends_on_padding(model.base_model)
    finally:
        row.zero_()
