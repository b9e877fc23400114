"""The answer to a question about one text."""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from glue_tasks.files import open_table
from glue_tasks.task import Task
from glue_tasks.writers import write_json
from tinydistill.checks import check_pieces, check_positions
from tinydistill.encoders import precision
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.evaluation import predict
from tinydistill.kinds.kind import Lengths
from tinydistill.kinds.spans import THRESHOLD, Spans
from tinydistill.models import load_fine_tuned
from tinydistill.predict import trained_with


def answer(
    model_name: str,
    question: str,
    file: Path,
    task: Task | None = None,
    max_length: int = 0,
    doc_stride: int = 0,
    batch_size: int = 64,
    how: str = "auto",
    n_best: int = 1,
) -> list[dict[str, Any]]:
    """The best answers, the best first: their `text`, `score`, `probability` among those looked at, `start` and `end`
    in characters; a text of "" where the model may say that there is none.

    task: whose rules and language they are; by default SQuAD's, or CMRC 2018's of a text in Chinese. Raises UserError.
    """
    text = _read(file)
    if not question.strip():
        raise UserError("the question is empty; give it in quotes behind --question")
    model, _ = load_fine_tuned(model_name, task or TASKS["SQuAD1.1"])
    task = task or _task_of(text, model.config)
    trained = trained_with(model_name)
    max_length = max_length or trained.get("max_length", task.max_length)
    check_positions(model, f"model {model_name}", max_length)
    tokenizer = load_tokenizer(model_name)
    check_pieces(model.config, tokenizer, f"model {model_name}")
    kind, where = Spans(task), precision.device()
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "test.json"
        write_json(asked, {"data": list(_article(text, question))})
        table = open_table(task, asked, "test")
        lengths = Lengths(max_length, doc_stride or trained.get("doc_stride", Lengths.doc_stride))
        data = kind.encode(table, tokenizer, lengths, Path(folder))
        outputs = predict(
            model.to(where),
            data,
            kind.collate(tokenizer),
            precision.resolve(how, where),
            batch_size,
            kept=kind.outputs,
        )
        return kind.n_best(kind.decoded(outputs, data)[0], text, n_best, getattr(model.config, THRESHOLD, 0.0))


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no file {file}") from None
    except IsADirectoryError:
        raise UserError(f"{file} is a folder; name a file of text") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text; save it as UTF-8") from None
    if not text.strip():
        raise UserError(f"{file} has no text")
    return text


def _task_of(text: str, config: Any) -> Task:
    is_chinese = 2 * sum("\u4e00" <= character <= "\u9fff" for character in text) > len(text)
    base = TASKS["CMRC2018" if is_chinese else "SQuAD1.1"]
    return dataclasses.replace(base, span_score="squad2") if hasattr(config, THRESHOLD) else base


def _article(text: str, question: str) -> Iterator[dict[str, Any]]:
    """As SQuAD's JSON has it."""
    yield {"title": "", "paragraphs": [{"context": text, "qas": [{"id": "0", "question": question}]}]}
