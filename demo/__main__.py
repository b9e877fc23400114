"""`python -m demo`: the whole toolkit on a made-up task, in minutes, without a network."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from demo.commands import preparations, students
from demo.grammar import write_data, write_few
from demo.sizes import FULL, QUICK, Sizes
from glue_tasks import UserError, get_task
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from glue_tasks.writers import write_json

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    output_dir: Annotated[Path, typer.Option(help="Where everything goes.", metavar="DIR")] = Path("demo-run"),
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: every step in seconds, nothing learnt.")] = False,
) -> None:
    """Write reviews by a grammar, pretrain a small BERT on them, and distil a smaller one by the usual commands.

    Run again, it goes on where it was.
    """
    with exit_on_user_error(resumable=False):  # it goes on by itself
        _run(output_dir, QUICK if quick else FULL)


def _run(output: Path, sizes: Sizes) -> None:
    # Seconds to import
    from demo import comparison
    from demo.pretrain import pretrain
    from demo.side_by_side import run_side_by_side

    started = time.perf_counter()
    _claim(output, sizes)
    data_dir, few_dir = output / "data", output / "few"

    print(f"1. Reviews by a grammar, with labels by its rules: {data_dir}")
    corpus = write_data(data_dir, sizes.train_reviews, sizes.dev_reviews, sizes.unlabelled_reviews)
    write_few(data_dir, few_dir, sizes.few_reviews)
    task = get_task("demo")
    train, dev = (open_table(task, find_file(task, data_dir, split), split) for split in ("train", "dev"))
    for row, _ in zip(train, range(4), strict=False):
        print(f"   {task.labels[cast(int, row.label)]:>8}: {row.texts[0]}")
    bag_of_words = comparison.bag_of_words_accuracy(train, dev)
    print(f"   words alone do not tell: a bag of words reaches {bag_of_words:.1%} on dev")

    print("\n2. What a task usually downloads, made on the spot: a masked LM and word vectors")
    learnt = pretrain(corpus, output, sizes.masked_lm, sizes.vector_size, sizes.vector_epochs)
    print(
        f"   masked LM: loss {learnt.loss_before:.2f} -> {learnt.loss:.2f}, {learnt.accuracy:.0%} of masked pieces of "
        f"unseen reviews guessed, in {learnt.seconds:.0f} s"
    )

    print("\n3. The commands that any task takes: a teacher, and variants of a few sentences")
    for command in preparations(output, sizes):
        print(f"\n$ {command}", flush=True)
        if command.is_done:
            print(f"done already: {command.makes}")
        else:
            command.run()

    print(f"\n4. Students; those with a teacher make do with {sizes.few_reviews:,} reviews: {few_dir}")
    run_side_by_side(list(students(output, sizes)), output / "logs")

    entries = comparison.compare(output, sizes, bag_of_words)
    comparison.write(output, sizes, entries, {"masked_lm": asdict(learnt)})
    print(f"\n{_aligned(comparison.table(entries))}\n\n{comparison.note(sizes)}")
    print(f"\n{output / 'demo.md'}, {output / 'demo.json'}: the table; {time.perf_counter() - started:.0f} s in all")


def _claim(output: Path, sizes: Sizes) -> None:
    """Note the sizes in the folder, so that steps of a demo of other sizes are not taken for its own."""
    record = output / "sizes.json"
    given: dict[str, Any] = json.loads(json.dumps(asdict(sizes)))
    if not record.exists():
        write_json(record, given)
    elif json.loads(record.read_text(encoding="utf-8")) != given:
        raise UserError(f"{output} holds a demo of other sizes; name another folder with --output-dir, or remove it")


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


if __name__ == "__main__":
    app(prog_name="python -m demo")
