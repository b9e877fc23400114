"""A bidirectional GRU as the student of a fine-tuned BERT: no transformers model, taught through an adaptor.

    python -m examples.bigru_student --teacher runs/sst2/teacher --task SST-2 --data-dir glue --output-dir bigru

It reads the teacher's word pieces, starts from its embeddings of them, and learns its logits by their squared distance,
as Tang et al. 2019 taught a BiLSTM (arXiv 1903.12136, section 3.2). Beside it the same student learns the gold labels
alone. `load` brings a saved one back.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from datasets import Dataset
from safetensors.torch import load_model
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from glue_tasks import get_task
from glue_tasks.errors import UserError, exit_on_user_error
from tinydistill import DistillationTrainer, Features, Objective
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.encoders.pretrained import quiet
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.evaluation import longest_first, predict
from tinydistill.kinds import kind_of
from tinydistill.models import load_fine_tuned
from tinydistill.options import Options
from tinydistill.task_data import Data, load_data

_SHAPE = "bigru.json"  # beside the weights
_TIMED, _ROUNDS = 10, 5  # batches, and how often each model runs them


@dataclass(frozen=True)
class Shape:
    """pieces: of the vocabulary. width: of an embedding. hidden: of each direction's state. labels: outputs."""

    pieces: int
    width: int
    hidden: int
    labels: int
    pooling: Literal["max", "attention"] = "max"
    dropout: float = 0.2


class BiGRU(nn.Module):
    """Embeddings (B, L, E), states of a GRU in both directions (B, L, 2H), pooled over pieces, logits (B, C)."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embeddings = nn.Embedding(shape.pieces, shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.gru = nn.GRU(shape.width, shape.hidden, bidirectional=True, batch_first=True)
        self.attention = nn.Linear(2 * shape.hidden, 1, bias=False) if shape.pooling == "attention" else None
        self.head = nn.Linear(2 * shape.hidden, shape.labels)

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings, states and logits of a batch with `input_ids` and `attention_mask` (B, L), padded on the right.

        Neither direction reads padding.
        """
        there = batch["attention_mask"].bool()
        embedded = self.embeddings(batch["input_ids"])
        packed = pack_padded_sequence(
            self.dropout(embedded), there.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=there.shape[1])
        return embedded, states, self.head(self.dropout(self._pool(states, there)))

    def _pool(self, states: Tensor, there: Tensor) -> Tensor:
        """(B, L, 2H) -> (B, 2H)."""
        if self.attention is None:
            return states.masked_fill(~there[..., None], -torch.inf).amax(1)
        scores = self.attention(states).masked_fill(~there[..., None], -torch.inf)  # (B, L, 1)
        return (scores.softmax(1) * states).sum(1)


def read(batch: Mapping[str, Tensor], outputs: tuple[Tensor, Tensor, Tensor]) -> Features:
    """The adaptor: what objectives may compare of a BiGRU. Hidden 0 are embeddings, 1 the states."""
    embedded, states, logits = outputs
    return Features(hidden={0: embedded, 1: states}, logits=logits)


def make(teacher: PreTrainedModel, hidden: int, pooling: Literal["max", "attention"]) -> BiGRU:
    """A student of the teacher's labels and vocabulary that starts from its embeddings of word pieces."""
    embeddings = teacher.get_input_embeddings().weight.detach()  # (pieces, E)
    pieces, width = embeddings.shape
    student = BiGRU(Shape(pieces, width, hidden, teacher.config.num_labels, pooling))
    with torch.no_grad():
        student.embeddings.weight.copy_(embeddings)
    return student


def save(trainer: DistillationTrainer, student: BiGRU, folder: Path) -> None:
    """Weights and tokenizer, as the trainer saves any module, and the shape."""
    trainer.save_model(str(folder))
    (folder / _SHAPE).write_text(json.dumps(dataclasses.asdict(student.shape), indent=2), encoding="utf-8")


def load(folder: str | Path) -> BiGRU:
    """A student that was saved, in evaluation mode; its tokenizer lies beside it."""
    student = BiGRU(Shape(**json.loads((Path(folder) / _SHAPE).read_text(encoding="utf-8"))))
    load_model(student, Path(folder) / "model.safetensors")
    return student.eval()


def train(
    student: BiGRU,
    teacher: PreTrainedModel | None,
    train_rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    args: TrainingArguments,
    noise: str = "",
) -> DistillationTrainer:
    """Teach a student the teacher's logits, or without one the gold labels. Returns its trainer."""
    objective = Objective(loss="logits_mse") if teacher is not None else Objective(feature="labels")
    trainer = DistillationTrainer(
        student,
        teacher,
        [objective],
        args,
        train_dataset=train_rows,
        processing_class=tokenizer,
        student_adaptor=read,
        noise=noise if teacher is not None else "",
    )
    trainer.train()
    return trainer


@torch.inference_mode()
def seconds_of(
    models: Mapping[str, Callable[[dict[str, Tensor]], Any]], dev: Dataset, collate: Callable
) -> dict[str, float]:
    """How long each model takes for the longest rows of dev, 32 a batch: the median of rounds taken in turns."""
    order = longest_first(dev)[: 32 * _TIMED]
    batches = [collate(dev.__getitems__(rows.tolist())) for rows in np.array_split(order, -(-len(order) // 32))]
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(_ROUNDS):
        for name, run in models.items():
            start = time.perf_counter()
            for batch in batches:
                run(batch)
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(rounds) for name, rounds in taken.items()}


def main(
    teacher: Annotated[str, typer.Option(help="A fine-tuned BERT: a folder or a hub id.")],
    data_dir: Annotated[Path, typer.Option(help="Where the task's folder lies.")],
    output_dir: Annotated[Path, typer.Option(help="Where both students go.")],
    task: Annotated[str, typer.Option(help="A task of `python -m glue_tasks list`.")] = "SST-2",
    rows: Annotated[int, typer.Option(help="Training rows, drawn at random; 0 is all.", min=0)] = 0,
    epochs: Annotated[float, typer.Option(help="Epochs of each student.")] = 5.0,
    batch_size: Annotated[int, typer.Option(help="Rows a step.", min=1)] = 64,
    learning_rate: Annotated[float, typer.Option(help="At its peak.")] = 1e-3,
    max_length: Annotated[int, typer.Option(help="Pieces of a row.", min=1)] = 64,
    hidden: Annotated[int, typer.Option(help="Width of each direction.", min=1)] = 256,
    pooling: Annotated[str, typer.Option(help="max or attention.")] = "max",
    noise: Annotated[str, typer.Option(help="Texts that change in each epoch, as --noise of run_tinybert.py.")] = "",
    seed: Annotated[int, typer.Option(help="Of rows, weights and order.")] = 42,
) -> None:
    """Teach a BiGRU what a BERT knows, and show what the teacher is good for: scores on dev, sizes, speed."""
    with exit_on_user_error(resumable=False), quiet():
        if pooling not in ("max", "attention"):
            raise UserError(f"--pooling is {pooling!r}; it can be max, attention")
        if output_dir.exists() and any(output_dir.iterdir()):
            raise UserError(f"the folder {output_dir} is not empty; name another with --output-dir")
        kind = kind_of(get_task(task))
        loaded, notes = load_fine_tuned(teacher, kind.task)
        for note in notes:
            print(f"note: {note}")
        tokenizer = load_tokenizer(teacher)
        options = Options(data_dir=str(data_dir), output_dir=str(output_dir), max_length=max_length)
        data = load_data(kind, options, tokenizer)
        train_rows = data.train.shuffle(seed=seed).select(range(rows)) if 0 < rows < len(data.train) else data.train
        args = TrainingArguments(
            str(output_dir),
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
        )
        students: dict[str, BiGRU] = {}
        scores = {"teacher": _score(data, predict(loaded, data.main_dev, data.collate, "float32"))}
        for name, taught_by in (("distilled", loaded), ("without a teacher", None)):
            torch.manual_seed(seed)
            students[name] = make(loaded, hidden, pooling)  # type: ignore[arg-type]
            trainer = train(students[name], taught_by, train_rows, tokenizer, args, noise)
            scores[name] = _score(data, trainer.predict(data.main_dev).predictions)
            save(trainer, students[name], output_dir / name.replace(" ", "-"))
        _show(loaded.cpu().eval(), students["distilled"].cpu().eval(), scores, kind.task.main_metric, data)
        print(
            f"{len(train_rows):,} rows, {trainer.state.max_steps:,} steps each, seed {seed}; the students: {output_dir}"
        )


def _score(data: Data, outputs: np.ndarray) -> float:
    return data.kind.score(outputs, data.main_dev)[data.kind.task.main_metric]


def _show(teacher: PreTrainedModel, student: BiGRU, scores: Mapping[str, float], metric: str, data: Data) -> None:
    """The table: dev score, parameters, speed."""
    names = accepted_inputs(teacher)

    def run_teacher(batch: dict[str, Tensor]) -> Any:
        return teacher(**{name: batch[name] for name in names if name in batch})

    seconds = seconds_of({"teacher": run_teacher, "": student}, data.main_dev, data.collate)
    sizes = [sum(each.numel() for each in model.parameters()) for model in (teacher, student)]
    print(f"{'model':<24}{f'dev {metric}':>18}{'parameters':>14}{'speed':>9}")
    for name, score in scores.items():
        own = name != "teacher"
        title = f"BiGRU, {name}" if own else name
        print(f"{title:<24}{score:>18.4f}{sizes[own]:>14,}{seconds['teacher'] / seconds['' if own else name]:>8.1f}x")


if __name__ == "__main__":
    typer.run(main)
