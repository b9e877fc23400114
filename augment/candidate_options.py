"""What decides which candidates there are: everything but the models themselves and the draw."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from augment.languages import check_language
from glue_tasks import UserError

SOURCES = ("vectors", "mask", "fill")
MASKING = ("exact", "joint")
PRECISIONS = ("auto", "bf16", "fp16", "float32", "int8")
# Chinese characters are pieces of their own, so that most words have several: the masked LM fills what vectors lack.
_IN_CHINESE = ("vectors", "fill")


@dataclass(frozen=True)
class CandidateOptions:
    """The defaults are the paper's (arXiv 1909.10351, Algorithm 1) with the additions of the original code.

    Raises UserError if a value is out of range or a file is not there.
    """

    candidates: int = 15  # M: of the masked LM and of the vectors alike
    # Who is asked about a word that the tokenizer splits into pieces, in this order, until one has an answer:
    # "vectors", its neighbours; "mask", the masked LM with one mask in its place; "fill", the masked LM with as many
    # masks as the word has pieces. A string such as "vectors,fill" will do; None: as is usual in the language.
    multi_piece_words: tuple[str, ...] | str | None = None
    beam: int = 4  # "fill" follows so many rows of pieces at once
    # "exact": one masked word a pass. "joint": all words of a sentence masked in one pass, beside the intact original.
    masking: str = "exact"
    stop_words: Path | None = None  # a file, one word a line, instead of the language's own list
    letters_only: bool = (
        True  # False: words with digits, too, are replaced; Chinese words are Han characters in any case
    )
    keep_words: Path | None = None  # a file, one word a line: words that a label hangs on, neither taken out nor put in
    # False: of the top M those that are no content words are dropped, and fewer remain, as in the original code.
    # True: the top M of the content words. Vectors give M of these in either case.
    exactly_m: bool = False
    language: str = "en"  # zh or one of languages.SCRIPTS
    vectors_limit: int | None = None  # neighbours come from the first so many words of the vectors; None: from all

    def __post_init__(self) -> None:
        for flag, value in (("--M", self.candidates), ("--beam", self.beam), ("--vectors-limit", self.vectors_limit)):
            if value is not None and value < 1:
                raise UserError(f"{flag} is at least 1, not {value}")
        if self.masking not in MASKING:
            raise UserError(f"--masking is exact or joint, not {self.masking!r}")
        check_language(self.language, self.stop_words is not None)
        for flag, path in (("--stop-words", self.stop_words), ("--keep-label-words", self.keep_words)):
            if path is not None and not Path(path).is_file():
                raise UserError(f"there is no file {path}; name a file of words, one a line, with {flag}")
        object.__setattr__(self, "multi_piece_words", self._order())

    def _order(self) -> tuple[str, ...]:
        given = self.multi_piece_words
        if given is None:
            return _IN_CHINESE if self.language == "zh" else ("vectors",)
        order = tuple(name.strip() for name in given.split(",")) if isinstance(given, str) else tuple(given)
        if not order or len(set(order)) < len(order) or not set(order) <= set(SOURCES):
            raise UserError(
                "--multi-piece-words is vectors, mask or fill, or several of them in the order in which they are "
                f"asked, such as vectors,fill; not {','.join(order)!r}"
            )
        return order

    def sources(self, vectors: str | Path | None) -> tuple[str, ...]:
        """Who is asked about words of several pieces, given these vectors.

        Raises UserError if vectors are to answer and there are none; in Chinese the usual order does without them.
        """
        order = tuple(self.multi_piece_words or ())
        if vectors is None and self.language == "zh" and order == _IN_CHINESE:
            return order[1:]
        if vectors is None and "vectors" in order:
            raise UserError(
                "no word vectors are given for words of several pieces; name a file with --vectors, or let the masked "
                "language model answer for them with --multi-piece-words mask or fill"
            )
        return order

    def as_record(self) -> dict[str, Any]:
        """The same in the types of JSON."""
        fields = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        return {**fields, "multi_piece_words": ",".join(self.multi_piece_words or ())}


def check_precision(name: str) -> None:
    """Raises UserError if there is no such precision."""
    if name not in PRECISIONS:
        raise UserError(f"--precision is one of {', '.join(PRECISIONS)}, not {name!r}")
