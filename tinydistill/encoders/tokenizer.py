"""Tokenizers in their fast form, able to pad, and as cased as their models."""

import json
from typing import Any

import numpy as np
from tokenizers.normalizers import BertNormalizer
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, TokenizersBackend

from glue_tasks.errors import UserError, warn_once
from tinydistill.encoders.config import load_config
from tinydistill.encoders.pretrained import find_file, load_pretrained


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub id, in its fast form and able to pad.

    Raises UserError if it is missing, has no fast form, or neither a piece for padding nor another to take for it.
    """
    config = load_config(name)
    tokenizer = load_pretrained(AutoTokenizer, name, config=config)
    # From a folder without its files transformers makes one to which every word is unknown.
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UserError(
            f"{name} holds no tokenizer beside its model; copy there that of the model it was made from "
            "(tokenizer.json or vocab.txt)"
        )
    if not tokenizer.is_fast:
        raise UserError(f"the tokenizer of {name} has no fast form; save it with one (tokenizer.json)")
    tokenizer = _with_case(name, tokenizer, config)
    if tokenizer.pad_token_id is None:
        own = None if config.pad_token_id is None else tokenizer.convert_ids_to_tokens(config.pad_token_id)
        pad = own or tokenizer.eos_token or tokenizer.sep_token or tokenizer.unk_token
        if pad is None:
            raise UserError(f"the tokenizer of {name} has no pad_token; name one in its tokenizer_config.json")
        tokenizer.pad_token = pad  # any will do: padding is masked
    if tokenizer.padding_side == "left" and getattr(config, "summary_type", None) != "last":  # as XLNet has it
        warn_once(
            f"the tokenizer of {name} pads on the left, which moves the positions of an encoder; it pads on the right"
        )
        tokenizer.padding_side = "right"
    # A tokenizer of no class of its own gives no segment ids, though tokenizer.json makes them and the model has two.
    generic = type(tokenizer) is TokenizersBackend and (getattr(config, "type_vocab_size", None) or 0) > 1
    stated = "model_input_names" in _json_of(name, "tokenizer_config.json")
    if generic and not stated and any(tokenizer.backend_tokenizer.encode("a", "b").type_ids):
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names  # which is what is saved
    return tokenizer


def what_decides_pieces(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The state of a fast tokenizer by which files of its pieces are known, the same for a copy that was saved again.

    Without the truncation and the padding of whatever call came last. Numbers are the scores of pieces, which are of 32
    bits: what saves them writes them with 64, whose last digit reading may change.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str(), parse_float=lambda text: float(np.float32(text)))
    return {**state, "truncation": None, "padding": None}


def _with_case(name: str, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    """The tokenizer, as cased or accented as its files say, and where they say nothing as its vocabulary.

    transformers makes BERT's anew, of its vocabulary and tokenizer_config.json; where that says nothing, capitals and
    accents are taken away, whatever tokenizer.json says. A vocabulary that holds many pieces which such a text can
    never give is of a model that keeps them.
    """
    stated = _json_of(name, "tokenizer_config.json").keys()
    in_file = _json_of(name, "tokenizer.json").get("normalizer") or {}
    normalizer = tokenizer.backend_tokenizer.normalizer
    if isinstance(normalizer, BertNormalizer):
        lost = {
            option: in_file[entry]
            for option, entry in _OF_NORMALIZER.items()
            if option not in stated and in_file.get(entry) != getattr(normalizer, entry) and entry in in_file
        }
        if lost:
            tokenizer = load_pretrained(AutoTokenizer, name, config=config, **lost)
    share = unreachable_share(tokenizer)
    if share < _FEW:
        return tokenizer
    if not in_file and "do_lower_case" not in stated:
        for keeps in ({"strip_accents": False}, {"do_lower_case": False, "strip_accents": False}):
            other = load_pretrained(AutoTokenizer, name, config=config, **keeps)
            if unreachable_share(other) < _FEW:
                warn_once(
                    f"{name} has capitals or accents in its vocab.txt, and no tokenizer_config.json says to take them "
                    "away: they are kept"
                )
                return other
    warn_once(
        f"the tokenizer of {name} takes capitals or accents away, and {share:.0%} of its vocabulary has them; if the "
        'model is a cased one, set "do_lower_case": false in its tokenizer_config.json'
    )
    return tokenizer


def unreachable_share(tokenizer: PreTrainedTokenizerBase) -> float:
    """The share of the vocabulary's words that the tokenizer's normaliser changes, so that no text gives them."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is None or type(tokenizer.backend_tokenizer.model).__name__ != "WordPiece":
        return 0.0
    special = set(tokenizer.all_special_tokens)
    words = [piece.removeprefix("##") for piece in tokenizer.get_vocab() if piece not in special]
    words = [word for word in words if not (word.startswith(("[", "<")) and word.endswith(("]", ">")))]
    # Only letters: symbols are composed in other ways by some normalisers.
    words = [word for word in words if word.isalpha() and not "\u2e80" <= word[0] <= "\u9fff"]
    return sum(normalizer.normalize_str(word) != word for word in words) / max(len(words), 1)


def _json_of(name: str, file: str) -> dict[str, Any]:
    """A JSON file of a model folder or hub id; {} if none is there that can be read, which is told elsewhere."""
    path = find_file(name, file)
    try:
        read = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


_OF_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_FEW = 0.005  # of a vocabulary: bert-base-chinese has two pieces with capitals
