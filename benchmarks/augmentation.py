"""How fast the augmentation finds its candidates, against a plain reference in the same process.

The reference does what the authors' script does for each word: one forward pass with a batch of one in float32, scores
of the vocabulary at every position of the input, and for a word of several pieces a search of its own that sorts all
similarities. Both answer the same words of the same sentences; models and vectors are loaded before the clock starts.
The share of the matrix peak is the encoder's arithmetic for real tokens (no padding) a second, against a bare product.
Ways to go faster that change the answers are told with the share of the exact candidates that they find too. Last comes
what is done around the model.

    python -m benchmarks.augmentation --sentences 200
"""

import json
import platform
import tempfile
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from gensim.models import KeyedVectors
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertForMaskedLM

from augment import Augmenter, CandidateOptions
from augment.variants import Slot, draw_variants
from augment.words import find_words, is_content_word
from benchmarks.machine import Clock, check_inputs, matrix_peak, peak_memory_mb
from glue_tasks import get_task
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from glue_tasks.writers import TableWriter

# What is run beside the reference: a name, and what of the Augmenter's arguments it changes.
WAYS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32"},
    "precision auto": {},
    "precision auto, compiled": {"compiled": True},
    "int8": {"precision": "int8"},
    "precision auto, joint masking": {"choices": CandidateOptions(masking="joint")},
}


class PlainReference:
    """One word, one forward pass; one search, one full sort."""

    def __init__(self, mlm: str, vectors: Path, candidates: int):
        self.tokenizer = AutoTokenizer.from_pretrained(mlm)
        self.model = AutoModelForMaskedLM.from_pretrained(mlm, dtype=torch.float32).eval()
        loaded = KeyedVectors.load_word2vec_format(str(vectors), no_header=True)
        self.words, self.row_of = loaded.index_to_key, loaded.key_to_index
        self.unit = loaded.get_normed_vectors()
        self.candidates = candidates

    def answers(self, sentence: str) -> dict[int, set[str]]:
        """The candidates of each replaceable word, by the offset at which it starts."""
        found = {}
        encoded = self.tokenizer(sentence, sentence, return_tensors="pt", return_offsets_mapping=True)
        offsets = [tuple(pair) for pair in encoded.pop("offset_mapping")[0].tolist()]
        for word in find_words(sentence):
            if word.replaceable:
                span = (word.start, word.end)
                answer = self._by_mask(encoded, offsets.index(span)) if span in offsets else self._by_vectors(word.text)
                found[word.start] = answer - {word.text.lower()}
        return found

    @torch.inference_mode()
    def _by_mask(self, encoded: Any, position: int) -> set[str]:
        ids = encoded["input_ids"].clone()
        ids[0, position] = self.tokenizer.mask_token_id
        scores = self.model(**{**encoded, "input_ids": ids}).logits[0, position]
        pieces = self.tokenizer.convert_ids_to_tokens(scores.topk(self.candidates).indices.tolist())
        return {piece for piece in pieces if is_content_word(piece)}

    def _by_vectors(self, text: str) -> set[str]:
        row = self.row_of.get(text.lower())
        if row is None:
            return set()
        ranked = (self.words[i] for i in np.argsort(-(self.unit @ self.unit[row])))
        return set(islice((w for w in ranked if is_content_word(w) and w != text.lower()), self.candidates))


@exit_on_user_error(resumable=False)
def main(
    data_dir: Annotated[Path, typer.Option(help="The folder that holds SST-2/train.tsv.")] = Path(
        "../shared/data/glue"
    ),
    mlm: Annotated[str, typer.Option(help="The masked LM.")] = "../shared/models/minilm-l6-h384-mlm",
    vectors: Annotated[Path, typer.Option(help="Word vectors in GloVe's text format.")] = Path(
        "../shared/data/vectors/english.w2v.100d.txt"
    ),
    sentences: Annotated[int, typer.Option(help="The first so many rows of SST-2.")] = 200,
    batch_size: Annotated[int, typer.Option(help="Masked sentences at once, ours only.")] = 64,
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("benchmarks/results/augmentation.json"),
) -> None:
    """Time the plain reference and ours in several ways, with the masked LM and one of BERT-base's size."""
    check_inputs(data_dir=data_dir, vectors=vectors)
    task = get_task("SST-2")
    table = open_table(task, find_file(task, data_dir, "train"))
    texts = [row.texts[0] for row in islice(table, sentences)]
    with tempfile.TemporaryDirectory() as folder:
        models = {"BERT-base's size, random weights": _bert_base(mlm, folder), mlm: mlm}
        runs = [run for name, path in models.items() for run in _compare(name, path, vectors, texts, batch_size)]
    result: dict[str, Any] = {
        "sentences": len(texts),
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "peak_memory_mb": peak_memory_mb(),
        "runs": runs,
        "around_the_model": _around_the_model(mlm, vectors, texts),
    }
    print("\n  ".join(f"{key}: {value}" for key, value in result["around_the_model"].items()), flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {output}")


def _compare(name: str, mlm: str, vectors: Path, texts: list[str], batch_size: int) -> list[dict[str, Any]]:
    """The reference, then ours in each way."""
    reference = PlainReference(mlm, vectors, candidates=15)
    reference.answers(texts[0])  # the first pass of a model allocates
    clock = Clock()
    expected = [reference.answers(text) for text in texts]
    plain = clock.read()
    work = _Work(reference, texts)
    runs = [work.figures(f"{name}: plain reference, float32", plain, plain)]
    del reference
    exact: list[dict[int, set[str]]] = []
    for way, changed in WAYS.items():
        ours = Augmenter(mlm, vectors, batch_size=batch_size, device="cpu", **changed)
        clock = Clock()
        ours.slots(texts[: 2 * batch_size] if "compiled" in way or way == "int8" else texts[:1])
        starting = clock.read()[0]
        clock = Clock()
        slots = ours.slots(texts)
        run = work.figures(f"{name}: ours, {way} ({ours.precision})", clock.read(), plain)
        found = [_by_start(of_sentence) for of_sentence in slots]
        exact = exact or found
        run["share_of_the_exact_candidates"] = round(_overlap(exact, found), 4)
        if way == "float32":
            run["words_with_the_references_candidates"] = round(_equal(expected, found) / work.words, 4)
        if way in ("float32", "precision auto"):
            peak = matrix_peak(torch.bfloat16 if ours.precision == "bf16" else torch.float32)
            run["gflops_of_matrix_peak"] = round(peak)
            run["share_of_matrix_peak"] = round(work.encoder_gflop / run["seconds"] / peak, 3)
        if "compiled" in way or way == "int8":
            run["seconds_to_compile"] = round(starting, 1)
        runs.append(run)
    for run in runs:
        print("\n  ".join(f"{key}: {value}" for key, value in run.items()), flush=True)
    return runs


def _by_start(slots: list[Slot]) -> dict[int, set[str]]:
    return {slot.start: set(slot.candidates) for slot in slots}


def _equal(expected: list[dict[int, set[str]]], found: list[dict[int, set[str]]]) -> int:
    """Words whose candidates are the same."""
    return sum(
        ours.get(start, set()) == candidates
        for ours, plain in zip(found, expected, strict=True)
        for start, candidates in plain.items()
    )


def _overlap(exact: list[dict[int, set[str]]], found: list[dict[int, set[str]]]) -> float:
    """The mean over words of the share of their exact candidates that were found."""
    shares = [
        len(candidates & ours.get(start, set())) / len(candidates)
        for ours, of_sentence in zip(found, exact, strict=True)
        for start, candidates in of_sentence.items()
    ]
    return sum(shares) / len(shares)


def _around_the_model(mlm: str, vectors: Path, texts: list[str], n: int = 20) -> dict[str, Any]:
    """What a run does beside asking the masked LM, with N variants of each sentence."""
    ours = Augmenter(mlm, vectors, device="cpu")
    slots = ours.slots(texts)
    clock = Clock()
    ours._masked_lm.candidates(texts, [[w for w in find_words(text) if w.replaceable] for text in texts])
    asking = clock.read()[1]
    clock = Clock()
    ours._masked_lm.encode(texts)
    tokenising = clock.read()[1]
    clock = Clock()
    drawn = [draw_variants(text, slots[i], n, 0.4, 42, row=i) for i, text in enumerate(texts)]
    drawing = clock.read()[1]
    count = sum(map(len, drawn))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, TableWriter(Path(folder) / "out.tsv", ("sentence", "label")) as out:
        for variants in drawn:
            for variant in variants:
                out.write((variant, "1"))
    writing = clock.read()[1]
    return {
        "processor_seconds_asking_the_masked_lm": round(asking, 2),
        "processor_seconds_tokenising_drawing_writing": [round(s, 3) for s in (tokenising, drawing, writing)],
        "sentences_tokenised_a_second": round(len(texts) / tokenising),
        "variants_drawn_a_second": round(count / drawing),
        "variants_written_a_second": round(count / writing),
    }


class _Work:
    """What there was to do: words, questions to the masked LM, and the encoder's arithmetic for them."""

    def __init__(self, reference: PlainReference, texts: list[str]):
        config, tokenizer = reference.model.config, reference.tokenizer
        self.sentences, self.words, self.queries, self.encoder_gflop = len(texts), 0, 0, 0.0
        encodings = tokenizer(texts, texts).encodings
        for text, encoding in zip(texts, encodings, strict=True):
            words = [word for word in find_words(text) if word.replaceable]
            queries = sum((word.start, word.end) in encoding.offsets for word in words)
            self.words += len(words)
            self.queries += queries
            length, width = len(encoding), config.hidden_size
            # Multiply and add: four projections and two of the feed-forward network; scores and their sums of values.
            behind_attention = 2 * (width**2 + 2 * width * config.intermediate_size)  # for each token
            per_layer = length * (2 * 3 * width**2 + behind_attention) + 4 * length**2 * width
            saved = (length - 1) * behind_attention  # the last layer needs it at the mask alone, and ours does no more
            self.encoder_gflop += queries * (config.num_hidden_layers * per_layer - saved) / 1e9

    def figures(self, name: str, taken: tuple[float, float], plain: tuple[float, float]) -> dict[str, Any]:
        wall, processor = taken
        return {
            "run": name,
            "seconds": round(wall, 2),
            "sentences_per_second": round(self.sentences / wall, 1),
            "words_per_second": round(self.words / wall, 1),
            "masked_lm_queries_per_second": round(self.queries / wall, 1),
            "times_the_reference": round(plain[0] / wall, 2),
            "processor_seconds": round(processor, 2),
            "times_the_reference_by_processor_seconds": round(plain[1] / processor, 2),
        }


def _bert_base(tokenizer_of: str, folder: str) -> str:
    """A masked LM of BERT-base's size with the tokenizer of another; its weights are random, which take as long."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_of)
    torch.manual_seed(0)
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    typer.run(main)
