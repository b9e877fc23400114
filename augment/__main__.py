"""python -m augment --task SST-2: writes train_aug.tsv beside train.tsv; of tokens and spans, train_aug.jsonl."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from augment.candidate_options import PRECISIONS, CandidateOptions
from augment.settings import Counts, Settings, Shard
from glue_tasks import TASKS, Task, UserError
from glue_tasks.command_line import Version, run_app
from glue_tasks.errors import check_memory_limit, exit_on_user_error
from glue_tasks.places import augmented_name, find_file, find_folder
from glue_tasks.rows import in_words

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def augment(
    data_dir: Annotated[
        Path, typer.Option(help="The folder that holds <task>/train.tsv in the official layout.", metavar="DIR")
    ],
    mlm: Annotated[
        str,
        typer.Option(
            help="The masked LM that proposes replacements: a folder, or a hub id such as bert-base-uncased.",
            metavar="MODEL",
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(t.name for t in TASKS.values() if 'train' in t.files)}.", show_default=False
        ),
    ] = None,
    task_file: Annotated[
        Path | None, typer.Option(help="TOML file of a task of your own, instead of --task.", metavar="FILE")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(
            "--vectors",
            "--glove",
            help="Word vectors in GloVe's or word2vec's text format, for the words that the model splits into pieces.",
            metavar="FILE",
        ),
    ] = None,
    variants: Annotated[
        int | None, typer.Option("--N", help="Variants drawn for each text of a row. Default: the task's.")
    ] = None,
    candidates: Annotated[int, typer.Option("--M", help="Replacements considered for each word.")] = 15,
    probability: Annotated[float, typer.Option("--p", help="Probability of each word to be replaced.")] = 0.4,
    swap_entities: Annotated[
        bool,
        typer.Option(
            "--swap-entities",
            help="Of tokens with tags: replace entities too, with the same probability, each by another of its type "
            "from the train file.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the draw; each row has its own, derived from it.")] = 42,
    limit: Annotated[int | None, typer.Option(help="Take the first so many rows. Default: all.")] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave out rows that cannot be read, and say how many and which.")
    ] = False,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            help="Write <task>/train_aug.tsv or .jsonl below this folder. Default: beside the train file.",
            metavar="DIR",
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            help="Masked sentences the model sees at once; the output does not depend on it but for rounding in bf16."
        ),
    ] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(PRECISIONS)}. auto is bf16 where the hardware has it, fp16 on older GPUs. int8 is for "
            "x86 CPUs: faster, needs a C++ compiler, and changes more candidates."
        ),
    ] = "auto",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Run the masked LM by torch.compile; it takes half a minute first, and a C++ compiler."
        ),
    ] = False,
    vectors_limit: Annotated[
        int | None,
        typer.Option(
            help="Take neighbours from the first so many words of the vectors alone: such files are sorted by "
            "frequency, and rare words make rough neighbours. Default: all."
        ),
    ] = None,
    multi_piece_words: Annotated[
        str | None,
        typer.Option(
            "--multi-piece-words",
            help="Who answers for words that the model splits into pieces: vectors, as in the paper; mask, the model "
            "with one mask for the word, which fits the sentence better than rough vectors do; fill, the model with a "
            "mask for each piece; or several in their order, such as vectors,fill. Default: vectors; vectors,fill in "
            "Chinese.",
            metavar="NAMES",
        ),
    ] = None,
    several_pieces: Annotated[str | None, typer.Option("--several-pieces", hidden=True)] = None,  # its former name
    masking: Annotated[
        str,
        typer.Option(
            help="exact: each word is masked by itself. joint: all words of a sentence at once, three times as fast, "
            "with other candidates.",
            metavar="exact|joint",
        ),
    ] = "exact",
    stop_words: Annotated[
        Path | None,
        typer.Option(
            help="Words or phrases never to be touched, one a line, instead of the built-in list.", metavar="FILE"
        ),
    ] = None,
    keep_label_words: Annotated[
        Path | None,
        typer.Option(
            help="More words or phrases never to be touched, one a line: those a label hangs on.", metavar="FILE"
        ),
    ] = None,
    letters_only: Annotated[
        bool, typer.Option(help="Replace words of letters alone, or also those with digits.")
    ] = True,
    exactly_m: Annotated[
        bool,
        typer.Option(
            "--exactly-m",
            help="Take M candidates after leaving out what is no content word; the original code takes them before.",
        ),
    ] = False,
    beam: Annotated[int, typer.Option(help="Width of the search of fill.")] = 4,
    block_rows: Annotated[
        int, typer.Option(help="Rows done and written at a time: what a kill costs at most, and --resume keeps.")
    ] = 512,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Do one part of the blocks, such as 3/16; `python -m augment merge` joins them. Under torchrun: the "
            "rank's.",
            metavar="i/n",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an output or an unfinished run that is there.")
    ] = False,
    show: Annotated[int, typer.Option(help="First print so many rows with three variants each.")] = 0,
    version: Version = False,
) -> None:
    """Augment a task's training rows as TinyBERT does (arXiv 1909.10351, Algorithm 1).

    Each word of a sentence that may be replaced gets up to M candidates: from a masked language model if it is one
    piece of the model's vocabulary, else its neighbours among word vectors. Then N variants are drawn, in which each
    such word is replaced with probability p. <task>/train_aug.tsv holds each row followed by its variants, with the
    columns of train.tsv; train_aug.json beside it holds settings, versions and counts. Of tagged tokens (named
    entities) words outside entities are replaced; of questions about contexts, words of either outside the answers,
    which move along: both are written to train_aug.jsonl.

    An interrupted run goes on with --resume. Shards are joined by `python -m augment merge --task ... --data-dir ...`.

    Example: python -m augment --task SST-2 --data-dir glue --mlm bert-base-uncased --vectors glove.6B.300d.txt
    """
    with exit_on_user_error():
        check_memory_limit()
        from augment.pipeline import augment_file  # seconds to import
        from glue_tasks.task_file import choose_task

        if resume and overwrite:
            raise UserError("--resume and --overwrite exclude each other")
        of_task = choose_task(task, task_file)
        settings = Settings(
            task=of_task,
            train_file=find_file(of_task, data_dir, "train"),
            output=_output(of_task, data_dir, output_dir),
            task_file=task_file,
            mlm=mlm,
            vectors=vectors,
            variants=of_task.variants if variants is None else variants,
            options=CandidateOptions(
                candidates=candidates,
                multi_piece_words=multi_piece_words or several_pieces,
                beam=beam,
                masking=masking,
                stop_words=stop_words,
                letters_only=letters_only,
                keep_words=keep_label_words,
                exactly_m=exactly_m,
                language=of_task.language,
                vectors_limit=vectors_limit,
            ),
            probability=probability,
            swap_entities=swap_entities,
            seed=seed,
            limit=limit,
            skip_bad_rows=skip_bad_rows,
            batch_size=batch_size,
            device=_device(device),
            precision=precision,
            compiled=compiled,
            block_rows=block_rows,
        )
        part = Shard.parse(shard) if shard else _rank()
        counts = augment_file(settings, resume=resume, overwrite=overwrite, show=show, shard=part)
        print(_summary(f"shard {part.number}/{part.of}" if part else settings.output, counts))


merge_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@merge_app.command()
def merge(
    data_dir: Annotated[Path, typer.Option(help="The --data-dir of the shards.", metavar="DIR")],
    task: Annotated[str | None, typer.Option(help="Their --task.", show_default=False)] = None,
    task_file: Annotated[Path | None, typer.Option(help="Or their --task-file.", metavar="FILE")] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Their --output-dir, if they had one.", metavar="DIR")] = None,
) -> None:
    """Join what the shards of an augmentation have written to <task>/train_aug.tsv or .jsonl, as one run would have.

    Example: python -m augment merge --task SST-2 --data-dir glue
    """
    with exit_on_user_error():
        from augment.pipeline import merge_file
        from glue_tasks.task_file import choose_task

        output = _output(choose_task(task, task_file), data_dir, output_dir)
        if output.exists():
            raise UserError(f"{output} is there already; remove it to merge anew")
        print(_summary(output, merge_file(output)))


def _output(task: Task, data_dir: Path, output_dir: Path | None) -> Path:
    """In the folder of the training file, unless another is named."""
    return (output_dir / task.name if output_dir else find_folder(task, data_dir)) / augmented_name(task)


def _rank() -> Shard | None:
    """The shard of this process if torchrun started it beside others."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    return Shard(int(os.environ["RANK"]) + 1, world) if world > 1 else None


def _device(name: str) -> str:
    """Under torchrun each process of a machine takes a GPU of its own."""
    import torch

    if name == "auto" and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return name


def _summary(written: Path | str, counts: Counts) -> str:
    def share(part: int) -> str:
        return f"{part:,} ({part / max(counts.replaceable, 1):.0%})"

    lines = [
        f"{written}: {counts.rows_out:,} rows from {counts.rows_in:,} "
        f"({counts.rows_out / max(counts.rows_in, 1):.1f} times), {counts.duplicates_dropped:,} duplicates dropped"
        + in_words({"skipped": counts.rows_skipped, "unscored": counts.rows_unscored, "torn": counts.rows_torn}),
        f"words: {counts.words:,}, of which {counts.replaceable:,} may be replaced: "
        f"{share(counts.answered_by_masked_lm)} by the masked LM, {share(counts.answered_by_vectors)} by word vectors, "
        + (f"{share(counts.answered_by_fill)} by filling, " if counts.answered_by_fill else "")
        + f"{share(counts.without_candidate)} have no candidate",
        f"time: {counts.seconds:,.1f} s, {counts.rows_per_second:,.1f} rows/s",
    ]
    if counts.sentences_windowed:
        lines.append(f"{counts.sentences_windowed:,} sentences are longer than the model, which saw a window of them")
    if counts.cells_cleaned:
        lines.append(f"{counts.cells_cleaned:,} cells held a tab or line break, which became a space")
    return "\n".join(lines)


def main(args: list[str] | None = None) -> None:
    """Run the command line; `args` stands in for sys.argv[1:]."""
    args = sys.argv[1:] if args is None else args
    if args[:1] == ["merge"]:
        run_app(merge_app, args[1:], "tinydistill-augment merge", "python -m augment merge")
    else:
        run_app(app, args, "tinydistill-augment", "python -m augment")


if __name__ == "__main__":
    main()
