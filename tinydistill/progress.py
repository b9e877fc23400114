"""What a person sees of a training run, one bar with the losses and a line for each evaluation; or a program."""

import json
import sys
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback


class Progress(TrainerCallback):
    """Takes the place of the Trainer's own bar and printer."""

    def __init__(self, phase: str):
        self.phase = phase
        self.bar: tqdm | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.phase, unit=" steps")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if self.bar is None or not logs:
            return
        scores = {name.removeprefix("eval_"): value for name, value in logs.items() if name.startswith("eval_")}
        if scores:
            line = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
            self.bar.write(f"{self.phase}: step {state.global_step}, dev {line}")
        elif "loss" in logs:
            self.bar.set_postfix({name: f"{value:.4f}" for name, value in logs.items() if name.startswith("loss")})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class JsonLines(TrainerCallback):
    """A line of JSON on standard output for each entry of the log: `phase`, `step`, and its losses or dev scores."""

    def __init__(self, phase: str):
        self.phase = phase

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs:
            entry = {"phase": self.phase, "step": state.global_step, "steps": state.max_steps, **logs}
            print(json.dumps(entry), file=sys.__stdout__, flush=True)
