"""What is looked at before a step is taken: mistakes that would otherwise train quietly to nothing."""

import numpy as np
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from glue_tasks.errors import UserError
from tinydistill.encoders.limits import position_limit
from tinydistill.kinds import TaskKind

_SHUFFLES, _AS_GOOD = 200, 5  # of 200 shuffles of the labels at most 5 may score as well: p < 0.025


def check_score(kind: TaskKind, name: str, outputs: np.ndarray, references: np.ndarray, required: bool = True) -> str:
    """Compares the teacher's dev score with chance; returns a warning, or "" if all is well.

    outputs: (N, C), references: N labels. Raises UserError, if `required`, for a teacher that does
    not beat the best constant answer, or whose answers score as well when the labels are shuffled (a permutation test):
    such as a head that was never trained. Other than a distance from the constant answer's score, this also tells a
    good teacher where nearly all rows have the same label.
    """
    metric = kind.task.main_metric
    reached, chance = kind.score(outputs, references)[metric], kind.chance(references)
    if reached > chance:
        random = np.random.default_rng(0)
        as_good = 0
        for _ in range(_SHUFFLES):
            as_good += kind.score(outputs, random.permutation(references))[metric] >= reached
            if as_good >= _AS_GOOD:
                break
        else:
            return ""
    sentence = (
        f"the teacher {name} scores {reached:.3f} ({metric}) on dev, no better than chance ({chance:.3f}) as far as "
        f"{len(references):,} rows can tell"
    )
    if required:
        raise UserError(
            f"{sentence}; fine-tune one with --phase teacher, or distil from it all the same with --allow-weak-teacher"
        )
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
    limit = position_limit(model)
    if limit is not None and max_length > limit:
        raise UserError(f"--max-length {max_length} is more than the {who}'s {limit} positions; use a shorter one")
