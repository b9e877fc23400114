"""What is looked at before a step is taken: mistakes that would otherwise train quietly to nothing."""

import numpy as np
from datasets import Dataset
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from glue_tasks.errors import UserError
from tinydistill.data import count_rows
from tinydistill.encoders.limits import position_limit
from tinydistill.kinds import TaskKind
from tinydistill.onnx_model import OnnxModel
from tinydistill.text_task import is_text


def check_score(kind: TaskKind, name: str, outputs: np.ndarray, data: Dataset, required: bool = True) -> str:
    """Compares the teacher's dev score with chance; returns a warning, or "" if all is well.

    outputs: (P, C). Raises UserError, if `required`, for a teacher whose score could be luck, such as a head that was
    never trained.
    """
    if kind.beats_chance(outputs, data):
        return ""
    metric = kind.task.main_metric
    reached, chance = kind.score(outputs, data)[metric], kind.chance(data)
    sentence = (
        f"the teacher {name} scores {reached:.3f} ({metric}) on dev, no better than chance ({chance:.3f}) as far as "
        f"{count_rows(data):,} rows can tell"
    )
    if required:
        better = "take a better one, or train it longer" if is_text(kind.task) else "fine-tune one with --phase teacher"
        raise UserError(f"{sentence}; {better}, or distil from it all the same with --allow-weak-teacher")
    return sentence


def check_vocabulary(
    teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase, name: str, who: str = "student"
) -> None:
    """Raises UserError unless both models give every piece the same id. who: the second one."""
    theirs, own = teacher.get_vocab(), student.get_vocab()
    if theirs == own:
        return
    different = next((piece for piece in sorted(theirs, key=theirs.get) if own.get(piece) != theirs[piece]), None)
    detail = f"; {different!r} is {theirs[different]} and {own.get(different, 'missing')}" if different else ""
    raise UserError(
        f"the {who} {name} has another vocabulary ({len(own)} pieces) than the teacher ({len(theirs)}){detail}; "
        "both must give every piece the same id: choose "
        + ("a student of the teacher's family, or init:layers=..." if who == "student" else "teachers of one family")
    )


def check_pieces(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, who: str) -> None:
    """Raises UserError if the tokenizer has pieces for which the model has no embedding."""
    if len(tokenizer) > config.vocab_size:
        raise UserError(
            f"the {who} has embeddings of {config.vocab_size} pieces, the tokenizer gives {len(tokenizer)}; take both "
            "from the same model"
        )


def check_positions(model: PreTrainedModel | PreTrainedConfig, who: str, max_length: int) -> None:
    """Raises UserError if the model cannot read so many pieces."""
    limit = position_limit(model.config if isinstance(model, OnnxModel) else model)
    if limit is not None and max_length > limit:
        raise UserError(f"--max-length {max_length} is more than the {who}'s {limit} positions; use a shorter one")
