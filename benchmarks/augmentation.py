"""How fast the augmentation finds its candidates, against a plain reference in the same process.

The reference does what the authors' script does for each word: one forward pass with a batch of one in float32, scores
of the vocabulary at every position of the input, and for a word of several pieces a search of its own that sorts all
similarities. Both answer the same words of the same sentences; models and vectors are loaded before the clock starts.

    python -m benchmarks.augmentation --sentences 200
"""

import json
import platform
import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from gensim.models import KeyedVectors
from transformers import AutoModelForMaskedLM, AutoTokenizer

from augment import Augmenter
from augment.words import find_words, is_content_word
from glue_tasks import get_task
from glue_tasks.files import find_file, open_table


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
    """Time the plain reference and ours, in float32 and at precision auto."""
    task = get_task("SST-2")
    table = open_table(task, find_file(task, data_dir, "train"))
    texts = [row.texts[0] for row in islice(table, sentences)]

    reference = PlainReference(mlm, vectors, candidates=15)
    reference.answers(texts[0])  # the first pass of a model allocates
    clock = _Clock()
    expected = [reference.answers(text) for text in texts]
    plain = clock.read()
    words = sum(map(len, expected))
    runs = [_figures("plain reference, float32", plain, plain, len(texts), words)]
    for precision in ("float32", "auto"):
        ours = Augmenter(mlm, vectors, batch_size=batch_size, device="cpu", precision=precision)
        ours.slots(texts[:1])
        clock = _Clock()
        slots = ours.slots(texts)
        run = _figures(f"ours, {ours.precision}", clock.read(), plain, len(texts), words)
        found = [{slot.start: set(slot.candidates) for slot in of_sentence} for of_sentence in slots]
        same = sum(
            ours_here.get(start, set()) == candidates
            for ours_here, plain_here in zip(found, expected, strict=True)
            for start, candidates in plain_here.items()
        )
        runs.append({**run, "words_with_the_references_candidates": round(same / words, 4)})
    for run in runs:
        print(", ".join(f"{name}: {value}" for name, value in run.items()))

    result = {
        "sentences": len(texts),
        "words_asked": words,
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "runs": runs,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {output}")


class _Clock:
    """Wall and processor seconds. On a machine that others use too, the processor's are the ones to trust."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.began[0], time.process_time() - self.began[1]


def _figures(
    name: str, taken: tuple[float, float], plain: tuple[float, float], sentences: int, words: int
) -> dict[str, Any]:
    wall, processor = taken
    return {
        "run": name,
        "seconds": round(wall, 2),
        "sentences_per_second": round(sentences / wall, 1),
        "words_per_second": round(words / wall, 1),
        "times_the_reference": round(plain[0] / wall, 2),
        "processor_seconds": round(processor, 2),
        "times_the_reference_by_processor_seconds": round(plain[1] / processor, 2),
    }


if __name__ == "__main__":
    typer.run(main)
