"""The toolkit's own command lines on the made-up task: printed as a person would type them, run in this process."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.sizes import Phase, Sizes

STUDENTS = ("baseline", "distilled", "augmented")


@dataclass(frozen=True)
class Command:
    """A command line and the file that is there once it is done."""

    program: str
    arguments: tuple[str, ...]
    makes: Path

    def __str__(self) -> str:
        return f"python {self.program} {shlex.join(self.arguments)}"

    def run(self) -> None:
        """Run in this process: torch and transformers are imported once for all. SystemExit if it fails."""
        if self.program == "-m augment":
            from augment.__main__ import app

            app(list(self.arguments), standalone_mode=False)
        else:
            from run_tinybert import main

            main(list(self.arguments))


def report_path(output: Path, student: str, seed: int) -> Path:
    """Where the report of a student lies."""
    return output / f"{student}-seed{seed}" / "report.json"


def commands(output: Path, sizes: Sizes) -> Iterator[Command]:
    """Teacher, augmentation, and for each seed the student without a teacher, distilled, distilled on variants."""
    masked_lm = output / "pretrained" / "masked-lm"
    teacher = output / "teacher-run" / "teacher"
    data = _flags(task="demo", data_dir=output / "data")
    settings = _flags(batch_size=sizes.batch_size)
    yield Command(
        "run_tinybert.py",
        (
            *_flags(phase="teacher"),
            *data,
            *_flags(pretrained=masked_lm, output_dir=teacher.parent),
            *_phase("teacher-", sizes.teacher),
            *settings,
            "--resume",
        ),
        makes=teacher / "tokenizer_config.json",  # saved last
    )
    yield Command(
        "-m augment",
        (*data, *_flags(mlm=masked_lm, vectors=output / "vectors.txt"), "--N", str(sizes.variants)),
        makes=output / "data" / "demo" / "train_aug.tsv",
    )
    for seed in sizes.students_seeds:
        for student in STUDENTS:
            report = report_path(output, student, seed)
            models = _flags(teacher=teacher, student=sizes.student, output_dir=report.parent)
            training = _phase("", sizes.baseline)
            if student != "baseline":
                phases = [sizes.intermediate, sizes.prediction]
                if student == "augmented":
                    phases = [sizes.on_variants(phase) for phase in phases]
                training = (*_phase("intermediate-", phases[0]), *_phase("prediction-", phases[1]))
            yield Command(
                "run_tinybert.py",
                (
                    *_flags(phase="baseline" if student == "baseline" else "all"),
                    *data,
                    *models,
                    *training,
                    *settings,
                    *_flags(seed=seed),
                    "--resume",  # goes on where an interrupted demo stopped
                    *(("--augmented",) if student == "augmented" else ()),
                    *(("--allow-weak-teacher",) if sizes.weak_teacher else ()),
                ),
                makes=report,
            )


def _flags(**values: object) -> tuple[str, ...]:
    return tuple(part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value)))


def _phase(prefix: str, phase: Phase) -> tuple[str, ...]:
    rate = "learning-rate" if not prefix else f"{prefix}lr"
    return (f"--{prefix}epochs", f"{phase.epochs:g}", f"--{rate}", f"{phase.learning_rate:g}")
