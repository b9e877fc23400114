"""What a phase is, and the table of those that TinyBERT and its baseline need. No other code asks for a phase's name.

| phase        | starts from            | learns from                       | keeps               |
|--------------|------------------------|-----------------------------------|---------------------|
| general      | the student            | scores and hidden states, on text | the last checkpoint |
| teacher      | a pretrained model     | gold labels                       | best on dev         |
| intermediate | the student            | scores and hidden states          | the last checkpoint |
| prediction   | phase 1's student      | the teacher's outputs             | best on dev         |
| baseline     | the student            | gold labels, no teacher           | best on dev         |

Source: TinyBERT (Jiao et al. 2020, arXiv 1909.10351), section 3.2 and table 7.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from glue_tasks.errors import UserError
from tinydistill.objectives import Objective
from tinydistill.options import Training
from tinydistill.presets import PRESETS, read_objectives

PRETRAINED, STUDENT = "pretrained", "student"  # what a phase may start from, besides the student of another phase


@dataclass(frozen=True)
class Phase:
    """One training: what it starts from, what it minimises, how long, and which checkpoint it keeps.

    `starts_from`: "pretrained" makes a teacher of --pretrained; "student" takes --student; the name of another phase
    takes that phase's student where the output folder has one, else --student.
    """

    name: str  # of its folder, and of its losses in the log
    objectives: tuple[Objective, ...]
    starts_from: str = STUDENT
    keeps: Literal["best", "last"] = "best"  # on dev, by the task's first metric
    reads_text: bool = False  # plain text (--corpus), and not a task's files
    training: Training = dataclasses.field(default_factory=lambda: Training())
    title: str = ""  # of its model in the report; "" is the name
    summary: str = ""  # for --help
    table: str = ""  # of a recipe; "" is the name
    # Where the published settings of a task are; "" leaves those of `training`.
    task_epochs: str = ""  # the name of a field of Task
    task_rate: str = ""
    as_long_as: tuple[str, ...] = ()  # the epochs of these phases together

    @property
    def makes_teacher(self) -> bool:
        return self.starts_from == PRETRAINED

    @property
    def needs(self) -> tuple[str, ...]:
        """The options that must be given, besides what the models ask for."""
        own = ("pretrained",) if self.makes_teacher else ()
        return ("corpus" if self.reads_text else "data_dir", "output_dir", *own)

    @property
    def trains_head(self) -> bool:
        """Whether the model's outputs are looked at; else it may have no head."""
        return any(objective.feature in ("logits", "labels") for objective in self.objectives)

    @property
    def has_teacher(self) -> bool:
        """Whether an objective compares the student with a teacher."""
        return any(objective.feature != "labels" for objective in self.objectives)

    @property
    def compares_layers(self) -> bool:
        return any(objective.compares_layers for objective in self.objectives)

    @property
    def uses_layer_map(self) -> bool:
        return any(
            each.compares_layers and each.layers in ("map", "blocks") and not each.assignment
            for each in self.objectives
        )

    @property
    def needs_labels(self) -> bool:
        """Whether training rows must have labels. Those of dev always must."""
        return any(objective.needs_labels for objective in self.objectives)

    @property
    def needs_outputs_alone(self) -> bool:
        """Whether the teacher's outputs, computed once, are all that is asked of it."""
        return self.has_teacher and not self.compares_layers

    @property
    def keeps_best(self) -> bool:
        return self.keeps == "best"

    @property
    def uses(self) -> frozenset[str]:
        """What options can serve (`options.About.serves`)."""
        found = {PRETRAINED if self.makes_teacher else STUDENT, "text" if self.reads_text else "task"}
        found |= {"teacher"} if self.has_teacher else set()
        if not self.reads_text:
            found |= {f"{each} of a task" for each in (STUDENT, "teacher") if each in found}
        found |= {"best"} if self.keeps_best else set()
        found |= {"published"} if self.reads_text or (self.keeps_best and not self.makes_teacher) else set()
        found |= {"layers"} if self.compares_layers else set()
        found |= {"logits"} if any(objective.feature == "logits" for objective in self.objectives) else set()
        return frozenset(found | ({"outputs alone"} if self.needs_outputs_alone else set()))


_LABELS = (Objective(feature="labels"),)

PHASES: Mapping[str, Phase] = {
    phase.name: phase
    for phase in (
        Phase(
            "general",
            PRESETS["general-tinybert"].objectives,
            keeps="last",
            reads_text=True,
            training=Training(epochs=3, learning_rate=5e-5),  # of TinyBERT's own code
            summary="teach the student a pretrained encoder's attention scores and hidden states on plain text "
            "(--corpus), before any task",
        ),
        Phase(
            "teacher",
            _LABELS,
            starts_from=PRETRAINED,
            training=Training(epochs=3, learning_rate=2e-5),
            summary="fine-tune --pretrained on the task",
            table="teacher_phase",  # in a recipe `teacher` names the model
            task_epochs="teacher_epochs",
            task_rate="teacher_learning_rate",
        ),
        Phase(
            "intermediate",
            (Objective(feature="attention"), Objective(feature="hidden")),
            summary="teach the student the teacher's attention scores and hidden states",
            keeps="last",
            training=Training(epochs=20, learning_rate=5e-5, schedule="constant", warmup=0.0),
            task_epochs="intermediate_epochs",
            task_rate="intermediate_learning_rate",
        ),
        Phase(
            "prediction",
            (Objective(feature="logits"),),
            starts_from="intermediate",
            training=Training(epochs=3, learning_rate=3e-5),
            title="distilled student",
            summary="teach it the teacher's outputs",
            task_epochs="prediction_epochs",
            task_rate="prediction_learning_rate",
        ),
        Phase(
            "baseline",
            _LABELS,
            # Not in the paper: the intermediate phase's rate with the prediction phase's schedule.
            training=Training(epochs=23, learning_rate=5e-5),
            title="student without a teacher",
            summary="train the same student on gold labels, to compare with; it learns nothing from --teacher, but "
            "needs it: the student may be copied from it, and the report compares with it",
            task_rate="intermediate_learning_rate",
            as_long_as=("intermediate", "prediction"),
        ),
    )
}
# What --phase all runs; a recipe may list others (`run = [...]`). The first only where there is a model to start from.
ALL = ("teacher", "intermediate", "prediction")


def change_phase(phase: Phase, given: Mapping[str, Any], where: str) -> Phase:
    """The phase with entries of a recipe's table: fields of Training, and `objectives`, `starts_from` and `keeps`.

    The fields of Training are checked by the caller. Raises UserError.
    """
    changes: dict[str, Any] = {}
    if "objectives" in given:
        tables = given["objectives"]
        if not (isinstance(tables, list) and tables and all(isinstance(each, _ENTRIES) for each in tables)):
            raise UserError(
                f"{where} sets objectives to {tables!r}; it is a list of tables and of names of presets and losses, "
                'such as ["logits", {loss = "hidden_mse"}]'
            )
        changes["objectives"] = read_objectives(tables, f"{where} in objectives,")
    if "starts_from" in given:
        if not isinstance(given["starts_from"], str):
            raise UserError(
                f"{where} sets starts_from to {given['starts_from']!r}; it is the name of a phase in quotes"
            )
        changes["starts_from"] = given["starts_from"]
    if "keeps" in given:
        if given["keeps"] not in ("best", "last"):
            raise UserError(f'{where} sets keeps to {given["keeps"]!r}; it can be "best" or "last"')
        changes["keeps"] = given["keeps"]
    training = {key: value for key, value in given.items() if key not in OF_A_PHASE}
    return dataclasses.replace(phase, training=dataclasses.replace(phase.training, **training), **changes)


_ENTRIES = (Mapping, str, Objective)  # of a list of objectives; the last one from Python
OF_A_PHASE = ("objectives", "starts_from", "keeps")  # keys of a phase's table beside those of Training


def check_phases(phases: Mapping[str, Phase]) -> None:
    """Raises UserError if a phase starts from one that is not there, or from itself by way of others."""
    for phase in phases.values():
        seen = [phase.name]
        while (start := phases[seen[-1]].starts_from) not in (PRETRAINED, STUDENT):
            if start not in phases:
                known = ", ".join([PRETRAINED, STUDENT, *phases])
                raise UserError(f"the phase {seen[-1]} starts from {start!r}, which is no phase; there are {known}")
            if start in seen:
                raise UserError(f"the phase {phase.name} would start from itself ({' <- '.join([*seen, start])})")
            seen.append(start)
        if phase.makes_teacher and phase.has_teacher:
            raise UserError(f"the phase {phase.name} makes the teacher and has objectives that compare with one")
