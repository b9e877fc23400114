"""What all commands share: --version, shell completion, and how they were called."""

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

import typer

from glue_tasks.version import __version__

# The command line of the program, for its records; "" where Python called it otherwise.
COMMAND: ContextVar[str] = ContextVar("command", default="")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"tinydistill {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]


def run_app(app: typer.Typer, args: list[str] | None, console_command: str, otherwise: str) -> None:
    """Run an app as typer would, under the name that the user typed: of the installed command, or `otherwise`.

    --install-completion and --show-completion work, but take no room in --help. Ends in SystemExit, as typer does.
    """
    command = typer.main.get_command(app)
    for parameter in command.params:
        if parameter.name in ("install_completion", "show_completion"):
            parameter.hidden = True  # type: ignore[attr-defined]  # of options, which these are
    is_installed = Path(sys.argv[0]).stem == console_command.partition(" ")[0]
    name = console_command if is_installed else otherwise
    called = COMMAND.set(_typed(name, sys.argv[1:] if args is None else args))
    try:
        command(args, prog_name=name)
    finally:
        COMMAND.reset(called)


def _typed(name: str, args: list[str]) -> str:
    """The command line as text, for a record that is UTF-8 whatever files are called."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    python = ["python"] if processes == 1 else ["torchrun", "--nproc-per-node", str(processes)]
    typed = shlex.join([*(python if name.endswith(".py") else ()), *name.split(), *args])
    return typed.encode("utf-8", "backslashreplace").decode()


@contextlib.contextmanager
def first_process_speaks() -> Iterator[None]:
    """Of several processes (torchrun names their ranks) only the first one writes to the terminal."""
    with contextlib.ExitStack() as silence:
        if int(os.environ.get("RANK", "0")) > 0:
            nowhere = silence.enter_context(open(os.devnull, "w"))
            silence.enter_context(contextlib.redirect_stdout(nowhere))
            silence.enter_context(contextlib.redirect_stderr(nowhere))
        yield


@contextlib.contextmanager
def spoken(log_format: str, quiet: bool) -> Iterator[None]:
    """What a run says goes to standard output; of `json` to standard error, beside its lines; of a quiet run nowhere.

    Errors are raised, and told by whoever catches them.
    """
    with contextlib.ExitStack() as changed:
        if quiet:
            nowhere = changed.enter_context(open(os.devnull, "w", encoding="utf-8"))
            changed.enter_context(contextlib.redirect_stdout(nowhere))
            changed.enter_context(contextlib.redirect_stderr(nowhere))
        elif log_format == "json":
            changed.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield
