"""A small masked LM from texts of your own, where no pretrained one is at hand: four layers in half an hour on a CPU.

    python examples/pretrain_masked_lm.py texts.txt reviews.tsv news.json --vocab vocab.txt --output-dir small-mlm

Texts are lines; of a table the longest cell of each line is taken, of JSON lines their longest string. They are cut at
the ends of sentences. The vocabulary is a BERT's vocab.txt: with bert-base-chinese's, the model reads Chinese.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from transformers import BertTokenizerFast

from demo.pretrain import Shape, train_masked_lm
from glue_tasks.errors import UserError, exit_on_user_error

_SENTENCE = re.compile(r"[^。！？!?.]+[。！？!?.]*")
_LONGEST = 60  # characters; two such texts and their marks fit into the 128 pieces of the model
_SHORTEST = 6


def main(
    files: Annotated[list[Path], typer.Argument(help="Texts, a line each: .txt, .tsv, .json, .jsonl.")],
    vocab: Annotated[Path, typer.Option(help="A BERT's vocab.txt.")],
    output_dir: Annotated[Path, typer.Option(help="Where the model goes.")],
    layers: Annotated[int, typer.Option(help="Blocks.")] = 4,
    hidden: Annotated[int, typer.Option(help="Width.")] = 256,
    steps: Annotated[int, typer.Option(help="Steps of 64 texts.")] = 1_500,
    learning_rate: Annotated[float, typer.Option(help="At its peak.")] = 1e-3,
) -> None:
    """Pretrain a BERT by masking words, and say how many of them it then guesses in texts it has not seen."""
    with exit_on_user_error(resumable=False):
        for path in (vocab, *files):
            if not path.is_file():
                raise UserError(f"there is no file {path}")
        if output_dir.exists() and any(output_dir.iterdir()):
            raise UserError(f"the folder {output_dir} is not empty; name another with --output-dir")
        texts = list(dict.fromkeys(part for path in files for part in _parts(_lines(path))))
        if len(texts) < 2_000:
            raise UserError(f"{len(texts):,} different sentences are too few to learn from; name more files")
        print(f"{len(texts):,} different sentences, {sum(map(len, texts)):,} characters")
        tokenizer = BertTokenizerFast(vocab=str(vocab), model_max_length=128)
        shape = Shape(layers, hidden, heads=hidden // 64, steps=steps, batch_size=64, learning_rate=learning_rate)
        model, learnt = train_masked_lm(texts, tokenizer, shape, seed=1)
        model.save_pretrained(output_dir)
        tokenizer.save_pretrained(output_dir)
        print(
            f"{output_dir}: loss {learnt.loss_before:.2f} -> {learnt.loss:.2f}, {learnt.accuracy:.0%} of masked pieces "
            f"of 500 unseen sentences guessed, in {learnt.seconds / 60:.0f} minutes"
        )


def _lines(path: Path) -> Iterator[str]:
    """The longest text of each line."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            cells = line.split("\t")
            if path.suffix in (".json", ".jsonl") and line:
                cells = [value for value in json.loads(line).values() if isinstance(value, str)]
            yield max(cells, key=len, default="")


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
