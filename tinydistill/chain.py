"""Teacher assistants: a chain of students, each of which teaches the next.

In `teacher>rbt6>minirbt-h256` a student of six blocks learns from the teacher, and MiniRBT from that student. Each
stage lies in the folder of the one that teaches it, `OUTPUT/rbt6/minirbt-h256`, so that chains which begin alike share
what they have in common, and a chain of one stage, `OUTPUT/minirbt-h256`, stands beside the longer one.

Source: Mirzadeh et al. 2020, Improved Knowledge Distillation via Teacher Assistant, arXiv 1902.03393; MiniRBT's two
stages.
"""

import dataclasses
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from glue_tasks.errors import UserError
from tinydistill.option_fields import split_name
from tinydistill.options import Options
from tinydistill.runs import RECORD
from tinydistill.students import StudentSpec

TEACHER = "teacher"  # the first of each chain: the model of --teacher, or the one that the run makes


@dataclass(frozen=True)
class Stage:
    """One student of a chain."""

    route: tuple[str, ...]  # the names of the students up to this one
    student: str  # what it is made of, as --student says it

    @property
    def title(self) -> str:
        return title(self.route)


def title(route: Collection[str]) -> str:
    """What the student at the end of a route is called in a report."""
    *assistants, name = route
    return f"{name} by way of {', '.join(assistants)}" if assistants else name


def parse(text: str, taken: Collection[str] = ()) -> tuple[Stage, ...]:
    """The stages of `teacher>STUDENT>STUDENT`, where a student is what --student can be, or NAME=STUDENT.

    taken: names, in lower case, that no stage may have. Raises UserError.
    """
    first, *students = (part.strip() for part in text.split(">"))
    if first != TEACHER or not students:
        raise UserError(
            f"--chain is {text!r}; it begins with the teacher and goes on with students, each of which teaches the "
            "next, in quotes: 'teacher>rbt6>minirbt-h256'"
        )
    stages: list[Stage] = []
    route: tuple[str, ...] = ()
    for part in students:
        name, student = split_name(part)
        name = name or _name_of(student)
        if not name or part.endswith("="):
            raise UserError(f"--chain {text!r} has a stage without a student; name one on each side of every >")
        if not name.strip("."):
            raise UserError(f"--chain {text!r} has a stage {name!r}, which no folder can be called; give it a name")
        if name.lower() in (TEACHER, *(each.lower() for each in route)):  # some file systems know no case
            raise UserError(
                f"--chain {text!r} comes back to {name}; each stage makes another student, and may have a name of its "
                "own: NAME=STUDENT"
            )
        if name.lower() in taken:
            raise UserError(
                f"--chain {text!r} has a stage {name!r}, which is another folder or file of a run; call it otherwise, "
                f"as NAME={student}"
            )
        route = (*route, name)
        StudentSpec.parse(student)
        stages.append(Stage(route, student))
    return tuple(stages)


def _name_of(student: str) -> str:
    """Of a folder its last part, of any other student what it is made of, as a name of a folder."""
    spec = StudentSpec.parse(student) if student else StudentSpec()
    text = Path(student).name if spec.path else student.lower()
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")


def stage_options(options: Options, last: str) -> Iterator[Options]:
    """The settings of each stage of a run: of a run without a chain its own.

    last: the phase whose student teaches the next stage.
    """
    if not options.chain:
        yield options
        return
    output, cache = Path(options.output_dir), str(options.cache)
    for stage in parse(options.chain):
        folder = output.joinpath(*stage.route)
        yield dataclasses.replace(
            options, student=stage.student, output_dir=str(folder), cache_dir=cache, pretrained="", chain=""
        )
        options = dataclasses.replace(options, teacher=(f"{TEACHER}={folder / last}",), teacher_weights="")


def stage_routes(output: Path, phases: Collection[str]) -> Iterator[tuple[str, ...]]:
    """The routes of the stages that lie below a folder, those of all chains that were run there."""
    for child in sorted(output.iterdir()) if output.is_dir() else ():
        if child.name not in phases and any((child / name / RECORD).is_file() for name in phases):
            yield (child.name,)
            for route in stage_routes(child, phases):
                yield (child.name, *route)
