"""python -m tinydistill: use the models that `run_tinybert.py` makes."""

from pathlib import Path
from typing import Annotated

import typer

from glue_tasks.command_line import Version, run_app
from glue_tasks.errors import UserError, check_memory_limit, exit_on_user_error
from tinydistill import serving_commands

app = typer.Typer(
    help="Use the models that run_tinybert.py makes.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.callback()
def commands(version: Version = False) -> None:
    """Use the models that run_tinybert.py makes."""


@app.command("options")
def options() -> None:
    """Print the table of all options of a run (docs/options.md), as Markdown."""
    from tinydistill.flags import to_markdown

    print(to_markdown(), end="")


@app.command("objectives")
def objectives() -> None:
    """List the losses with their formulas and sources, the presets and the schedules."""
    from tinydistill.objective_list import listing

    print("\n".join(listing()))


@app.command("shapes")
def shapes() -> None:
    """List the shapes of students that have a name, with their sizes, parameters and sources."""
    from tinydistill.shapes import listing

    print("\n".join(listing()))


@app.command("from-textbrewer")
@exit_on_user_error(resumable=False)
def from_textbrewer(
    config: Annotated[Path, typer.Argument(help="JSON of a DistillationConfig of TextBrewer.")],
    phase: Annotated[str, typer.Option(help="The phase whose objectives they become.")] = "prediction",
) -> None:
    """Print TextBrewer's settings as a part of a recipe, with notes on what differs."""
    from tinydistill.textbrewer import from_textbrewer as read

    print(read(config).to_toml(phase), end="")


@app.command("convert")
@exit_on_user_error(resumable=False)
def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="What its files begin with (`mobilebert.ckpt`), one of them, or a folder with one checkpoint.",
        ),
    ],
    config: Annotated[Path, typer.Option(help="The model's JSON for TensorFlow, such as bert_config.json.")],
    output: Annotated[Path, typer.Option(help="The folder to write.")],
    vocab: Annotated[
        Path | None,
        typer.Option(help="vocab.txt of its tokenizer. Default: the one beside the checkpoint.", show_default=False),
    ] = None,
    lower_case: Annotated[
        bool | None,
        typer.Option(
            "--lower-case/--keep-case",
            help="Whether the tokenizer takes capitals and accents away; Chinese models do. Default: as the JSON says "
            "(do_lower_case), or as the vocabulary looks.",
            show_default=False,
        ),
    ] = None,
    keep_padding_row: Annotated[
        bool,
        typer.Option(
            "--keep-padding-row",
            help="Of MobileBERT: keep the word embedding of padding. It is set to zero otherwise, since each token "
            "reads its neighbours' embeddings, and outputs would depend on padding; phases zero it when they "
            "load it.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model that is there.")] = False,
) -> None:
    """Convert a TensorFlow 1 checkpoint of BERT or MobileBERT to a transformers folder; TensorFlow is not needed.

    The folder has the heads that the checkpoint has: a task's (`run_classifier.py`, `run_squad.py`), those of
    pretraining, or none. The optimiser's slots and a teacher saved beside the model are left out; every variable that
    is not used is told, and a shape that does not fit, a missing variable or a damaged file is an error. Google's
    models and the Chinese ones of the same code are read, such as RoBERTa-wwm-ext and Chinese MobileBERT.

    Example: python -m tinydistill convert chinese_mobilebert_base_f2/mobilebert.ckpt --config
    chinese_mobilebert_base_f2/config.json --vocab vocab.txt --output models/mobilebert-base-f2
    """
    check_memory_limit()
    from tinydistill.convert.converting import convert as write  # seconds to import

    made = write(
        checkpoint,
        config,
        output,
        vocab=vocab,
        lower_case=lower_case,
        keep_padding_row=keep_padding_row,
        overwrite=overwrite,
    )
    print(
        f"{made.folder}: {made.architecture} of {made.layers} layers, {made.parameters:,} parameters, from "
        f"{made.variables:,} variables"
    )
    for what in made.left_out:
        print(f"not used: {what}")
    for note in made.notes:
        print(f"note: {note}")


@app.command("predict")
@exit_on_user_error(resumable=False)
def predict(
    model: Annotated[
        str,
        typer.Option(
            help="Fine-tuned or distilled model: a folder, one that `python -m tinydistill export` wrote, or a hub id."
        ),
    ],
    sentences: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SENTENCE]...",
            help="Label these sentences; a pair has a tab between its texts. Without them, or with --input -, lines "
            "are read from standard input.",
            show_default=False,
        ),
    ] = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", help="Label the lines of this file instead; `-` is standard input.", show_default=False
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option("--format", help="Of labelled lines: `tsv`, a label and its probability, or `jsonl`."),
    ] = "tsv",
    data_dir: Annotated[
        Path | None, typer.Option(help="The folder that holds TASK/test.tsv and so on.", show_default=False)
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Name of the task; `python -m glue_tasks list` shows them.", show_default=False)
    ] = None,
    task_file: Annotated[
        Path | None, typer.Option(help="TOML file of a task of your own, instead of --task.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="`test`, `dev` or another split of the task.")] = "test",
    output: Annotated[
        Path | None,
        typer.Option(
            help="A file (a name with an ending), or a folder for files of the names that the benchmark's server "
            "accepts. Default: the current folder; of labelled lines, standard output.",
            show_default=False,
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            min=1, help="Word pieces. Default: what the model was trained with, or the task's.", show_default=False
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples of one forward pass.")] = 64,
    precision: Annotated[
        str,
        typer.Option(help="`bf16`, `fp16`, `float32`, or `auto`: the fastest that the hardware has."),
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over predictions that are there.")] = False,
    doc_stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Word pieces by which the windows of a long text advance, of questions. Default: as in training.",
            show_default=False,
        ),
    ] = None,
    n_best: Annotated[
        int, typer.Option(min=0, help="Of questions: write so many answers to each besides, with their probabilities.")
    ] = 0,
    question: Annotated[
        str | None, typer.Option(help="Answer this question about --text instead.", show_default=False)
    ] = None,
    text: Annotated[Path | None, typer.Option(help="The file that --question is about.", show_default=False)] = None,
) -> None:
    """Write a model's predictions for a split, as the benchmarks' servers and scripts take them.

    GLUE: a TSV of index and prediction; MNLI's test writes both of its files. CLUE: JSON lines of id and label. Other
    sentences: a TSV of index, prediction and probabilities. Questions: SQuAD's JSON of ids and texts. Tokens: a token
    and its tag a line, and JSON lines of each sentence's entities with their places in its text. A split with labels
    is scored besides.

    Example: python -m tinydistill predict --model runs/sst2/prediction --task SST-2 --data-dir glue

    Sentences that are given, or lines of a file or of standard input, are labelled as they come, a label and its
    probability a line, in their order and in bounded memory: echo "what a film" | python -m tinydistill predict
    --model runs/sst2/prediction

    With --question and --text, print the answer to one question: python -m tinydistill predict --model
    runs/squad/prediction --question "Who wrote it?" --text page.txt
    """
    from glue_tasks.task_file import choose_task

    check_memory_limit()
    if precision not in ("auto", "bf16", "fp16", "float32"):
        raise UserError(f"--precision is {precision!r}; it can be auto, bf16, fp16 or float32")

    if (question is None) != (text is None):
        raise UserError("--question is about the file of --text; give both, or neither")
    from tinydistill.encoders.pretrained import quiet  # seconds to import

    sizes = (max_length or 0, doc_stride or 0, batch_size, precision)
    if question is not None and text is not None:
        from tinydistill.answer import answer

        asked = choose_task(task, task_file) if task or task_file else None
        if asked and asked.kind != "spans":
            raise UserError(f"--question is answered by rules of reading comprehension, and {asked.name} has others")
        with quiet():
            for found in answer(model, question, text, asked, *sizes, n_best or 1):
                place = f"characters {found['start']} to {found['end']}" if "start" in found else "no answer"
                print(f"{found['text']}\t{place}, score {found['score']:.3f}, probability {found['probability']:.3f}")
        return
    if sentences or input_file or data_dir is None:
        from tinydistill.lines import label_lines

        if data_dir is not None:
            raise UserError("sentences come from --data-dir or from what is given beside it; give one of them")
        of = choose_task(task, task_file) if task or task_file else None
        with quiet():
            given = (model, of, max_length or 0, batch_size, precision)
            label_lines(sentences or [], input_file, output, overwrite, layout, *given)
        return
    if layout != "tsv":
        raise UserError("--format is for lines that are labelled; a split is written as its benchmark takes it")
    chosen = choose_task(task, task_file)
    from tinydistill.predict import write_predictions

    with quiet():
        for written in write_predictions(chosen, model, data_dir, split, output, overwrite, *sizes, n_best):
            cut = f" ({written.cut:,} cut at the maximum length)" if written.cut else ""
            print(f"{written.split}: {written.rows:,} predictions{cut} in {' and '.join(map(str, written.paths))}")
            for name, value in written.scores.items():
                print(f"{written.split}: {name} {value!r}")


app.command("export")(serving_commands.export)
app.command("latency")(serving_commands.latency)
app.command("serve")(serving_commands.serve)


@app.command("report")
@exit_on_user_error(resumable=False)
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, in which report.json lies.")],
) -> None:
    """Draw report.md and report.html of a run again, from its report.json; neither models nor data are needed.

    Example: python -m tinydistill report runs/sst2
    """
    from tinydistill.report.page import redraw

    for path in redraw(run):
        print(f"report: {path}")


@app.command("compare")
@exit_on_user_error(resumable=False)
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, each with its report.json.")],
    how: Annotated[str, typer.Option("--format", help="`text`, `markdown` or `csv`.")] = "text",
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write a page there too, with pictures of scores against sizes and latencies.", show_default=False
        ),
    ] = None,
) -> None:
    """Set the models of runs side by side: the settings in which they differ, scores, sizes and latencies.

    Latencies were measured in each run by itself, and say little across runs; `latency` measures models at once.

    Example: python -m tinydistill compare runs/sst2-seed1 runs/sst2-seed2 --html comparison.html
    """
    from tinydistill.report.comparing import read_runs, to_table, write_page

    models = read_runs(runs)
    print(to_table(models, how))
    if html is not None:
        write_page(models, html)
        if how == "text":
            print(f"\npage: {html}")


@app.command("parameters")
@exit_on_user_error(resumable=False)
def parameters(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder or a hub id.")],
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Another one to compare, or the form of a student of the first: `tinybert-4l-312d`, "
            "`init:layers=3`, `shape:layers=3,hidden=312,heads=12,ffn=1200`.",
            show_default=False,
        ),
    ] = None,
    depth: Annotated[int, typer.Option(metavar="N", help="How many levels of modules are shown.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Count the parameters of a model, module by module, or of two, such as a teacher and its student.

    Shared weights, such as tied embeddings, are counted once; buffers are named apart. MB are millions of bytes at the
    dtype that the weights have on disk. No weights are loaded or downloaded.

    Example: python -m tinydistill parameters runs/sst2/teacher runs/sst2/prediction
    """
    import json

    from tinydistill import parameter_table  # seconds to import
    from tinydistill.parameters import as_json as to_json
    from tinydistill.parameters import trees

    told = trees(model, second or "", depth)
    if as_json:
        print(json.dumps(to_json(told), indent=2, ensure_ascii=False))
    else:
        parameter_table.show(told)


def main(args: list[str] | None = None) -> None:
    """Run the command line; `args` stands in for sys.argv[1:]."""
    run_app(app, args, "tinydistill", "python -m tinydistill")


if __name__ == "__main__":
    main()
