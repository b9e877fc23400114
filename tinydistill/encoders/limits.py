"""What a model can take: how many pieces, and which columns of a batch."""

import inspect

import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from tinydistill.encoders.logits import logits_of


def position_limit(model: PreTrainedModel | PreTrainedConfig) -> int | None:
    """How many pieces the model takes at once, special ones included; None if it knows no limit.

    Of a configuration the model is built without memory for its weights. RoBERTa and its kin (MPNet, data2vec, XLM-R
    ...) count positions from behind that of the padding, which takes places of the table away; other tables are longer
    than what is read of them (Nystromformer, YOSO).
    """
    limit = getattr(model if isinstance(model, PreTrainedConfig) else model.config, "max_position_embeddings", None)
    if isinstance(model, PreTrainedConfig):
        try:
            with torch.device("meta"):
                model = AutoModel.from_config(model)
        except Exception:  # told where the model itself is built
            return limit
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "position_embeddings" and isinstance(getattr(module, "weight", None), Tensor):
            padding = getattr(module, "padding_idx", None)
            places = len(module.weight) - (0 if padding is None else padding + 1)
            return places if limit is None else min(places, limit)
    return limit


def accepted_inputs(model: PreTrainedModel) -> list[str]:
    """The columns of a batch that the model's forward takes; no segment ids where it has but one segment."""
    named = inspect.signature(model.forward).parameters
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in named]
    segments = getattr(model.config, "type_vocab_size", None)
    return [name for name in names if name != "token_type_ids" or segments is None or segments > 1]


@torch.inference_mode()
def depends_on_padding(model: PreTrainedModel) -> bool:
    """Whether a row's outputs change with the padding behind it, which the mask should hide: by convolutions over it
    (ConvBERT), or since the model takes no mask (FNet). A model that cannot take such a row is not told apart.
    """
    was_training = model.training
    model.eval()
    found = []
    try:
        padded = _with_padding_behind(model)
        for given in ({name: values[:, :_PIECES] for name, values in padded.items()}, padded):
            logits = logits_of(model(**given))
            found.append(logits[:, :_PIECES] if logits.ndim == 3 else logits)
    except Exception:  # told where the model is used
        return False
    finally:
        model.train(was_training)
    alone, behind = found
    return bool((alone - behind).abs().max() > _ALIKE * alone.abs().max())


def _with_padding_behind(model: PreTrainedModel) -> dict[str, Tensor]:
    """Inputs of one row: some pieces, and as many of padding behind them."""
    ids = torch.full((1, 2 * _PIECES), model.config.pad_token_id or 0, device=model.device)
    ids[:, :_PIECES] = model.config.vocab_size - 1 - torch.arange(_PIECES, device=model.device)
    mask = (torch.arange(2 * _PIECES, device=model.device) < _PIECES)[None].long()
    given = {"input_ids": ids, "attention_mask": mask}
    return {name: given[name] for name in accepted_inputs(model) if name in given}


_PIECES = 6
_ALIKE = 1e-4  # of the largest output; rounding is a hundredth of it, and what is told a hundred times
