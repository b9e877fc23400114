"""The toolkit's own command lines on the made-up task, as a person would type them."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.sizes import Sizes
from glue_tasks import UserError
from tinydistill.runs import PhaseFolder

STUDENTS = ("baseline", "distilled", "augmented")


@dataclass(frozen=True)
class Command:
    """A command line and the file that is there once it is done."""

    program: str
    arguments: tuple[str, ...]
    makes: Path
    folder: PhaseFolder | None = None  # of the one phase it runs, whose files are there before it is finished

    @property
    def is_done(self) -> bool:
        return self.folder.is_finished if self.folder else self.makes.exists()

    def __str__(self) -> str:
        return f"python {self.program} {shlex.join(self.arguments)}"

    def run(self) -> None:
        """Run in this process: torch and transformers are imported once for all.

        Raises UserError if it fails and KeyboardInterrupt if it is stopped, so that the demo has the last word: the
        command tells how to go on with itself alone.
        """
        try:
            if self.program == "-m augment":
                from augment.__main__ import app

                app(list(self.arguments), standalone_mode=False)
            else:
                from run_tinybert import main

                main(list(self.arguments))
        except SystemExit as stop:
            if stop.code == 130:
                raise KeyboardInterrupt from None
            raise failure(self, stop.code) from None


def failure(command: Command, code: object, told: str = "") -> UserError:
    """What to tell of a command that failed. The last line is about the demo: the command's own advice is not."""
    return UserError(
        f"a command of the demo failed with exit code {code}: {command}\n{told}"
        "mend the cause, then run the same command again: `python -m demo` goes on where it was"
    )


def report_path(output: Path, student: str, seed: int) -> Path:
    """Where the report of a student lies."""
    return output / "students" / f"{student}-seed{seed}" / "report.json"


def preparations(output: Path, sizes: Sizes) -> Iterator[Command]:
    """The teacher on all labelled reviews, and the variants of a few of them."""
    masked_lm = output / "pretrained" / "masked-lm"
    teacher_run = output / "teacher-run"
    teacher = PhaseFolder(teacher_run, "teacher")
    yield Command(
        "run_tinybert.py",
        (
            *_flags(phase="teacher", pretrained=masked_lm, output_dir=teacher_run),
            *_data(output / "data"),
            *_flags(teacher_epochs=sizes.teacher_epochs, teacher_lr=sizes.teacher_rate),
            *_training(sizes),
        ),
        makes=teacher.path / "model.safetensors",
        folder=teacher,
    )
    yield Command(
        "-m augment",
        (
            *_data(output / "few"),
            *_flags(mlm=masked_lm, vectors=output / "vectors.txt", precision="float32"),
            *("--N", str(sizes.variants)),
        ),
        makes=output / "few" / "demo" / "train_aug.tsv",
    )


def students(output: Path, sizes: Sizes) -> Iterator[Command]:
    """For each seed the student without a teacher, on all reviews; distilled, on a few; and on those and variants."""
    teacher = output / "teacher-run" / "teacher"
    for seed in sizes.students_seeds:
        for student in STUDENTS:
            report = report_path(output, student, seed)
            if student == "baseline":
                own = (*_flags(phase="baseline"), *_data(output / "data"))
                training = _flags(max_steps=2 * sizes.steps, learning_rate=sizes.baseline_rate)
            else:
                own = (*_flags(phase="all"), *_data(output / "few"))
                training = _flags(
                    max_steps=sizes.steps, intermediate_lr=sizes.intermediate_rate, prediction_lr=sizes.prediction_rate
                )
            yield Command(
                "run_tinybert.py",
                (
                    *own,
                    *_flags(teacher=teacher, student=sizes.student, output_dir=report.parent, seed=seed),
                    *training,
                    *_training(sizes),
                    *(("--augmented",) if student == "augmented" else ()),
                    *(("--allow-weak-teacher",) if sizes.weak_teacher else ()),
                ),
                makes=report,
            )


def _data(folder: Path) -> tuple[str, ...]:
    return _flags(task="demo", data_dir=folder)


def _training(sizes: Sizes) -> tuple[str, ...]:
    # For models this small casting to bf16 takes longer than it saves. --resume goes on where a demo was interrupted.
    return (*_flags(batch_size=sizes.batch_size, precision="float32"), "--resume")


def _flags(**values: object) -> tuple[str, ...]:
    return tuple(part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value)))
