"""Pieces and words: what the entries of a tokenizer's vocabulary are, and which pieces of a text are which word.

Three kinds of tokenizer are known. WordPiece (BERT) marks what continues a word: "##ing". Byte-level BPE (RoBERTa) and
Metaspace (XLM-R and ALBERT, both Unigram) mark instead what follows a space: "Ġfilm", "▁film". There a word after a
quotation mark or a bracket begins with a piece like those that continue words.
"""

import json
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding
from tokenizers.decoders import ByteLevel
from tokenizers.models import WordPiece

from augment.words import WordRules
from glue_tasks import UserError


@dataclass(frozen=True)
class Pieces:
    """The vocabulary, by id (V): what each piece spells, without its mark, and whether it continues a word.

    Special tokens spell "" and so are part of no word.
    """

    texts: tuple[str, ...]
    continues: tuple[bool, ...]
    marks_spaces: bool  # byte-level and Metaspace: a word that follows no space begins with a continuing piece

    @classmethod
    def of(cls, tokenizer: Any, outputs: int = 0) -> "Pieces":
        """outputs: how many scores the model gives, often more than there are pieces, up to a round number.

        Raises UserError if words cannot be told apart in the tokenizer's vocabulary.
        """
        special = set(tokenizer.all_special_tokens)
        tokens = [""] * max(outputs, *(number + 1 for number in tokenizer.get_vocab().values()))
        for token, number in tokenizer.get_vocab().items():
            tokens[number] = token
        backend = tokenizer.backend_tokenizer
        pre_tokenizers = _kinds(_state(backend.pre_tokenizer)) if backend.pre_tokenizer else {}
        if isinstance(backend.model, WordPiece):
            mark = backend.model.continuing_subword_prefix
            continues = [token.startswith(mark) for token in tokens]
            texts = [token.removeprefix(mark) for token in tokens]
        elif "ByteLevel" in pre_tokenizers:
            continues = [not token.startswith("Ġ") for token in tokens]
            decoder = ByteLevel()
            texts = [decoder.decode([token]).removeprefix(" ") for token in tokens]
        elif "Metaspace" in pre_tokenizers:
            mark = pre_tokenizers["Metaspace"]["replacement"]
            continues = [not token.startswith(mark) for token in tokens]
            texts = [token.removeprefix(mark) for token in tokens]
        else:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path} is neither WordPiece, byte-level nor Metaspace, so that words "
                "and parts of words cannot be told apart; use a model such as BERT, RoBERTa, XLM-R or ALBERT"
            )
        spelt = tuple("" if token in special else text for token, text in zip(tokens, texts, strict=True))
        return cls(spelt, tuple(continues), not isinstance(backend.model, WordPiece))

    def words(self, rules: WordRules) -> tuple[list[str | None], list[str | None]]:
        """For each id the word it is, or None if no word may be replaced by it: at a place where words begin in the
        usual way, and at one that follows no space in a tokenizer that marks spaces.

        There a piece is a word if it is one after a space, too: "film" is one for "Ġfilm" is, and "ing" none. Chinese
        has no spaces, and each run of Han characters in the vocabulary is a word.
        """
        content = [text if rules.may_replace(text) else None for text in self.texts]
        begins = [None if goes_on else word for word, goes_on in zip(content, self.continues, strict=True)]
        if not self.marks_spaces:
            return begins, begins
        known = {word.casefold() for word in begins if word is not None}
        inside = [
            word if word is not None and goes_on and (rules.language == "zh" or word.casefold() in known) else None
            for word, goes_on in zip(content, self.continues, strict=True)
        ]
        return begins, inside

    def parts(self, rules: WordRules) -> tuple[list[bool], list[bool]]:
        """For each id whether a word may begin with it, and whether a word may go on with it."""
        return (
            [not on and rules.is_part(text, begins=True) for text, on in zip(self.texts, self.continues, strict=True)],
            [on and rules.is_part(text, begins=False) for text, on in zip(self.texts, self.continues, strict=True)],
        )


def put_space_first(tokenizer: Any) -> None:
    """Let a byte-level tokenizer take a word at the start of a text as it takes one after a space.

    RoBERTa's spells it without the mark, as it does the rest of a word. The offsets stay those of the text.
    """
    backend = tokenizer.backend_tokenizer
    for name in ("pre_tokenizer", "post_processor"):
        part = getattr(backend, name)
        if part is None:
            continue
        state = _state(part)
        kinds = _kinds(state)
        if "ByteLevel" in kinds or "RobertaProcessing" in kinds:
            for kind in ("ByteLevel", "RobertaProcessing"):
                if kind in kinds:
                    kinds[kind]["add_prefix_space"] = True
            part.__setstate__(json.dumps(state).encode())
            setattr(backend, name, part)


def locate(encoding: Encoding, sentence: str) -> tuple[dict[int, int], dict[int, int]]:
    """Where the pieces of the first of two copies stand: position by the character a piece starts or ends at.

    Of several pieces of one character, such as the bytes of "é", the first starts there and the last ends there.
    """
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for position, (copy, (start, end)) in enumerate(zip(encoding.sequence_ids, encoding.offsets, strict=True)):
        if copy != 0:
            continue
        while start < end and sentence[start].isspace():  # some tokenizers count the space before a word to its piece
            start += 1
        if start < end:
            starts.setdefault(start, position)
            ends[end] = position
    return starts, ends


def _state(part: Any) -> Any:
    """A part of a fast tokenizer as the JSON it is saved as."""
    return json.loads(part.__getstate__())


def _kinds(state: Any) -> dict[str, Any]:
    """The parts that a part of a tokenizer consists of, by type."""
    nested = state.get("pretokenizers") or state.get("processors") or []
    found = {state["type"]: state}
    for inner in nested:
        found.update(_kinds(inner))
    return found
