"""When a run is evaluated within its epochs, and when it ends before its last step."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class ShareOfEpoch(TrainerCallback):
    """Evaluations and checkpoints several times an epoch: 1 / `share` times, rounded, the last at the epoch's end.

    `per_epoch`: optimizer steps of an epoch. Of n times the k-th comes after k/n of the steps, rounded up; with fewer
    steps than times, after each. TextBrewer's `ckpt_frequency` is n.
    """

    def __init__(self, share: float, per_epoch: int):
        self.times = min(max(round(1 / share), 1), per_epoch)
        self.per_epoch = per_epoch

    def is_due(self, step: int) -> bool:
        """Whether the run is evaluated after its step of that number, from 1."""
        place = (step - 1) % self.per_epoch + 1  # in its epoch
        return place * self.times // self.per_epoch > (place - 1) * self.times // self.per_epoch

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.is_due(state.global_step):
            control.should_evaluate = control.should_save = True


class EarlyStopping(TrainerCallback):
    """Ends the training after `patience` evaluations in a row without a better score.

    Counts in the Trainer's log, which its checkpoints hold, so that a resumed run stops where one that was not
    interrupted does. transformers' EarlyStoppingCallback counts from zero after a resume, and one that had stopped
    trains on.
    """

    def __init__(self, patience: int, metric: str):
        self.patience, self.metric = patience, f"eval_{metric}"

    def is_over(self, state: TrainerState) -> bool:
        best, since = float("-inf"), 0
        for entry in state.log_history:
            if self.metric in entry:
                is_better = entry[self.metric] > best  # as the Trainer tells the best checkpoint: no NaN, no tie
                best, since = (entry[self.metric], 0) if is_better else (best, since + 1)
        return since >= self.patience

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_training_stop |= self.is_over(state)

    on_train_begin = on_evaluate
