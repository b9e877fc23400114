"""What a phase writes: checkpoints while it trains, and the student at its end."""

import copy
from pathlib import Path
from typing import Any

import safetensors.torch
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tinydistill import processes
from tinydistill.distiller import Distiller
from tinydistill.runs import PhaseFolder


class Checkpoints(TrainerCallback):
    """Seals each checkpoint when it is written, and finds the best one also where the folder was moved."""

    def __init__(self, folder: PhaseFolder):
        self.folder = folder

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_log |= control.should_save  # or a resumed run would log the mean of some of the steps

    on_epoch_end = on_step_end

    def on_save(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        processes.from_first(lambda: self.folder.seal_checkpoint(state.global_step))

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if state.best_global_step:  # the Trainer noted a path
            state.best_model_checkpoint = str(self.folder.checkpoints / f"checkpoint-{state.best_global_step}")


def save_student(distiller: Distiller, tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path) -> None:
    """Save the student as a plain transformers model, and the projections beside it for a later phase.

    Its tokenizer cuts at the length of the training, and pads and cuts only when asked to, whatever call came last.
    """
    distiller.student.save_pretrained(folder)
    own = copy.deepcopy(tokenizer)
    own.model_max_length = max_length
    own.backend_tokenizer.no_truncation()
    own.backend_tokenizer.no_padding()
    own.save_pretrained(folder)
    if distiller.projections:
        safetensors.torch.save_file(distiller.projections.state_dict(), str(folder / "projections.safetensors"))
