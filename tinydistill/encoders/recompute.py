"""Activations that are computed again in the backward pass instead of being kept (gradient checkpointing).

Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174.
"""

from transformers import PreTrainedModel

from glue_tasks.errors import UserError


def recompute_activations(model: PreTrainedModel) -> None:
    """Let a model in training keep the inputs of its blocks alone, and run each block again in the backward pass.

    The same gradients: the random state of the first run comes back, so that dropout leaves out the same elements. What
    a block gives besides its output, such as queries and keys, stays a part of the graph. In evaluation mode nothing
    changes. Raises UserError if the architecture cannot do it.
    """
    # The name since transformers 5.23, which warns of the one before.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable()  # not reentrant, unless told otherwise
    except ValueError:
        raise UserError(
            f"models of type {model.config.model_type!r} cannot compute their activations again; leave out "
            "--gradient-checkpointing"
        ) from None
