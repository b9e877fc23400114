"""Whether a tokenizer knows the words of a task's text; where it does not, a model reads little of it."""

from collections.abc import Sequence
from itertools import islice

from transformers import PreTrainedTokenizerBase

from glue_tasks.errors import warn_once
from glue_tasks.rows import Split

_ROWS = 1_000  # of a file are looked at, the first
# Of the pieces or words. Text that fits has under 0.1% (SST-2, MRPC, RTE, TNEWS under a vocabulary of their language),
# English under the other case about 15%, Chinese under an English vocabulary about 60%.
_MANY = 0.02
_BEGINS_WORD = "\u2581"  # of SentencePiece


def doubts_about_words(table: Split, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """As `doubts_about_texts`, of the first rows of a table."""
    return doubts_about_texts([text for row in islice(table, _ROWS) for text in row.texts], str(table.path), tokenizer)


def doubts_about_texts(texts: Sequence[str], name: str, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Sentences about text that the tokenizer cannot give as it stands, [] if there is little; each is warned of once.

    Two shares are looked at: of the pieces those that are unknown, and of the words those that the normaliser changes
    (capitals, accents) though the vocabulary has them unchanged.
    """
    backend = tokenizer.backend_tokenizer
    doubts = []
    if (unknown := tokenizer.unk_token_id) is not None:
        backend.no_truncation()
        backend.no_padding()
        encoded = backend.encode_batch(texts, add_special_tokens=False)
        pieces = sum(len(encoding.ids) for encoding in encoded)
        if (count := sum(encoding.ids.count(unknown) for encoding in encoded)) > _MANY * pieces:
            doubts.append(
                f"{name}: {count / pieces:.0%} of the pieces are unknown to the tokenizer, and the model cannot "
                "read them; is it one for this language, and for upper or lower case as the text has it?"
            )
    if backend.normalizer is not None:
        words = [word for text in texts for word in text.split()]
        vocabulary = tokenizer.get_vocab()
        held = {word for word in set(words) if word in vocabulary or f"{_BEGINS_WORD}{word}" in vocabulary}
        changed = {word for word in held if backend.normalizer.normalize_str(word).strip(f"{_BEGINS_WORD} ") != word}
        if (count := sum(word in changed for word in words)) > _MANY * len(words):
            doubts.append(
                f"{name}: the tokenizer takes capitals or accents away from {count / len(words):.0%} of the "
                "words that the vocabulary has with them; if the model is a cased one, its do_lower_case must be false"
            )
    for doubt in doubts:
        warn_once(doubt)
    return doubts
