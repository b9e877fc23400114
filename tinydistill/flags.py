"""The command line's flags, and the table of settings in the docs, made from the options."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from glue_tasks.command_line import Version
from glue_tasks.errors import UserError
from tinydistill.option_fields import About, about
from tinydistill.options import DISTILLATION, TRAINING, Options, Training
from tinydistill.phases import ALL, PHASES, Phase

# Of --teacher-lr and the like.
_SHORT = {"epochs": "epochs", "learning_rate": "lr", "schedule": "schedule", "warmup": "warmup"}
_OF_ALL = frozenset({"augmentation"})  # what --phase all uses beyond its phases


def flag_of(name: str, known: About) -> str:
    """What an option is called on the command line."""
    return known.flags[0].strip() if known.flags else f"--{name.replace('_', '-')}"


def command(function: Callable[[dict[str, Any]], None], options: type[Options] = Options) -> Callable[..., None]:
    """A function for typer with a flag for each option, which calls `function` with what was given, by name.

    What was not given is None. Besides the options: `phase`, `recipe`, and of a phase's training `epochs`,
    `learning_rate`, `schedule` and `warmup`, alone and for each phase of the table, such as `teacher_epochs` and
    `teacher_lr`.
    """
    parameters = list(_parameters(options))

    def run(**given: Any) -> None:
        function(given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = function.__doc__
    return run


def _parameters(options: type[Options]) -> Iterator[inspect.Parameter]:
    yield _parameter("phase", str, _what_phases_do(), required=True, metavar="PHASE")
    for field, known in about(options):
        if known.group == TRAINING and field.name == "max_steps":
            yield from _of_training()
        names = known.flags or ((flag_of(field.name, known),) if isinstance(field.default, bool) else ())
        unit = "" if isinstance(field.default, bool) else "|".join(known.choices) or known.unit.upper()
        kind = tuple if known.several else type(field.default)
        yield _parameter(field.name, kind, known.help, known.group, names, metavar=unit)
        if field.name == "pretrained":
            yield _parameter("recipe", str, "TOML file with settings; flags win over it.", metavar="FILE")
    yield _parameter(
        OBJECTIVES,
        str,
        "Presets and losses that the phase minimises instead of its own, such as `logits,L4t_hidden_mse`; "
        "`python -m tinydistill objectives` lists them (not with --phase all).",
        DISTILLATION,
        metavar="NAME[,NAME]",
    )
    yield inspect.Parameter("version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Version)


OBJECTIVES = "objectives"  # of a phase: names of presets and losses


def _of_training() -> Iterator[inspect.Parameter]:
    fields = [(field, known) for field, known in about(Training) if field.name in _SHORT]
    for field, known in fields:
        names = f"; {', '.join(known.choices)}" if known.choices else ""
        text = f"{known.help.removesuffix('.')}{names} (not with --phase all)."
        yield _parameter(field.name, type(field.default), text, TRAINING, metavar=known.unit.upper())
    for phase in PHASES.values():
        for field, known in fields:
            text = _default_of(phase, field.name)
            name = f"{phase.name}_{_SHORT[field.name]}"
            yield _parameter(name, type(field.default), text, TRAINING, metavar=known.unit.upper())


def _default_of(phase: Phase, name: str) -> str:
    training = phase.training
    if name == "epochs":
        others = " and ".join(phase.as_long_as)
        return f"Default: those of {others} together." if others else f"Default: the task's, often {training.epochs:g}."
    if name != "learning_rate":
        return f"Default: {getattr(training, name)}."
    shape = "constant" if training.schedule == "constant" else f"linear decay after {training.warmup:.0%} of warm-up"
    return f"Default: the task's, mostly {training.learning_rate:g}; {shape}."


def _what_phases_do() -> str:
    each = [f"**{name}**: {phase.summary}." for name, phase in PHASES.items()]
    return " ".join(
        [
            *each,
            "**evaluate**: score --teacher and --student on dev.",
            f"**all**: {ALL[0]} (if --pretrained is given), augmentation (with --augment), {', '.join(ALL[1:])} and "
            "the report, leaving out what is finished already. A recipe may define others.",
        ]
    )


def _parameter(
    name: str,
    kind: type,
    text: str,
    panel: str = "",
    names: tuple[str, ...] = (),
    metavar: str = "",
    required: bool = False,
) -> inspect.Parameter:
    """A flag whose default is decided later: by the recipe, or by the task."""
    option = typer.Option(*names, help=text, rich_help_panel=panel or None, show_default=False, metavar=metavar or None)
    if kind is tuple:
        kind = list[str]
    annotation = Annotated[kind if required else kind | None, option]  # type: ignore[valid-type]
    default = inspect.Parameter.empty if required else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def settings_of(given: Mapping[str, Any], phase: str, phases: Mapping[str, Phase]) -> dict[str, Any]:
    """The flags as settings: options, and below each phase's table how it trains; those not given are None.

    Raises UserError for --epochs, --learning-rate and the like without a single phase.
    """
    flags: dict[str, Any] = {
        field.name: None if given[field.name] == [] else given[field.name]
        for field, _ in about(Options)
        if field.name in given
    }
    for built_in in PHASES.values():
        flags[built_in.table or built_in.name] = {
            field: given.get(f"{built_in.name}_{short}") for field, short in _SHORT.items()
        }
    for field in (*_SHORT, OBJECTIVES):
        if (value := given.get(field)) is None:
            continue
        if phase not in phases:
            others = (
                "write them into a recipe" if field == OBJECTIVES else "say --intermediate-... and --prediction-..."
            )
            raise UserError(f"--{field.replace('_', '-')} is for a single phase; with --phase {phase} {others}")
        names = [name.strip() for name in value.split(",")] if field == OBJECTIVES else value
        flags.setdefault(phases[phase].table or phase, {})[field] = names
    return flags


def check_used(
    given: Mapping[str, Any],
    phase: str,
    phases: Mapping[str, Phase],
    recipe: Mapping[str, Any],
    options: type = Options,
) -> None:
    """Refuse what the command line says and the phase does not use; a recipe may serve several phases.

    phase: a name in `phases`, "evaluate" or "all".
    """
    uses: dict[str, frozenset[str]] = {name: each.uses for name, each in phases.items()}
    uses["evaluate"] = frozenset({"student", "task"})
    of_tasks = [each.uses for each in phases.values() if not each.reads_text]
    uses["all"] = frozenset().union(*of_tasks, _OF_ALL)
    for field, known in about(options):
        value = given.get(field.name)
        if value is None or value is False or value == []:
            continue
        flag = flag_of(field.name, known)
        if known.strict and known.serves not in uses[phase]:
            others = " or ".join(name for name, used in uses.items() if known.serves in used)
            raise UserError(f"--phase {phase} does not use {flag}; leave it out, or choose --phase {others}")
        if known.needs and not (given.get(known.needs) or recipe.get(known.needs)):
            raise UserError(f"{flag} is for --{known.needs}, which is not given; add it, or leave {flag} out")


_DECIDES = {"result": "yes", "machine": "last digits", "source": "by its content", "nothing": "no"}
_HEADER = ("flag", "recipe", "default", "values", "phases", "decides the result", "what it does")


def to_markdown(options: type = Options) -> str:
    """The table of all options, for docs/options.md."""
    lines = ["| " + " | ".join(_HEADER) + " |", "|" + "---|" * len(_HEADER)]
    for owner, prefix in ((options, ""), (Training, "[PHASE] ")):
        for field, known in about(owner):
            flag = f"`{flag_of(field.name, known).rpartition('/')[2]}`"
            if owner is Training:
                flag = f"`--PHASE-{_SHORT[field.name]}`" if field.name in _SHORT else ""
            is_unset = field.default in ("", 0, -1, ()) or field.default is False
            cells = (
                flag,
                f"`{prefix}{field.name}`" if known.in_recipe else "",
                "" if is_unset else f"`{str(field.default).lower()}`",
                " ".join(part for part in (known.unit or type(field.default).__name__, known.range()) if part),
                _phases_served(known),
                _DECIDES[known.decides],
                known.help,
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _phases_served(known: About) -> str:
    if known.serves in _OF_ALL:
        return "all"
    return ", ".join(name for name, phase in PHASES.items() if known.serves in phase.uses) if known.serves else ""
