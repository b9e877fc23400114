"""A small masked LM from texts of your own, where no pretrained one is at hand: four layers in an hour on a CPU.

    python -m examples.pretrain_masked_lm texts.txt reviews.tsv news.json --vocab vocab.txt --output-dir small-mlm

Texts are lines; of a table the longest cell of each line is taken, of JSON lines their longest string, of SQuAD's files
the paragraphs, and of files of a character and its tag a line (.bio, .bmes, or such a .txt) the sentences. They are cut
at the ends of sentences. The vocabulary is a BERT's vocab.txt: with bert-base-chinese's, the model reads Chinese. Where
there are vectors of its pieces, such as those of Chinese characters, the embeddings start from them.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from transformers import BertTokenizerFast

from augment.word_vectors import read_vectors
from demo.pretrain import Shape, train_masked_lm
from glue_tasks.errors import UserError, exit_on_user_error

_SENTENCE = re.compile(r"[^。！？!?.]+[。！？!?.]*")
_TAGGED = re.compile(r"\S[ \t][BIEMOS](-\S+)?")
_LONGEST = 60  # characters; two such texts and their marks fit into the 128 pieces of the model
_SHORTEST = 6


def main(
    files: Annotated[list[Path], typer.Argument(help="Texts: .txt, .tsv, .json, .jsonl, .bio, .bmes.")],
    vocab: Annotated[Path, typer.Option(help="A BERT's vocab.txt.")],
    output_dir: Annotated[Path, typer.Option(help="Where the model goes.")],
    vectors: Annotated[
        Path | None, typer.Option(help="Vectors of pieces to start from, in GloVe's or word2vec's text format.")
    ] = None,
    layers: Annotated[int, typer.Option(help="Blocks.")] = 4,
    hidden: Annotated[int, typer.Option(help="Width.")] = 256,
    steps: Annotated[int, typer.Option(help="Steps.")] = 5_000,
    batch_size: Annotated[int, typer.Option(help="Texts, or pairs of them, a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="At its peak.")] = 1e-3,
) -> None:
    """Pretrain a BERT by masking words, and say how many of them it then guesses in texts it has not seen."""
    with exit_on_user_error(resumable=False):
        for path in (vocab, *files):
            if not path.is_file():
                raise UserError(f"there is no file {path}")
        if output_dir.exists() and any(output_dir.iterdir()):
            raise UserError(f"the folder {output_dir} is not empty; name another with --output-dir")
        texts = list(dict.fromkeys(part for path in files for part in _parts(_texts(path))))
        if len(texts) < 2_000:
            raise UserError(f"{len(texts):,} different sentences are too few to learn from; name more files")
        print(f"{len(texts):,} different sentences, {sum(map(len, texts)):,} characters", flush=True)
        tokenizer = BertTokenizerFast(vocab=str(vocab), model_max_length=128)
        start = {}
        if vectors is not None:
            words, rows = read_vectors(vectors)
            if rows.shape[1] > hidden:
                raise UserError(f"{vectors} has {rows.shape[1]} dimensions, and the model {hidden}; widen it")
            start = dict(zip(words, rows, strict=True))
        shape = Shape(
            layers, hidden, heads=hidden // 64, steps=steps, batch_size=batch_size, learning_rate=learning_rate
        )
        model, learnt = train_masked_lm(texts, tokenizer, shape, seed=1, vectors=start)
        model.save_pretrained(output_dir)
        tokenizer.save_pretrained(output_dir)
        print(
            f"{output_dir}: loss {learnt.loss_before:.2f} -> {learnt.loss:.2f}, {learnt.accuracy:.0%} of masked pieces "
            f"of 500 unseen sentences guessed, in {learnt.seconds / 60:.0f} minutes"
        )


def _texts(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        lines = (line.strip() for line in file)
        first = next((line for line in lines if line), "")
        file.seek(0)
        lines = (line.strip() for line in file)
        if _TAGGED.fullmatch(first):
            yield from _untagged(lines)
        elif path.suffix in (".json", ".jsonl"):
            yield from _strings_of_json(path)
        else:
            yield from (max(line.split("\t"), key=len) for line in lines)


def _untagged(lines: Iterable[str]) -> Iterator[str]:
    """The sentences of a file that has a character and its tag a line, and a blank line between sentences."""
    sentence = ""
    for line in lines:
        if line:
            sentence += line[0]
        else:
            yield sentence
            sentence = ""
    yield sentence


def _strings_of_json(path: Path) -> Iterator[str]:
    """The paragraphs of SQuAD's layout, else the longest string of each line."""
    text = path.read_text(encoding="utf-8")
    try:
        document = json.loads(text)
    except json.JSONDecodeError:  # lines of JSON
        document = None
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        yield from (paragraph["context"] for article in document["data"] for paragraph in article["paragraphs"])
        return
    for line in text.splitlines():
        if line.strip():
            yield max((value for value in json.loads(line).values() if isinstance(value, str)), key=len, default="")


def _parts(lines: Iterable[str]) -> Iterator[str]:
    """Sentences, and as many of them together as fit."""
    for line in lines:
        text = ""
        for sentence in _SENTENCE.findall(line):
            if text and len(text) + len(sentence) > _LONGEST:
                yield text
                text = ""
            text = (text + sentence)[:_LONGEST]
        if len(text) >= _SHORTEST:
            yield text


if __name__ == "__main__":
    typer.run(main)
