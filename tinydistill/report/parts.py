"""The parameters of a model by part: embeddings, blocks, head."""

from transformers import PreTrainedModel

_OF_BLOCKS = ("encoder", "transformer", "layer")


def parameters_by_part(model: PreTrainedModel) -> dict[str, int]:
    """How many parameters each part has, shared ones counted once, where they are met first.

    Blocks are what is numbered in the body, and what else is theirs together, such as a norm behind the last; the head
    is what follows them, the pooler among it.
    """
    counts = {"embeddings": 0, "blocks": 0, "head": 0}
    in_body = {id(parameter) for parameter in model.base_model.parameters()}
    for name, parameter in model.named_parameters():
        own = name.removeprefix(f"{model.base_model_prefix}.")
        counts[_part(own) if id(parameter) in in_body else "head"] += parameter.numel()
    return counts


def _part(name: str) -> str:
    """Of a parameter of a body."""
    steps = name.split(".")
    if any(step.isdigit() for step in steps):
        return "blocks"
    if any("embed" in step for step in steps):
        return "embeddings"
    return "blocks" if any(word in step for step in steps for word in _OF_BLOCKS) else "head"
