"""What a task usually downloads, made on the spot from unlabelled reviews: a small BERT and word vectors.

The masked LM follows BERT (Devlin et al. 2019, arXiv 1810.04805) with RoBERTa's dynamic masking and without its
next-sentence task (Liu et al. 2019, arXiv 1907.11692); the vectors are skip-gram's (Mikolov et al. 2013, arXiv
1310.4546) in the text format of GloVe.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from gensim.models import Word2Vec
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor
from tqdm import tqdm
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast, PreTrainedTokenizerBase, set_seed

from augment.words import find_words
from demo.sizes import Shape
from glue_tasks.writers import write_json
from tinydistill.encoders import precision

_IGNORED = -100  # of cross_entropy
_BATCHES_SORTED_TOGETHER = 16


@dataclass(frozen=True)
class Learnt:
    """How well the masked LM fills the gaps of reviews it was not trained on."""

    loss: float  # nats a masked piece
    accuracy: float
    loss_before: float
    seconds: float


def pretrain(reviews: Sequence[str], output: Path, shape: Shape, vector_size: int, vector_epochs: int) -> Learnt:
    """Make `<output>/pretrained/masked-lm` and `<output>/vectors.txt`, or read what an earlier run measured of them."""
    record = output / "pretrained" / "learnt.json"
    if record.exists():  # it is written last
        return Learnt(**json.loads(record.read_text(encoding="utf-8")))
    train_vectors(reviews, output / "vectors.txt", vector_size, vector_epochs, seed=1)
    tokenizer = train_tokenizer(reviews[: shape.tokenizer_reviews], shape.pieces)
    model, learnt = train_masked_lm(reviews, tokenizer, shape, seed=1)
    folder = output / "pretrained" / "masked-lm"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(record, asdict(learnt))
    return learnt


def train_tokenizer(reviews: Sequence[str], pieces: int) -> BertTokenizerFast:
    """A lower-casing WordPiece tokenizer of at most so many pieces: letters, frequent words, beginnings and endings.

    The trainer of `tokenizers` breaks ties differently each time, and then no two demos are alike.
    """
    splitter = BertPreTokenizer()
    counts = Counter(word for review in reviews for word, _ in splitter.pre_tokenize_str(review.lower()))
    parts: Counter[str] = Counter()
    for word, count in counts.items():
        for length in range(2, min(5, len(word))):
            parts[word[:length]] += count
            parts[f"##{word[-length:]}"] += count
    letters = sorted(set("".join(counts)))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    # A third of the places left are words, so that rare ones have several pieces: those the word vectors answer for.
    for some, share in ((counts, 0.35), (parts, 1.0)):
        ranked = sorted((-count, piece) for piece, count in some.items())
        new = [piece for _, piece in ranked if piece not in set(vocabulary)]
        vocabulary += new[: int(share * (pieces - len(vocabulary)))]
    return BertTokenizerFast(vocab={piece: i for i, piece in enumerate(vocabulary)}, model_max_length=128)


def train_vectors(reviews: Sequence[str], path: Path, size: int, epochs: int, seed: int) -> None:
    """Word vectors in GloVe's text format: word2vec's without the header line.

    One worker: with more, gensim's result depends on their race.
    """
    sentences = [[word.text.lower() for word in find_words(review)] for review in reviews]
    model = Word2Vec(
        sentences, vector_size=size, window=5, min_count=2, sg=1, negative=5, epochs=epochs, seed=seed, workers=1
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    model.wv.save_word2vec_format(str(path), write_header=False)


def train_masked_lm(
    reviews: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    shape: Shape,
    seed: int,
    vectors: Mapping[str, np.ndarray] | None = None,
) -> tuple[BertForMaskedLM, Learnt]:
    """Train a BERT on all but 500 of the reviews; what it learnt is measured on those.

    vectors: of pieces, (d,) with d up to the model's width; the embeddings of these pieces start from them.
    """
    set_seed(seed)
    random = np.random.default_rng(seed)
    examples = _examples(reviews, tokenizer, random)
    training, held_out = examples[:-500], examples[-500:]
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
        max_position_embeddings=128,
        initializer_range=shape.hidden**-0.5,  # BERT's 0.02 is about that of its width
        pad_token_id=tokenizer.pad_token_id,
        # No dropout, here and in all that is fine-tuned from it: few reviews are seen more than a few times.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForMaskedLM(config)
    _ease_the_start(model)
    _start_from_vectors(model, tokenizer, vectors or {})
    masker = _Masker(tokenizer, shape.masked)
    loss_before, _ = _measure(model, held_out, masker)

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=shape.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, shape.steps))
    autocast = torch.autocast("cpu", torch.bfloat16, precision.resolve("auto", torch.device("cpu")) == "bf16")
    started = time.perf_counter()
    batches = _endless_batches(training, shape.batch_size, random)
    for _ in tqdm(range(shape.steps), desc="masked LM", unit=" steps", leave=False):
        with autocast:
            loss, _ = _loss(model, masker(next(batches)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    seconds = time.perf_counter() - started
    loss_after, accuracy = _measure(model, held_out, masker)
    return model, Learnt(loss_after, accuracy, loss_before, seconds)


@torch.no_grad()
def _ease_the_start(model: BertForMaskedLM) -> None:
    """Set initial weights from which the model learns in hundreds of steps.

    From BERT's own, four layers need thousands before they do more than name the frequent pieces. Positions start as
    sine waves (Vaswani et al. 2017, arXiv 1706.03762), in which the place before is one rotation away, and each block
    starts near the identity (as in T-Fixup, Huang et al. 2020), so that the lowest learn at once. The architecture is
    BERT's, and all weights are trained.
    """
    positions = model.bert.embeddings.position_embeddings.weight  # (positions, D)
    places, width = positions.shape
    angles = torch.arange(places)[:, None] * 10_000 ** -(torch.arange(0, width, 2) / width)  # (positions, D / 2)
    waves = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)  # (positions, D)
    positions.copy_(waves * model.config.initializer_range * 2**0.5)  # as large as the words' embeddings
    for block in model.bert.encoder.layer:
        block.attention.output.dense.weight.mul_(0.1)
        block.output.dense.weight.mul_(0.1)


@torch.no_grad()
def _start_from_vectors(
    model: BertForMaskedLM, tokenizer: PreTrainedTokenizerBase, vectors: Mapping[str, np.ndarray]
) -> None:
    """Write the vectors of pieces over the first dimensions of their embeddings, as large as those are anyway."""
    embeddings = model.bert.embeddings.word_embeddings.weight  # (V, D)
    known = tokenizer.get_vocab()
    for piece, vector in vectors.items():
        if piece in known and np.linalg.norm(vector) > 0:
            row = embeddings[known[piece]]
            length = model.config.initializer_range * len(vector) ** 0.5
            row[: len(vector)] = torch.from_numpy(vector / np.linalg.norm(vector) * length)


def _rate(step: int, steps: int) -> float:
    """Linear: up in the first tenth of the steps, then down to zero."""
    warmup = max(1, steps // 10)
    return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))


@dataclass(frozen=True)
class _Example:
    pieces: list[int]
    segments: list[int]


def _examples(
    reviews: Sequence[str], tokenizer: PreTrainedTokenizerBase, random: np.random.Generator
) -> list[_Example]:
    """Half of the examples one review, half two, as segments 0 and 1.

    BERT has seen pairs, and augmentation asks it with one: a sentence with a gap, then the sentence as it was.
    """
    order = random.permutation(len(reviews)).tolist()
    second = [reviews[i] if random.random() < 0.5 else "" for i in order]
    encoded = tokenizer(list(reviews))["input_ids"]
    others = tokenizer(second, add_special_tokens=False)["input_ids"]
    end = tokenizer.sep_token_id
    return [
        _Example(first + ([*other, end] if other else []), [0] * len(first) + [1] * (len(other) + bool(other)))
        for first, other in zip(encoded, others, strict=True)
    ]


def _endless_batches(examples: Sequence[_Example], size: int, random: np.random.Generator) -> Iterator[list[_Example]]:
    """Batches of examples of like length, in an order drawn anew for each epoch."""
    while True:
        order = random.permutation(len(examples))
        for start in range(0, len(order) - size + 1, size * _BATCHES_SORTED_TOGETHER):
            chunk = sorted(
                order[start : start + size * _BATCHES_SORTED_TOGETHER], key=lambda i: len(examples[i].pieces)
            )
            batches = [chunk[i : i + size] for i in range(0, len(chunk), size)]
            for i in random.permutation(len(batches)):
                yield [examples[j] for j in batches[i]]


class _Masker:
    """Masks a share of the pieces of a batch, differently each time: 80% become [MASK], 10% another piece, 10% stay."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, share: float):
        self.share = share
        self.mask, self.pad, self.pieces = tokenizer.mask_token_id, tokenizer.pad_token_id, len(tokenizer)
        self.special = torch.tensor(tokenizer.all_special_ids)

    def __call__(self, examples: Sequence[_Example]) -> dict[str, Tensor]:
        """Gives `input_ids`, `token_type_ids`, `attention_mask` and `labels`, all (B, L)."""
        width = max(len(example.pieces) for example in examples)
        pieces = torch.full((len(examples), width), self.pad)
        segments = torch.zeros_like(pieces)
        for row, example in enumerate(examples):
            pieces[row, : len(example.pieces)] = torch.tensor(example.pieces)
            segments[row, : len(example.pieces)] = torch.tensor(example.segments)
        chosen = (torch.rand(pieces.shape) < self.share) & ~torch.isin(pieces, self.special)
        draw = torch.rand(pieces.shape)
        inputs = torch.where(chosen & (draw < 0.8), self.mask, pieces)
        inputs = torch.where(chosen & (draw >= 0.9), torch.randint(self.pieces, pieces.shape), inputs)
        return {
            "input_ids": inputs,
            "token_type_ids": segments,
            "attention_mask": (pieces != self.pad).long(),
            "labels": torch.where(chosen, pieces, _IGNORED),
        }


def _loss(model: BertForMaskedLM, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the masked pieces, and which of them were guessed.

    The vocabulary projection runs at the masked places alone: a fifth of the work.
    """
    labels = batch.pop("labels")
    states = model.bert(**batch).last_hidden_state  # (B, L, D)
    chosen = labels != _IGNORED
    scores = model.cls(states[chosen]).float()  # (masked, V)
    return torch.nn.functional.cross_entropy(scores, labels[chosen]), scores.argmax(-1) == labels[chosen]


@torch.inference_mode()
def _measure(model: BertForMaskedLM, examples: Sequence[_Example], masker: _Masker) -> tuple[float, float]:
    """Loss and accuracy on masked pieces, the same places each time."""
    model.eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        batch = masker(examples)
    loss, hits = _loss(model, batch)
    return loss.item(), hits.float().mean().item()
