"""What an option is: a field of a dataclass with its help, group, unit, range and more beside it (`About`)."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

# What an option's value has to do with the trained weights:
#   result    it decides them; a run with another value is another run
#   machine   it moves their last digits: an unfinished run keeps to it, a finished one does not ask
#   source    it names what is compared by its content, such as the digest of a model's weights
#   nothing   it does not change them
Decides = Literal["result", "machine", "source", "nothing"]


@dataclass(frozen=True)
class About:
    """What is known of an option besides its name, type and default."""

    help: str
    group: str = ""  # the panel of --help
    unit: str = ""  # what the number or text is, shown behind the flag
    choices: tuple[str, ...] = ()
    above: float | None = None  # values must be larger
    least: float | None = None
    most: float | None = None
    whole_from: float | None = None  # values from here on must be whole numbers
    decides: Decides = "result"
    serves: str = ""  # which phases use it, as `Phase.uses` calls them; "" is all
    strict: bool = False  # whether the flag is refused with a phase that does not use it
    needs: str = ""  # a flag without which this one means nothing
    flags: tuple[str, ...] = ()  # where they are not --its-name
    in_recipe: bool = True
    several: bool = False  # may be given several times; its value is then the texts with a comma between
    of_several_tasks: bool = False  # means something in a run of several tasks alone

    def check(self, name: str, value: Any) -> str:
        """What is wrong with a value, as a sentence, or ""."""
        if self.choices and value not in self.choices:
            return f"{name} is {value!r}; it can be {', '.join(self.choices)}"
        if self.above is not None and not value > self.above:
            return f"{name} is {value}; it must be more than {self.above:.10g}"
        if self.least is not None and not value >= self.least:
            return f"{name} is {value}; it must be {self.least:.10g} or more"
        if self.most is not None and not value <= self.most:
            return f"{name} is {value}; it must be {self.most:.10g} or less"
        if self.whole_from is not None and value >= self.whole_from and value % 1 != 0:
            return f"{name} is {value}; from {self.whole_from:.10g} on it must be a whole number of {self.unit}"
        return ""

    def range(self) -> str:
        """The values that are allowed, in words."""
        if self.choices:
            return ", ".join(f"`{choice}`" for choice in self.choices)
        lowest = (
            f"> {self.above:g}" if self.above is not None else f">= {self.least:g}" if self.least is not None else ""
        )
        highest = f"<= {self.most:g}" if self.most is not None else ""
        whole = f"whole from {self.whole_from:g}" if self.whole_from is not None else ""
        return ", ".join(part for part in (lowest, highest, whole) if part)


def option(default: Any, help: str, **about: Any) -> Any:
    """A field of a dataclass of options. `about`: the fields of About."""
    return dataclasses.field(default=default, metadata={"about": About(help, **about)})


def about(options: type | Any) -> Iterator[tuple[dataclasses.Field, About]]:
    """The fields of a dataclass of options, in their order."""
    for field in dataclasses.fields(options):
        yield field, field.metadata["about"]


COMMA = ", "  # between the texts of an option that may be given several times


_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)")


def split_name(text: str) -> tuple[str, str]:
    """The two parts of NAME=VALUE; "" and the text if it has no name."""
    named = _NAMED.fullmatch(text)
    return (named[1], named[2]) if named else ("", text)


def names_in(text: str) -> tuple[str, ...]:
    """The texts of an option that may be given several times."""
    return tuple(part.strip() for part in text.split(COMMA.strip()) if part.strip())
