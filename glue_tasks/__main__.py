"""python -m glue_tasks: which tasks there are, what is in their files, and the files themselves."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from glue_tasks import TASKS, Task, get_task
from glue_tasks.command_line import Version, run_app
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import Table as CellTable
from glue_tasks.files import open_table
from glue_tasks.places import find_file, present_splits
from glue_tasks.rows import in_words

_WIDE = 240  # characters of a line of `list` where it is not shown on a terminal: each task has one line
app = typer.Typer(
    help="Which tasks there are, what is in their files, and the files themselves.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",  # wraps paragraphs, and leaves [CLS] as it is
)


@app.callback()
def commands(version: Version = False) -> None:
    """Which tasks there are, what is in their files, and the files themselves."""


@app.command("list")
@exit_on_user_error(resumable=False)
def list_tasks() -> None:
    """List the tasks, English ones and Chinese ones: kind, metrics, maximum length, and how they are trained.

    Epochs and learning rates are those of the teacher, the intermediate and the prediction phase; N is the number of
    variants of each sentence. The first metric selects the best checkpoint. Maximum length counts word pieces.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    for language in dict.fromkeys(task.language for task in TASKS.values()):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("task", "language", "kind", "metrics", "max length", "epochs", "learning rates", "N"):
            table.add_column(name, no_wrap=True)
        table.add_column("what it asks", overflow="fold")
        for task in TASKS.values():
            if task.language == language:
                table.add_row(*map(escape, _figures(task)))
        if language != "en":
            console.print()
        console.print(table)


def _figures(task: Task) -> tuple[str, ...]:
    """A task's row of `list`; one that only evaluates has no figures of training."""
    rates = (task.teacher_learning_rate, task.intermediate_learning_rate, task.prediction_learning_rate)
    is_trained = "train" in task.files
    return (
        task.name,
        task.language,
        _kind(task),
        ", ".join(task.metrics),
        str(task.max_length),
        f"{task.teacher_epochs} + {task.intermediate_epochs} + {task.prediction_epochs}" if is_trained else "",
        ", ".join(f"{rate:.0e}".replace("e-0", "e-") for rate in rates) if is_trained else "",
        str(task.variants) if is_trained else "",
        task.summary,
    )


@app.command("show")
@exit_on_user_error(resumable=False)
def show(
    data_dir: Annotated[
        Path, typer.Option(help="The folder that holds TASK/train.tsv, .csv, .json, .parquet and so on.")
    ],
    name: Annotated[
        str | None,
        typer.Argument(metavar="TASK", help="Its name, such as SST-2; `list` shows all.", show_default=False),
    ] = None,
    task_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A task of your own instead, described in TOML.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="One split, such as train or dev; without it, all present.")] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A model folder or hub name: count lengths in its word pieces too."),
    ] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave out rows that cannot be read, and say how many and which.")
    ] = False,
) -> None:
    """Show what is understood of a task's files: format and columns, rows, label balance, lengths, three examples.

    Lengths are in words (split at white space; both sentences of a pair together), in Chinese in characters, and, with
    --tokenizer, in word pieces ([CLS] and [SEP] included), with the number of rows that the task's maximum length cuts
    short.

    Example: python -m glue_tasks show SST-2 --data-dir data/glue --tokenizer bert-base-uncased
    """
    from glue_tasks import describe
    from glue_tasks.describe_rows import lines_of_rows
    from glue_tasks.task_file import choose_task

    task = choose_task(name, task_file)
    # find_file says what is missing when nothing is there.
    splits = [split] if split else present_splits(task, data_dir) or list(task.files)[:1]
    paths = {each: find_file(task, data_dir, each) for each in splits}
    count_pieces = describe.piece_counter(tokenizer, task.kind == "tokens") if tokenizer else None

    typer.echo(f"{task.name}: {task.summary}\n{_kind(task)}; scored by {', '.join(task.metrics)}")
    for line in describe.labels_of(task):
        typer.echo(line)
    for each, path in paths.items():
        table = open_table(task, path, each, skip_bad_rows, needs_labels=False)
        if isinstance(table, CellTable):
            found = list(describe.lines_of_table(table, count_pieces))
        else:
            found = list(lines_of_rows(table, count_pieces))
        what = {"tokens": "sentences", "spans": "questions"}.get(task.kind, "rows")
        typer.echo(f"\n{each}: {table.tally.rows:,} {what} in {path}{in_words(table.tally.left_out())}")
        for line in found:
            typer.echo(line)


@app.command("download")
@exit_on_user_error(resumable=False)
def download(
    task: Annotated[str, typer.Option(metavar="NAME|all", help="A task, such as SST-2, or all that the hub has.")],
    data_dir: Annotated[Path, typer.Option(help="Where TASK/train.parquet and so on are written.")] = Path("data"),
    source: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A local clone of the task's repository, or a folder of OWNER/NAME clones."),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline", envvar="HF_DATASETS_OFFLINE", help="Use what the hub's cache has; as HF_HUB_OFFLINE=1."
        ),
    ] = False,
    format: Annotated[
        Literal["parquet", "tsv"],
        typer.Option("--as", help="The hub's Parquet as it is, or text: tables with tabs, in CLUE JSON lines."),
    ] = "parquet",
) -> None:
    """Write a task's files, from the hub, its cache or a local clone.

    They are the hub's Parquet files, with its names of columns and labels, which all commands read. Files that are
    there are left alone. Rows, columns and labels are checked before anything is written. HF_ENDPOINT names a mirror,
    HF_HUB_CACHE another cache. With `all`, a task that fails does not stop the others.

    Example: python -m glue_tasks download --task SST-2 --data-dir data/glue
    """
    from glue_tasks import hub

    tasks = [each for each in TASKS.values() if each.hub is not None] if task == "all" else [get_task(task)]
    hub.download(tasks, data_dir, source, offline, typer.echo, format)


def _kind(task: Task) -> str:
    if task.kind == "tokens":
        return f"tokens, {len(task.entity_types)} types"
    if task.kind == "spans":
        return "spans, or no answer" if task.may_lack_answer else "spans"
    inputs = "pair" if len(task.text_columns) == 2 else "sentence"
    if task.is_multi_label:
        return f"{inputs}, any of {task.num_labels} labels"
    return f"{inputs}, value" if task.is_regression else f"{inputs}, {task.num_labels} classes"


def main(args: list[str] | None = None) -> None:
    """Run the command line; `args` stands in for sys.argv[1:]."""
    run_app(app, args, "tinydistill-tasks", "python -m glue_tasks")


if __name__ == "__main__":
    main()
