"""What objectives can be made of, for `python -m tinydistill objectives`."""

from collections.abc import Iterator

from tinydistill import losses, presets
from tinydistill.objectives import Objective
from tinydistill.schedules import BY_EXAMPLE, BY_STEP, Schedule


def listing() -> Iterator[str]:
    """Lines: the losses with formula, source and what they ask of the two models; the presets; the schedules."""
    aliases: dict[str, list[str]] = {}
    for alias, name in losses.ALIASES.items():
        aliases.setdefault(name, []).append(alias)
    for feature, title in _TITLES.items():
        yield f"Losses of {title} (feature {feature})"
        for name, loss in losses.LOSSES.items():
            if loss.feature == feature:
                yield f"  {', '.join([name, *aliases.get(name, [])])}"
                yield f"      {loss.formula}"
                yield "      " + "; asks for ".join(
                    [loss.source, *([", ".join(asked)] if (asked := _asked(loss)) else [])]
                )
        yield ""
    yield "Presets"
    for name, preset in presets.PRESETS.items():
        yield f"  {name}"
        yield from (f"      {in_words(each)}" for each in preset.objectives)
        yield f"      {preset.source}"
    for name, what in presets.RULES.items():
        yield f"  {name}"
        yield f"      {what}"
    yield ""
    yield f"Weights can follow {', '.join(BY_STEP)}; temperatures {', '.join(BY_EXAMPLE)} too (docs/objectives.md)."


_TITLES = {
    "hidden": "hidden states",
    "attention": "attention",
    "relations": "relations between tokens",
    "logits": "outputs",
    "labels": "gold labels",
}


def _asked(loss: losses.Loss) -> list[str]:
    asked = {
        "two layers of each model": loss.takes == "two",
        "equal widths, or a projection": loss.equal_widths,
        "as many heads, or heads = mean": loss.equal_heads,
        "relation heads that divide both widths": loss.feature == "relations",
    }
    return [what for what, is_so in asked.items() if is_so]


def in_words(objective: Objective) -> str:
    """An objective as a line."""
    name = objective.loss if isinstance(objective.loss, str) else "your own"
    parts = [name or f"{objective.feature} (the task's loss)"]
    if objective.compares_layers:
        parts.append("all layers by earth mover's distance" if objective.assignment else f"layers {objective.layers}")
    if objective.one_by_one:
        start, end = objective.one_by_one
        parts.append(f"one pair of layers after another from {start:g} to {end:g} of the training")
    if objective.weight != 1.0:
        parts.append(f"weight {_value(objective.weight)}")
    if objective.temperature:
        parts.append(
            f"temperature {_value(objective.temperature)}{', times t²' if objective.temperature_squared else ''}"
        )
    return ", ".join(parts)


def _value(value: float | Schedule) -> str:
    return f"{value:g}" if isinstance(value, float) else value.schedule
