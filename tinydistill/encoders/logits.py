"""The outputs of a model's head under one name, whatever kind of head it is."""

from typing import Any

import torch
from torch import Tensor


def logits_of(output: Any) -> Tensor:
    """(B, C) of a classifier, (B, L, C) of one of tokens, (B, L, 2) of one of spans: the starts and the ends.

    output: what a transformers model gave; of one without a head its last hidden states (B, L, D).
    """
    if getattr(output, "start_logits", None) is not None:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    if not hasattr(output, "logits"):
        return output.last_hidden_state
    return output.logits
