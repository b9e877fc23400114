"""A list of phases in one folder: what is finished is left out, what was interrupted is resumed, and then a report."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from transformers import TrainerCallback

from glue_tasks.errors import UserError
from glue_tasks.task import Task
from tinydistill import processes
from tinydistill.cards import of_task
from tinydistill.cards.publishing import check_push, publish
from tinydistill.chain import parse as parse_chain
from tinydistill.chain import stage_options
from tinydistill.encoders.pretrained import quiet
from tinydistill.options import Options
from tinydistill.phase_run import PhaseRun
from tinydistill.phases import PHASES, Phase
from tinydistill.preparation import check_ahead
from tinydistill.report.measure import print_report, print_scores
from tinydistill.runs import PhaseFolder
from tinydistill.settings import TAKEN
from tinydistill.trackers import trackers

Augment = Callable[[Task, Options], Path]


@quiet()
def run(
    phases: Sequence[Phase],
    task: Task,
    options: Options,
    augment: Augment | None = None,
    known: Mapping[str, Phase] = PHASES,
    callbacks: Sequence[TrainerCallback] = (),
) -> Path:
    """Run the phases in their order; returns the folder of the last one's model.

    augment: makes a training file for the student's phases, and returns it. known: phases whose students the report
    compares, if the folder has them. callbacks: of the Trainer of each phase. Raises UserError if anything does not
    fit, most of it before the first step.
    """
    check_folder(options, phases)
    if len(phases) > 1 or options.chain:
        if options.teacher and any(phase.makes_teacher for phase in phases):
            raise UserError("--pretrained makes a teacher and --teacher names one; give one of them")
        check_ahead(list(phases), task, options)
    folder = Path(options.output_dir)
    students = [phase for phase in phases if not phase.makes_teacher]
    for phase in phases:
        if phase.makes_teacher:
            # It does not learn from variants: they carry copied labels, which only a teacher's outputs make good.
            folder = PhaseRun(phase, task, _without_variants(options, len(phases)), callbacks).run()
            options = dataclasses.replace(options, teacher=(str(folder),))
    if students:
        options = _with_teacher(options, known)
        own = options
        if augment is not None:
            made = processes.from_first(lambda: augment(task, options))
            own = dataclasses.replace(options, train_file=str(made))
        for of_stage in stage_options(own, students[-1].name):
            for phase in students:
                folder = PhaseRun(phase, task, of_stage, callbacks).run()
    _tell(phases[-1], task, options, folder, known)
    return folder


def check_folder(options: Options, of_tasks: Sequence[Phase] = ()) -> None:
    """Raises UserError if it is not said where the run is, or how it goes on there, or if a phase is of no task."""
    if on_text := [phase.name for phase in of_tasks if phase.reads_text]:
        raise UserError(
            f"the phase {on_text[0]} learns from text and not from a task; run it by itself (--phase {on_text[0]} "
            "--corpus ...), and name its student with --student"
        )
    if not options.output_dir:
        raise UserError("a run needs a folder; name it with --output-dir")
    trackers(options.report_to)
    if options.seeds or options.sweep:
        raise UserError("--seeds and --sweep are of the command line and of one task; start a run for each")
    if options.chain:
        parse_chain(options.chain, {*TAKEN, *(phase.name for phase in of_tasks)})
        if options.student:
            raise UserError("--chain names the students, and --student one more; leave --student out")
    if options.resume and options.overwrite:
        raise UserError("--resume and --overwrite exclude each other")
    if options.push_to_hub:
        if len(options.tasks) > 1 or (of_tasks and (of_tasks[-1].makes_teacher or not of_tasks[-1].keeps_best)):
            raise UserError(
                "--push-to-hub takes the student of one task, as --phase prediction or all makes it, or of plain text"
            )
        check_push(options.push_to_hub)


def _without_variants(options: Options, phases: int) -> Options:
    return dataclasses.replace(options, train_file="") if options.augmented and phases > 1 else options


def _with_teacher(options: Options, known: Mapping[str, Phase]) -> Options:
    """The teacher that was named, else the one this output folder made."""
    if options.teacher:
        return options
    for phase in known.values():
        own = PhaseFolder(Path(options.output_dir), phase.name)
        if phase.makes_teacher and own.is_finished:
            return dataclasses.replace(options, teacher=(str(own.path),))
    raise UserError("no teacher is named; give one with --teacher, or make one with --phase teacher --pretrained MODEL")


def _tell(last: Phase, task: Task, options: Options, folder: Path, known: Mapping[str, Phase]) -> None:
    """What came out, and what comes next."""
    if last.makes_teacher:
        print_scores(task, options, {last.name: str(folder)})
    elif last.keeps_best:
        report = print_report(task, options, known)
        publish(of_task.cards(task, report, options.license), folder, options.push_to_hub)
    else:
        tell_next(last, folder, known)


def tell_next(last: Phase, folder: Path, known: Mapping[str, Phase]) -> None:
    """What comes after a phase whose student is not compared yet."""
    after = next((phase.name for phase in known.values() if phase.starts_from == last.name), "")
    print(f"student: {folder}" + (f"\nnext: the same command with --phase {after}" if after else ""))
