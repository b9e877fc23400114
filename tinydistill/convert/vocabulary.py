"""A BERT's vocab.txt as a tokenizer, which states whether it takes capitals away."""

from pathlib import Path

from transformers import BertTokenizer

from glue_tasks.errors import UserError
from tinydistill.encoders.tokenizer import unreachable_share

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_OF_CASED = 0.005  # pieces with capitals; those of bert-base-chinese are two of 21,128


def read_vocabulary(path: Path, size: int, longest: int, lower_case: bool | None) -> tuple[BertTokenizer, list[str]]:
    """The tokenizer of a vocab.txt, one piece a line, and notes on what was decided.

    size: rows of the model's word embeddings. longest: its positions. lower_case: None decides by the vocabulary, which
    of a cased model holds pieces that a text in lower case never gives. Raises UserError if it does not fit the model.
    """
    pieces = _pieces(path)
    if len(pieces) > size:
        raise UserError(
            f"{path} has {len(pieces):,} pieces and the model {size:,} (vocab_size); give that model's own vocab.txt"
        )
    vocabulary = {piece: number for number, piece in enumerate(pieces)}  # of the same piece twice the last, as there
    if missing := [piece for piece in _SPECIAL if piece not in vocabulary]:
        raise UserError(f"{path} has no piece {', '.join(missing)}; give a BERT's vocab.txt, one piece a line")

    def tokenizer(lower: bool) -> BertTokenizer:
        return BertTokenizer(vocab=dict(vocabulary), do_lower_case=lower, model_max_length=longest)

    notes = []
    if len(pieces) < size:
        notes.append(f"{path.name} has {len(pieces):,} pieces and the model {size:,}; the others are never read")
    lower = tokenizer(True)
    if lower_case is None:
        lower_case = unreachable_share(lower) < _OF_CASED
        how = "in lower case and without accents" if lower_case else "with its capitals and accents"
        notes.append(f"the tokenizer reads text {how}, as {path.name} looks; --lower-case or --keep-case says so")
    return lower if lower_case else tokenizer(False), notes


def _pieces(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; give the model's vocab.txt") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise UserError(f"{path} is no vocab.txt: it is not text in UTF-8") from None
    # Lines end at \n alone: a vocabulary may hold other characters that end lines.
    lines = text.removeprefix("\ufeff").removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines]
