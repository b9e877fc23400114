"""The commands that bring a model to where it serves: export and latency."""

from pathlib import Path
from typing import Annotated

import typer

from glue_tasks.errors import UserError, check_memory_limit, exit_on_user_error


@exit_on_user_error(resumable=False)
def export(
    model: Annotated[str, typer.Option(help="Fine-tuned or distilled model, or an encoder: a folder or a hub id.")],
    output: Annotated[Path, typer.Option(help="The folder to write; each format has a folder below it.")],
    formats: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME]",
            help="`onnx`: float32; `onnx-int8`: weights in 8 bits by output channel, inputs quantised as they come.",
        ),
    ] = "onnx",
    task: Annotated[
        str | None,
        typer.Option(help="Compare the formats on the dev set of this task; needs --data-dir.", show_default=False),
    ] = None,
    task_file: Annotated[
        Path | None, typer.Option(help="TOML file of a task of your own, instead of --task.", show_default=False)
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="The folder that holds TASK/dev.tsv and so on.", show_default=False)
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Word pieces of dev's rows. Default: what the model was trained with, or the task's.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples of one forward pass on dev.")] = 64,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace exports that are there.")] = False,
) -> None:
    """Export a model to ONNX, for ONNX Runtime: OUTPUT/onnx and OUTPUT/onnx-int8, each a folder that stands alone.

    A folder has the graph (`model.onnx`, for any number of sentences and of pieces), the tokenizer, the configuration,
    and `export.json`, which says how it was made. All heads can be exported: sentences, pairs, values, several labels,
    tokens, spans, masked language models, and encoders without a head. `predict` and `latency` take the folders. Needs
    the extra: pip install "tinydistill[onnx]".

    With --task and --data-dir the formats are compared with the model on dev: the largest difference of a logit, the
    share of equal predictions, each metric, and latency; a main metric that falls by more than 0.5 points is told.

    Example: python -m tinydistill export --model runs/sst2/prediction --formats onnx,onnx-int8 --task SST-2 --data-dir
    glue --output serve/sst2
    """
    from glue_tasks.task_file import choose_task

    check_memory_limit()
    chosen = choose_task(task, task_file) if task or task_file else None
    if (chosen is None) != (data_dir is None):
        raise UserError("the formats are compared on the dev set of --task in --data-dir; give both, or neither")
    from tinydistill.encoders.pretrained import quiet  # seconds to import
    from tinydistill.export import exported
    from tinydistill.parity import compare, lines_of

    with quiet(), exported(model, output, _names(formats), overwrite) as made:
        if chosen and data_dir:
            folders = {each: folder for each, (folder, _) in made.items()}
            found = compare(chosen, model, folders, data_dir, max_length or 0, batch_size)
            for each, (_, record) in made.items():
                record["parity"] = {"task": chosen.name, **found[each]}
            print("\n".join(lines_of(found)))
    for each, (_, record) in made.items():
        print(f"{each}: {output / each} ({record['bytes'] / 1e6:.1f} MB, opset {record['opset']})")
        if warning := record.get("parity", {}).get("warning"):
            print(f"warning: {warning}")


@exit_on_user_error(resumable=False)
def latency(
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL [MODEL]...",
            help="Folders or hub ids of models, folders of `export`, and shapes with random weights by name: "
            "`bert-base`, `tinybert-4l-312d` and others of `python -m tinydistill shapes`, or `shape:layers=3,...`. "
            "`MODEL@onnx` and `MODEL@onnx-int8` are exported for the measurement.",
            show_default=False,
        ),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", show_default=False, hidden=True)] = None,
    batch_sizes: Annotated[str, typer.Option(metavar="N[,N]", help="Sentences of one forward pass.")] = "1,8,32",
    lengths: Annotated[str, typer.Option(metavar="N[,N]", help="Word pieces of every sentence.")] = "16,64,128",
    threads: Annotated[str, typer.Option(metavar="N[,N]", help="Threads of one forward pass.")] = "1,2",
    layout: Annotated[str, typer.Option("--format", help="`text`, `markdown`, `csv` or `json`.")] = "text",
) -> None:
    """Measure how long models take, side by side: median and 95th percentile, of a batch and of a sentence.

    All are measured in one run and in turns, on the CPU: torch in float32, and ONNX Runtime. "faster" is by the median,
    against the first model. Each setting takes a second, or five passes of each model if they take longer.

    Example: python -m tinydistill latency --models bert-base tinybert-4l-312d tinybert-4l-312d@onnx-int8 --batch-sizes
    1,32 --lengths 128 --threads 1
    """
    check_memory_limit()
    settings = [_numbers("--batch-sizes", batch_sizes), _numbers("--lengths", lengths), _numbers("--threads", threads)]
    from tinydistill.encoders.pretrained import quiet  # seconds to import
    from tinydistill.latency_table import LAYOUTS, laid_out, measure

    if layout not in LAYOUTS:
        raise UserError(f"--format is {layout!r}; it can be {', '.join(LAYOUTS)}")
    with quiet():
        print(laid_out(measure([*(models or []), *(more or [])], *settings), layout))


@exit_on_user_error(resumable=False)
def serve(
    model: Annotated[str, typer.Option(help="Classifier or regression: a folder, one of `export`, or a hub id.")],
    host: Annotated[str, typer.Option(help="Address; 0.0.0.0 is all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8000,
    task: Annotated[
        str | None, typer.Option(help="Task whose labels they are. Default: the model's own.", show_default=False)
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=1, help="Word pieces of a row. Default: what the model was trained with.", show_default=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of one forward pass, of any requests.")] = 32,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of a forward pass. Default: PyTorch's.", show_default=False)
    ] = None,
    precision: Annotated[str, typer.Option(help="`bf16`, `fp16`, `float32`, or `auto`.")] = "auto",
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of one request.")] = 256,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of one request.")] = 1 << 20,
    max_waiting: Annotated[int, typer.Option(min=1, help="Rows of all requests that wait.")] = 4_096,
) -> None:
    """Serve a model over HTTP: POST /predict, GET /health, GET /metrics (Prometheus), and a page at / to try it.

    `{"text": "..."}`, with `text_pair` for a pair, or `{"rows": [{"text": "..."}, ...]}` gives
    `{"predictions": [...]}`. Rows that come while the model is at work share its next pass. Requests that are wrong or
    too large are answered 4xx with a sentence in `detail`, those that are too many 503. Ctrl-C or SIGTERM answers what
    waits and ends. Needs the extra: pip install "tinydistill[serve]".

    Example: python -m tinydistill serve --model runs/sst2/prediction, then curl -H "content-type: application/json" -d
    '{"text": "a fine film"}' localhost:8000/predict
    """
    from glue_tasks.task_file import choose_task

    check_memory_limit()
    from tinydistill.extras import import_extra

    import_extra("serve", "uvicorn", "fastapi", "prometheus_client")
    from tinydistill.serving.server import listen, serve_app

    if precision not in ("auto", "bf16", "fp16", "float32"):
        raise UserError(f"--precision is {precision!r}; it can be auto, bf16, fp16 or float32")
    listening = listen(host, port)  # told before the model is loaded
    chosen = choose_task(task, None) if task else None
    import torch

    from tinydistill.encoders.pretrained import quiet
    from tinydistill.lines import LineReader
    from tinydistill.serving.app import Limits, create_app

    if threads:
        torch.set_num_threads(threads)
    with quiet():
        reader = LineReader(model, chosen, max_length or 0, batch_size, precision)
    for note in reader.notes:
        print(f"note: {note}")
    limits = Limits(max_body, max_rows, waiting=max_waiting)
    serve_app(lambda: create_app(reader, model, batch_size, limits), listening)


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(flag: str, text: str) -> list[int]:
    """Raises UserError unless they are whole numbers above 0 with commas between."""
    parts = _names(text)
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"{flag} is {text!r}; give whole numbers above 0 with commas between, such as 1,8,32")
    return [int(part) for part in parts]
