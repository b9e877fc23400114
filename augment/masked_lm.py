"""Candidates from a masked language model, batched across sentences.

Serves the words that are one piece of the model's vocabulary (TinyBERT, arXiv 1909.10351, Algorithm 1), and if asked
also those of several, which then are one gap. The model sees
`[CLS] masked sentence [SEP] original sentence [SEP]` as in the authors' script, one such input for each masked word;
reading the original beside the gap, it proposes words near the one that was there. Of the M likeliest pieces, those
that are no content words are dropped, so that fewer than M may remain.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from tokenizers import Encoding
from tokenizers.models import WordPiece
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from augment.words import Word, is_content_word
from glue_tasks import UserError


class MaskedLM:
    """A masked LM and its tokenizer, asked for the m likeliest words at many places at once.

    precision: "float32", "bf16", or "auto", which is bf16 where the hardware has it (CPUs with AVX512-BF16 or AMX too).
    In float32 the answers are the same for any batch size, but for ties in rounding. In bf16 the encoder rounds more,
    and for about one word in fifty another batch size puts another word at the end of its list. The head, and with it
    the scores that rank the vocabulary, is float32 in both.
    masks_several_pieces: answer words of several pieces too, with one mask in the place of all of them.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        m: int,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "auto",
        masks_several_pieces: bool = False,
    ):
        self.m = m
        self.masks_several_pieces = masks_several_pieces
        self.batch_size = batch_size
        self.device = _choose_device(device)
        self.precision = _choose_precision(precision, self.device)
        self.tokenizer = tokenizer
        self.max_length = min(tokenizer.model_max_length, model.config.max_position_embeddings)
        self._model = model.eval().to(self.device)
        self._encoder = _StatesAtMask(getattr(model, model.base_model_prefix), self.device, self.precision)
        setattr(model, model.base_model_prefix, self._encoder)
        self._words = _vocabulary_words(tokenizer)

    @classmethod
    def load(cls, name: str, m: int, **settings: Any) -> "MaskedLM":
        """Load a folder or a hub id; weights become float32.

        Raises UserError if it is not there, has no masked-LM head, or its tokenizer is not a fast WordPiece one.
        """
        model, tokenizer = _load(name)
        return cls(model, tokenizer, m, **settings)

    def candidates(
        self, sentences: Sequence[str], words: Sequence[Sequence[Word]]
    ) -> tuple[list[list[tuple[str, ...] | None]], int]:
        """For each word of each sentence its candidates, the likeliest first, or None if it is not asked about: it is
        several pieces, or none that the model knows.

        words: those of each sentence, by their offsets in it. Also returns how many sentences were longer than the
        model; of such a sentence the model sees a window around the masked word.
        """
        answers: list[list[tuple[str, ...] | None]] = [[None] * len(of_sentence) for of_sentence in words]
        encodings = self.tokenizer(list(sentences), list(sentences), verbose=False).encodings if sentences else []
        queries = []  # (length, sentence, word, positions of its first and last piece)
        for i, (encoding, of_sentence) in enumerate(zip(encodings, words, strict=True)):
            starts, ends = _first_copy(encoding)
            for j, word in enumerate(of_sentence):
                first, last = starts.get(word.start), ends.get(word.end)
                if first is None or last is None:
                    continue
                if self.masks_several_pieces or (first == last and encoding.ids[first] != self.tokenizer.unk_token_id):
                    queries.append((len(encoding), i, j, first, last))
        queries.sort()  # by length, so that a batch needs little padding

        for start in range(0, len(queries), self.batch_size):
            batch = queries[start : start + self.batch_size]
            inputs = [self._input(encodings[i], first, last) for _, i, _, first, last in batch]
            top = self._top_pieces(inputs)
            for (_, i, j, first, last), ids in zip(batch, top, strict=True):
                seen = {words[i][j].text.lower()}
                if first == last:
                    seen.add(self._words[encodings[i].ids[first]] or "")
                answers[i][j] = tuple(
                    word
                    for word in dict.fromkeys(self._words[piece] for piece in ids)
                    if word is not None and word not in seen
                )
        return answers, sum(1 for encoding in encodings if len(encoding) > self.max_length)

    def _input(self, encoding: Encoding, first: int, last: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Ids and segments of a sentence and its copy, one mask in place of the pieces `first` to `last`, and where."""
        ids = np.array(encoding.ids)
        segments = np.array(encoding.type_ids)
        ids[first] = self.tokenizer.mask_token_id
        keep = np.arange(len(ids))
        if len(ids) > self.max_length:
            # Of each copy keep the same window of pieces, the mask in its middle as far as the ends allow.
            copies = np.array([-1 if copy is None else copy for copy in encoding.sequence_ids])
            one, other = np.flatnonzero(copies == 0), np.flatnonzero(copies == 1)
            size = (self.max_length - int((copies == -1).sum())) // 2
            begin = min(max(first - int(one[0]) - size // 2, 0), len(one) - size)
            window = slice(begin, begin + size)
            keep = np.sort(np.concatenate([np.flatnonzero(copies == -1), one[window], other[window]]))
        keep = keep[(keep <= first) | (keep > last)]
        return ids[keep], segments[keep], int(np.searchsorted(keep, first))

    @torch.inference_mode()
    def _top_pieces(self, inputs: list[tuple[np.ndarray, np.ndarray, int]]) -> list[list[int]]:
        """The m likeliest vocabulary ids at the masked position of each input."""
        longest = max(len(ids) for ids, _, _ in inputs)
        input_ids = np.full((len(inputs), longest), self.tokenizer.pad_token_id)  # (B, L)
        segments = np.zeros_like(input_ids)
        attention_mask = np.zeros_like(input_ids)
        for row, (ids, types, _) in enumerate(inputs):
            input_ids[row, : len(ids)] = ids
            segments[row, : len(ids)] = types
            attention_mask[row, : len(ids)] = 1
        tensors = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self.tokenizer.model_input_names:
            tensors["token_type_ids"] = segments
        self._encoder.positions = torch.tensor([position for _, _, position in inputs], device=self.device)
        scores = self._model(**{name: torch.from_numpy(a).to(self.device) for name, a in tensors.items()}).logits
        return scores[:, 0].topk(min(self.m, scores.shape[-1])).indices.tolist()  # scores: (B, 1, V)


class _StatesAtMask(nn.Module):
    """Stands where a masked LM has its encoder, and hands on the state of one position of each sentence alone.

    So the head, whatever the architecture, projects (B, 1, D) to the vocabulary and not (B, L, D); and precision is a
    matter of the encoder: the head works in float32, as bf16's three digits would make ties of near scores.
    """

    positions: Tensor  # (B,), set before each call

    def __init__(self, encoder: nn.Module, device: torch.device, precision: str):
        super().__init__()
        self.encoder = encoder
        self.device = device
        self.in_bf16 = precision == "bf16"

    def forward(self, *args: Any, **kwargs: Any) -> BaseModelOutput:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bf16):
            states = self.encoder(*args, **kwargs)[0]  # (B, L, D)
        rows = torch.arange(len(states), device=states.device)
        return BaseModelOutput(last_hidden_state=states[rows, self.positions][:, None].float())


def _first_copy(encoding: Encoding) -> tuple[dict[int, int], dict[int, int]]:
    """Where the pieces of the first of the two copies stand: position by the character a piece starts or ends at."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for position, (copy, (start, end)) in enumerate(zip(encoding.sequence_ids, encoding.offsets, strict=True)):
        if copy == 0:
            starts[start] = ends[end] = position
    return starts, ends


def _vocabulary_words(tokenizer: Any) -> list[str | None]:
    """For each id of the vocabulary the word it is, lower-cased, or None if no word may be replaced by it:
    continuation pieces ("##ing"), special tokens, numbers, signs and stop words."""
    special = set(tokenizer.all_special_tokens)
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return [piece.lower() if piece not in special and is_content_word(piece) else None for piece in pieces]


def _choose_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):  # torch's own message runs over many lines
        raise UserError(f"there is no device {name!r} here; use --device auto, cpu or cuda") from None
    return device


def _choose_precision(name: str, device: torch.device) -> str:
    if name in ("bf16", "float32"):
        return name
    if name != "auto":
        raise UserError(f"--precision is auto, bf16 or float32, not {name!r}")
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()  # true with AMX, which came later
    return "bf16" if native else "float32"


def hub_commit(name: str) -> str | None:
    """The commit of the hub's model that `name` stands for here: the one in the cache, or the newest."""
    with _loading(name):
        return AutoConfig.from_pretrained(name)._commit_hash


def _load(name: str) -> tuple[Any, Any]:
    with _loading(name):
        tokenizer = AutoTokenizer.from_pretrained(name)
        model, info = AutoModelForMaskedLM.from_pretrained(name, dtype=torch.float32, output_loading_info=True)
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:2])
        raise UserError(
            f"{name} has no trained masked-LM head (missing: {missing}, ...); use a pretrained model such as "
            "bert-base-uncased, not one fine-tuned for a task"
        )
    if not tokenizer.is_fast or not isinstance(tokenizer.backend_tokenizer.model, WordPiece):
        raise UserError(f"the tokenizer of {name} is not a fast WordPiece tokenizer, as BERT's is; use a BERT model")
    if tokenizer.mask_token_id is None:
        raise UserError(f"the tokenizer of {name} has no mask token; use a BERT model")
    return model, tokenizer


@contextlib.contextmanager
def _loading(name: str) -> Iterator[None]:
    """Errors as a UserError, and no progress bar or table of missing weights: it would stand between ours."""
    path = Path(name)
    if not path.is_dir() and (path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise UserError(f"there is no model folder {name}; name one that holds config.json, or a hub id, with --mlm")
    if path.is_dir() and not (path / "config.json").is_file():
        raise UserError(f"the folder {name} holds no model, as it has no config.json; name another with --mlm")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:  # what from_pretrained raises
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot load a masked LM from {name!r}, as a folder or from the hub: {reason}") from None
    finally:
        logging.enable_progress_bar()
        logging.set_verbosity(verbosity)
