"""What objectives can be made of, for `python -m tinydistill objectives`."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from tinydistill import losses, presets
from tinydistill.objectives import Objective
from tinydistill.schedules import BY_EXAMPLE, BY_STEP, Schedule


def show(console: Console | None = None) -> None:
    """Print the losses with formula, source and what they ask of the two models; the presets; the schedules."""
    console = console or Console()
    aliases: dict[str, list[str]] = {}
    for alias, name in losses.ALIASES.items():
        aliases.setdefault(name, []).append(alias)
    table = Table("loss", "compares", "asks for", "formula, of an example", "source", title="Losses", show_lines=True)
    for name, loss in losses.LOSSES.items():
        called = f"{name}\n({', '.join(aliases[name])})" if name in aliases else name
        table.add_row(called, loss.feature, ", ".join(_asked(loss)), loss.formula, loss.source)
    console.print(table)
    table = Table("preset", "objectives", "source", title="Presets", show_lines=True)
    for name, preset in presets.PRESETS.items():
        table.add_row(name, "\n".join(in_words(each) for each in preset.objectives), preset.source)
    for name, what in presets.RULES.items():
        table.add_row(name, what, "TextBrewer, examples/matches")
    console.print(table)
    console.print(f"Weights can follow {', '.join(BY_STEP)}; temperatures {', '.join(BY_EXAMPLE)} too.", style="bold")
    console.print(
        'In a recipe: [[prediction.objectives]], loss = "hidden_cosine", layers = [[2, 6], [-1, -1]]', markup=False
    )


def _asked(loss: losses.Loss) -> Iterator[str]:
    if loss.takes == "two":
        yield "two layers of each model"
    if loss.equal_widths:
        yield "equal widths, or a projection"
    if loss.equal_heads:
        yield "as many heads, or heads = mean"
    if loss.feature == "relations":
        yield "relation heads that divide both widths"
    if loss.feature == "labels":
        yield "gold labels"


def in_words(objective: Objective) -> str:
    """An objective as a line."""
    name = objective.loss if isinstance(objective.loss, str) else "your own"
    parts = [name or f"{objective.feature} (the task's loss)"]
    if objective.compares_layers:
        parts.append("all layers by earth mover's distance" if objective.assignment else f"layers {objective.layers}")
    if objective.weight != 1.0:
        parts.append(f"weight {_value(objective.weight)}")
    if objective.temperature:
        parts.append(
            f"temperature {_value(objective.temperature)}{', times t²' if objective.temperature_squared else ''}"
        )
    return ", ".join(parts)


def _value(value: float | Schedule) -> str:
    return f"{value:g}" if isinstance(value, float) else value.schedule
