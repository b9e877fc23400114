"""Sizes of students with fresh weights: written as `shape:...`, and the published ones by name."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from transformers import AutoModel, AutoModelForMaskedLM, BertConfig, MobileBertConfig, PreTrainedConfig

from glue_tasks.errors import UserError
from tinydistill.encoders.limits import position_limit
from tinydistill.encoders.skeleton import build_on_meta


@dataclass(frozen=True)
class Shape:
    """The size of a student. With a bottleneck it is a MobileBERT, whatever the teacher; else of the teacher's type."""

    layers: int
    hidden: int
    heads: int
    ffn: int
    embedding: int = 0  # width of the word embeddings; 0: as wide as the hidden states, or the teacher's own
    bottleneck: int = 0  # width inside a block (MobileBERT's intra-bottleneck size)
    networks: int = 0  # feed-forward networks in a block with a bottleneck; 0: 4, MobileBERT's
    shared: bool = True  # whether queries and keys take a bottleneck of their own, which both share

    def __str__(self) -> str:
        """As `parse` reads it."""
        told = [f"{each.name}={getattr(self, each.name)}" for each in fields(self) if each.type is int]
        told = [entry for entry in told if not entry.endswith("=0")]
        return ",".join(told + ([f"shared={'yes' if self.shared else 'no'}"] if self.bottleneck else []))


@dataclass(frozen=True)
class PublishedShape:
    """A shape that has a name."""

    shape: Shape
    vocabulary: int  # of the published model
    published: str  # its parameters, as its authors count them
    source: str


_TEXTBREWER = "TextBrewer, examples/README, English models"  # of BERT-base-cased; without the head
_MINIRBT = "MiniRBT, README"  # masked LMs
_CHINESE_MOBILEBERT = "Chinese-MobileBERT, config/*.json"  # masked LMs
_MOBILEBERT = "MobileBERT (2004.02984)"
_MINILM = "MiniLM (2002.10957), README"
_TINYBERT = "TinyBERT (1909.10351), section 4.2"

SHAPES: Mapping[str, PublishedShape] = {
    "bert-base": PublishedShape(Shape(12, 768, 12, 3072), 30522, "110M", "BERT (1810.04805), section 3"),
    "tinybert-4l-312d": PublishedShape(Shape(4, 312, 12, 1200), 30522, "14.5M", _TINYBERT),
    "tinybert-6l-768d": PublishedShape(Shape(6, 768, 12, 3072), 30522, "67.0M", _TINYBERT),
    "minilm-6l-384d": PublishedShape(Shape(6, 384, 12, 1536), 30522, "22M", _MINILM),
    "minilm-12l-384d": PublishedShape(Shape(12, 384, 12, 1536), 30522, "33M", _MINILM),
    "t3": PublishedShape(Shape(3, 768, 12, 3072), 28996, "44M", _TEXTBREWER),
    "t3-small": PublishedShape(Shape(3, 384, 12, 1536), 28996, "17M", _TEXTBREWER),
    "t4-tiny": PublishedShape(Shape(4, 312, 12, 1200), 28996, "14M", _TEXTBREWER),
    "t6": PublishedShape(Shape(6, 768, 12, 3072), 28996, "65M", _TEXTBREWER),
    # Its heads are not stated; 4 are those of ELECTRA-small, which it is said to resemble.
    "t12-nano": PublishedShape(Shape(12, 256, 4, 1024), 28996, "17M", _TEXTBREWER),
    "minirbt-h256": PublishedShape(Shape(6, 256, 8, 1024), 21128, "10.4M", _MINIRBT),
    # 12 heads in its configuration; its README says 8.
    "minirbt-h288": PublishedShape(Shape(6, 288, 12, 1152), 21128, "12.3M", _MINIRBT),
    "rbt3": PublishedShape(Shape(3, 768, 12, 3072), 21128, "38.5M", _MINIRBT),
    "rbt4-h312": PublishedShape(Shape(4, 312, 12, 1200), 21128, "11.4M", _MINIRBT),
    "rbt6": PublishedShape(Shape(6, 768, 12, 3072), 21128, "59.76M", _MINIRBT),
    # F-2 and F-4: two and four feed-forward networks in a block.
    "mobilebert-base-f2": PublishedShape(
        Shape(12, 768, 12, 512, 768, 144, networks=2, shared=False), 21128, "26.3M", _CHINESE_MOBILEBERT
    ),
    "mobilebert-base-f4": PublishedShape(
        Shape(12, 768, 12, 512, 768, 144, networks=4, shared=True), 21128, "32.2M", _CHINESE_MOBILEBERT
    ),
    "mobilebert-large-f2": PublishedShape(
        Shape(24, 1024, 16, 512, 1024, 128, networks=2, shared=False), 21128, "40.6M", _CHINESE_MOBILEBERT
    ),
    "mobilebert-large-f4": PublishedShape(
        Shape(24, 1024, 16, 512, 1024, 128, networks=4, shared=True), 21128, "52.9M", _CHINESE_MOBILEBERT
    ),
    "mobilebert": PublishedShape(
        Shape(24, 512, 4, 512, 128, 128, networks=4, shared=True), 30522, "25.3M", _MOBILEBERT
    ),
    "mobilebert-tiny": PublishedShape(
        Shape(24, 512, 4, 512, 128, 128, networks=2, shared=False), 30522, "15.1M", _MOBILEBERT
    ),
}

_NEEDED = ("layers", "hidden", "heads", "ffn")
_OF_A_BOTTLENECK = ("networks", "shared")


def parse(text: str) -> Shape | None:
    """`layers=3,hidden=312,heads=12,ffn=1200`, with entries of their own for a MobileBERT; None if it is no such text.

    Raises UserError if entries do not go together.
    """
    entries = split_entries(text)
    if entries is None or not set(_NEEDED) <= entries.keys() <= {each.name for each in fields(Shape)}:
        return None
    shared = entries.pop("shared", "yes")
    if shared not in ("yes", "no") or not all(re.fullmatch(r"[1-9]\d*", value) for value in entries.values()):
        return None
    shape = Shape(**{name: int(value) for name, value in entries.items()}, shared=shared == "yes")
    if not shape.bottleneck and (lone := [name for name in _OF_A_BOTTLENECK if f"{name}=" in text]):
        raise UserError(
            f"--student shape:{text} has {lone[0]}= without bottleneck=, which makes a student a MobileBERT; give both "
            "or neither"
        )
    return shape


def split_entries(text: str) -> dict[str, str] | None:
    """`layers=0,2,hidden=312` as {"layers": "0,2", "hidden": "312"}; None if it is no list of different names."""
    parts = re.split(r",(?=\w+=)", text)
    pairs = [re.fullmatch(r"(\w+)=(.*)", part) for part in parts]
    entries = {pair[1]: pair[2] for pair in pairs if pair}
    return entries if len(entries) == len(parts) else None


def check_heads(shape: Shape) -> None:
    """Raises UserError if the width of the attention does not divide into heads."""
    width, what = (shape.bottleneck, "bottleneck") if shape.bottleneck else (shape.hidden, "hidden size")
    if width % shape.heads:
        least = width // shape.heads * shape.heads
        near = " or ".join(f"{each}" for each in (least, least + shape.heads) if each)
        raise UserError(f"a {what} of {width} does not divide into {shape.heads} heads; take one of {near}")


def mobilebert_config(shape: Shape, teacher: PreTrainedConfig) -> MobileBertConfig:
    """A MobileBERT of that shape with the teacher's vocabulary, and all else as in the published students.

    These have no layer normalisation in their blocks, no pooler, and a bottleneck either for what queries, keys and
    values take (F-2), or for queries and keys alone (F-4). Raises UserError if the heads do not fit.
    """
    check_heads(shape)
    own = {
        name: getattr(teacher, name)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id", "initializer_range")
        if getattr(teacher, name, None) is not None
    }
    return MobileBertConfig(
        **own,
        vocab_size=teacher.vocab_size,
        type_vocab_size=getattr(teacher, "type_vocab_size", 0) or 2,
        max_position_embeddings=position_limit(teacher) or 512,
        num_hidden_layers=shape.layers,
        hidden_size=shape.hidden,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
        embedding_size=shape.embedding or shape.hidden,
        intra_bottleneck_size=shape.bottleneck,
        num_feedforward_networks=shape.networks or 4,
        key_query_shared_bottleneck=shape.shared,
        use_bottleneck_attention=not shape.shared,
        classifier_activation=False,
        classifier_dropout=0.1,  # of the published fine-tuning; the blocks have none
    )


def published_config(name: str) -> PreTrainedConfig:
    """The configuration of a published shape with its own vocabulary: a BERT or a MobileBERT."""
    found = SHAPES[name]
    shape = found.shape
    plain = BertConfig(
        vocab_size=found.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
    )
    return mobilebert_config(shape, plain) if shape.bottleneck else plain


def listing() -> Iterator[str]:
    """The lines of `python -m tinydistill shapes`."""
    titles = ("name", "layers", "hidden", "heads", "ffn", "vocabulary", "body", "masked LM", "published", "source")
    rows: list[tuple[str, ...]] = [titles]
    for name, each in SHAPES.items():
        config, shape = published_config(name), each.shape
        counted = (
            build_on_meta(config, name, kind.from_config).num_parameters() for kind in (AutoModel, AutoModelForMaskedLM)
        )
        sizes = (shape.layers, shape.hidden, shape.heads, shape.ffn, each.vocabulary, *counted)
        rows.append((name, *(f"{size:,}" for size in sizes), each.published, each.source))
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    last = len(titles) - 1
    for row in rows:
        cells = [
            cell if column == last else cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells)
    yield ""
    yield "Parameters are counted with the published model's vocabulary, those of a masked LM with tied embeddings;"
    yield "`python -m tinydistill parameters TEACHER NAME` counts a student of a teacher. Any other shape is written as"
    example = SHAPES["mobilebert-base-f2"].shape
    yield f"shape:{SHAPES['tinybert-4l-312d'].shape}, or that of a MobileBERT as"
    yield f"shape:{example}."
