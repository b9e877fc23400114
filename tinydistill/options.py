"""Every option of a run, once: type, default, help, unit, range, the phases it serves, whether it decides the result.

From these fields are made the flags of the command line and their help (`flags.py`), the keys of a recipe and their
checks (`settings.py`), what `--dry-run` prints, what identifies a run and what `--resume` compares (`identity`), and
the table in docs/options.md. An option is added by adding a field.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from tinydistill.option_fields import about, names_in, option, split_name

TRAINING, DISTILLATION, AUGMENTATION, RUN = "Training", "Distillation", "Augmentation (--phase all)", "Run"
TEXT = "Plain text (--phase general)"
BY_DEV = "dev"  # of --teacher-weights: as far as each is above chance on dev

# Those of transformers that a number of steps is enough for. Others follow the dev score or need numbers of their own.
SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How one phase trains. Defaults: TinyBERT (arXiv 1909.10351)."""

    epochs: float = option(3.0, "Epochs of the phase.", unit="number", above=0, most=10_000)
    learning_rate: float = option(
        5e-5,
        "Learning rate of the phase.",
        unit="rate",
        above=0,
        most=1,  # AdamW moves each weight by about the learning rate in a step
    )
    schedule: str = option(
        "linear",
        "How the learning rate goes on after the warm-up: `linear` (to zero), `constant`, or another of transformers' "
        "schedules by its name.",
        unit="name",
        choices=SCHEDULES,
    )
    warmup: float = option(
        0.1,
        "Share of the steps in which the learning rate rises from zero, whatever the schedule.",
        unit="share",
        least=0,
        most=1,
    )


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be set for a run. Paths stay as the user wrote them; "" and 0 are what the help calls the default."""

    task: str = option(
        "",
        "Name of the task; `python -m glue_tasks list` shows them. Several may be given: one student body learns them "
        "all, with a head for each.",
        unit="name",
        several=True,
        serves="task",
        strict=True,
    )
    task_file: str = option(
        "",
        "TOML file that describes a task of your own; see docs/adding_a_task.md.",
        unit="file",
        decides="source",
        serves="task",
        strict=True,
    )
    data_dir: str = option(
        "",
        "Folder with a folder of files for each task, such as DIR/SST-2/train.tsv.",
        unit="folder",
        decides="source",
        serves="task",
        strict=True,
    )
    output_dir: str = option(
        "", "Folder of the run; each phase writes its model to a folder below it.", unit="folder", decides="nothing"
    )
    cache_dir: str = option(
        "",
        "Folder of encoded rows, tokenised text and teacher outputs, which other runs may share. Default: cache/ in "
        "the output folder.",
        unit="folder",
        decides="nothing",
    )
    teacher: tuple[str, ...] = option(
        (),
        "Fine-tuned model: a folder or a hub id. Default: the run's own teacher. Several may be given; NAME=MODEL "
        "names one, for objectives that ask for it; of several tasks TASK=MODEL is the task's own.",
        unit="model",
        decides="source",
        serves="student",
        strict=True,
    )
    student: str = option(
        "",
        "A folder, a hub id, `init:layers=3` (copies of teacher blocks), `init:layers=0,2,4` (of these, from 0), "
        "`init:layers=3,hidden=312` (the same, narrower), `tinybert-4l-312d` or another name that "
        "`python -m tinydistill shapes` lists, or `shape:layers=3,hidden=312,heads=12,ffn=1200` (fresh weights).",
        unit="model",
        decides="source",
        serves="student",
    )
    chain: str = option(
        "",
        "Instead of --student several, each of which teaches the next, in quotes: 'teacher>rbt6>minirbt-h256'. Each is "
        "what --student can be, or NAME=STUDENT, and lies in the folder of the one that teaches it.",
        unit="students",
        decides="nothing",
        serves="teacher",
        strict=True,
    )
    pretrained: str = option(
        "",
        "Pretrained model that --phase teacher fine-tunes: a folder or a hub id.",
        unit="model",
        decides="source",
        serves="pretrained",
        strict=True,
    )

    train_file: str = option(
        "",
        "Train on this file in the task's layout instead of its train file.",
        group=TRAINING,
        unit="file",
        decides="source",
        serves="task",
        strict=True,
    )
    extra_task: tuple[str, ...] = option(
        (),
        "Train on the train file of another task besides, of sentences, pairs, tokens or questions as this one's: a "
        "name, or a task file (TOML). Its gold labels count only in phases that learn from gold labels, and where they "
        "are this task's too. Several may be given.",
        group=TRAINING,
        unit="task",
        decides="source",
        serves="task",
        strict=True,
    )
    augmented: bool = option(
        False,
        "Train on the task folder's train_aug.tsv or .jsonl, which `python -m augment` writes.",
        group=TRAINING,
        decides="source",
        in_recipe=False,
        serves="task",
        strict=True,
    )
    skip_bad_rows: bool = option(
        False, "Leave out rows that cannot be read, and say how many and which.", group=TRAINING
    )
    max_steps: int = option(
        0,
        "Optimizer steps of each phase, instead of its epochs; the data are repeated as often as that takes.",
        group=TRAINING,
        unit="steps",
        least=0,
    )
    patience: int = option(
        0,
        "Stop a phase after so many evaluations in a row without a better dev score (of the task's main metric). "
        "Default: never.",
        group=TRAINING,
        unit="evaluations",
        least=0,
        serves="best",
        strict=True,
    )
    batch_size: int = option(32, "Examples of one forward pass. Default: 32.", group=TRAINING, unit="examples", above=0)
    accumulate: int = option(
        1, "Forward passes of one optimizer step. Default: 1.", group=TRAINING, unit="passes", above=0
    )
    max_length: int = option(
        0, "Word pieces of an example. Default: the task's, mostly 128.", group=TRAINING, unit="pieces", above=0
    )
    doc_stride: int = option(
        128,
        "Of questions about a long text: word pieces by which its windows advance. Default: 128.",
        group=TRAINING,
        unit="pieces",
        above=0,
        serves="task",
        strict=True,
    )
    task_sampling: float = option(
        1.0,
        "How often each of several tasks comes: by its number of rows to this power. 1 (default) is by the rows, 0 the "
        "same for each task.",
        group=TRAINING,
        unit="power",
        least=0,
        most=1,
        serves="student of a task",
        of_several_tasks=True,
    )
    padding: str = option(
        "longest",
        "`longest` (of the batch; default) or `max_length`.",
        group=TRAINING,
        choices=("longest", "max_length"),
    )
    weight_decay: float = option(
        0.01, "Default: 0.01, not on biases and layer norms.", group=TRAINING, unit="rate", least=0, most=1
    )
    max_grad_norm: float = option(
        1.0, "Gradients are clipped to this norm. Default: 1; 0 does not clip.", group=TRAINING, least=0, most=1e6
    )

    projection: str = option(
        "auto",
        "From the student's hidden states to the teacher's: `per-layer`, `shared` or `none`. Default: `none` where "
        "both are equally wide, else `per-layer`.",
        group=DISTILLATION,
        choices=("auto", "per-layer", "shared", "none"),
        serves="layers",
    )
    layer_map: str = option(
        "uniform",
        "Teacher block (from 0) of each student block, such as `1,3,5`. Default: uniform (2i+1 from 12 to 6).",
        group=DISTILLATION,
        unit="blocks",
        serves="layers",
    )
    heads: str = option(
        "match",
        "`match` (default), or `mean` to compare scores averaged over heads.",
        group=DISTILLATION,
        choices=("match", "mean"),
        serves="layers",
    )
    temperature: float = option(
        1.0,
        "Of both softmaxes in the prediction phase. Default: 1.",
        group=DISTILLATION,
        unit="number",
        least=0.01,  # a softmax of a smaller one is a maximum, of a larger one the same for all labels
        most=1_000,
        serves="logits",
    )
    loss_scale: str = option(
        "valid",
        "`valid` (default): means over non-padding tokens; or `reference`: as in TinyBERT's original code, over "
        "padding and classes too (needs --padding max_length).",
        group=DISTILLATION,
        choices=("valid", "reference"),
        serves="teacher",
    )
    cache_teacher: bool = option(
        True,
        "Run the teacher in each step of the prediction phase, instead of once for each example.",
        group=DISTILLATION,
        serves="outputs alone",
        flags=(" /--no-cache-teacher",),
    )
    noise: str = option(
        "",
        "Change the training texts in each epoch, `NAME[=VALUE]` with commas between: `ngrams=0.25`, `deleting=0.1`, "
        "`long-shuffle=0.1:20`, `short-shuffle=0.1`, `masking=0.1` (the defaults of each; tinydistill/noise.py). The "
        "teacher runs in each step.",
        group=DISTILLATION,
        unit="names",
        serves="teacher of a task",
        strict=True,
    )
    teacher_precision: str = option(
        "auto",
        "`auto` (default): as --precision; or `int8`: the teacher's blocks multiply 8-bit integers, with an error of "
        "about 3%. 1.5 times as fast as bf16 for a teacher of BERT-base's width where the processor has AVX512-VNNI "
        "(docs/speed.md). Needs an x86 processor and a C++ compiler.",
        group=DISTILLATION,
        choices=("auto", "int8"),
        serves="teacher",
        strict=True,
    )
    teacher_mean: str = option(
        "logits",
        "What the mean of several teachers is made of: `logits` (default), or `probabilities` at the objective's "
        "temperature.",
        group=DISTILLATION,
        choices=("logits", "probabilities"),
        serves="logits",
    )
    teacher_weights: str = option(
        "",
        "What each of several teachers counts, in their order, such as `0.7,0.3`; or `dev`: by how far its score on "
        "dev is above chance. Default: all the same.",
        group=DISTILLATION,
        unit="numbers",
        serves="teacher",
    )
    allow_weak_teacher: bool = option(
        False,
        "Distil even from a teacher at chance level (WNLI's usual case).",
        group=DISTILLATION,
        decides="nothing",
    )

    augment: bool = option(
        False,
        "Augment the train file first and train the student on the result.",
        group=AUGMENTATION,
        decides="source",
        serves="augmentation",
        strict=True,
    )
    mlm: str = option(
        "",
        "Masked language model: a folder or a hub id. Default: --pretrained.",
        group=AUGMENTATION,
        unit="model",
        decides="source",
        serves="augmentation",
        strict=True,
        needs="augment",
    )
    vectors: str = option(
        "",
        "Word vectors as text (GloVe or word2vec).",
        group=AUGMENTATION,
        unit="file",
        decides="source",
        serves="augmentation",
        strict=True,
        needs="augment",
        flags=("--vectors", "--glove"),
    )
    multi_piece_words: str = option(
        "",
        "Where candidates for words of several pieces come from: `vectors` (default; in Chinese `vectors,fill`), "
        "`mask`, `fill`; see `python -m augment --help`.",
        unit="sources",
        flags=("--multi-piece-words", "--several-pieces"),
        group=AUGMENTATION,
        decides="source",
        serves="augmentation",
        strict=True,
        needs="augment",
    )
    variants: int = option(
        -1,
        "Variants of each sentence. Default: the task's N.",
        group=AUGMENTATION,
        unit="number",
        least=-1,
        decides="source",
        serves="augmentation",
        strict=True,
        needs="augment",
        flags=("--N",),
    )
    swap_entities: bool = option(
        False,
        "Of tokens: exchange entities for others of their type in the train file too.",
        group=AUGMENTATION,
        decides="source",
        serves="augmentation",
        strict=True,
        needs="augment",
    )

    corpus: tuple[str, ...] = option(
        (),
        "Text to learn from: files of plain text (a sentence or a paragraph a line, a blank line between documents), "
        "JSON lines or Parquet, each also gzipped, or folders of them. Several may be given.",
        group=TEXT,
        unit="path",
        decides="source",
        serves="text",
        strict=True,
    )
    text_field: str = option(
        "text",
        "Field or column of JSON lines and Parquet that holds the text. Default: text.",
        group=TEXT,
        unit="name",
        serves="text",
        strict=True,
    )
    corpus_rows: str = option(
        "packed",
        "What a training row is: `packed` (default), lines of one document up to --max-length; `mixed`, of several "
        "documents too; or `pairs`, two passages, half of them not following each other (BERT, TinyBERT).",
        group=TEXT,
        choices=("packed", "mixed", "pairs"),
        serves="text",
        strict=True,
    )
    masking: str = option(
        "auto",
        "What is masked together: `word`, all pieces of a word; `piece`; or `none`, the text as it is. Default "
        "(`auto`): word where the outputs are compared, else none.",
        group=TEXT,
        choices=("auto", "word", "piece", "none"),
        serves="text",
        strict=True,
    )
    mask_share: float = option(
        0.15,
        "Share of the pieces that is chosen: of those 80% are masked, 10% replaced and 10% left. Default: 0.15.",
        group=TEXT,
        unit="share",
        above=0,
        most=0.9,
        serves="text",
        strict=True,
    )
    segmenter: str = option(
        "jieba",
        "What finds words in Chinese, for masks of whole words: `jieba` (default), `ltp` or `ltp:MODEL` (pip install "
        "ltp; a folder or a hub id), or `none`, each character a word.",
        group=TEXT,
        unit="name",
        serves="text",
        strict=True,
    )
    held_out: int = option(
        1_000,
        "Rows of text held out, on which each evaluation measures; of a small corpus at most a tenth. Default: 1000.",
        group=TEXT,
        unit="rows",
        above=0,
        serves="text",
        strict=True,
    )

    resume: bool = option(
        False,
        "Continue an unfinished run of the same settings.",
        group=RUN,
        decides="nothing",
        in_recipe=False,
    )
    overwrite: bool = option(
        False,
        "Delete what an earlier run left in the phase's folder.",
        group=RUN,
        decides="nothing",
        in_recipe=False,
    )
    dry_run: bool = option(
        False, "Print the resolved settings and stop.", group=RUN, decides="nothing", in_recipe=False
    )
    seed: int = option(42, "Default: 42.", group=RUN, unit="number", least=0, most=2**32 - 1)  # numpy's limit
    seeds: str = option(
        "",
        "Several runs, one for each of these seeds, such as `1,2,3`, in folders of their own; then the mean, the "
        "spread and the best on dev.",
        group=RUN,
        unit="numbers",
        decides="nothing",
        serves="student",
        strict=True,
    )
    sweep: tuple[str, ...] = option(
        (),
        "A run for each of several values of a setting, such as `batch_size=16,32`, `learning_rate=1e-5,2e-5` (of all "
        "phases of the student) or `prediction.learning_rate=...`. Given again, a run for each combination.",
        group=RUN,
        unit="name=value,value",
        decides="nothing",
        serves="student",
        strict=True,
    )
    precision: str = option(
        "auto",
        "`bf16`, `fp16`, `float32` or `auto` (default): the fastest that the hardware has.",
        group=RUN,
        choices=("auto", "bf16", "fp16", "float32"),
        decides="machine",
    )
    gradient_checkpointing: bool = option(
        False,
        "Compute the trained model's activations again in the backward pass instead of keeping them: less memory "
        "for one more forward pass, and the same student. Teachers keep none anyway.",
        group=RUN,
        decides="machine",
    )
    eval_steps: float = option(
        0.0,
        "Steps between evaluations and checkpoints; below 1 a share of an epoch: 0.25 is four times an epoch, at steps "
        "as evenly spaced as they can be, the last at the epoch's end (0.3 is three times: 1 / 0.3, rounded). Default: "
        "once an epoch.",
        group=RUN,
        unit="steps",
        least=0,
        whole_from=1,
    )
    log_format: str = option(
        "text",
        "`text` (default): bars and lines for a person; or `json`: a line of JSON on standard output for each entry of "
        "the log, and all else on standard error.",
        group=RUN,
        choices=("text", "json"),
        decides="nothing",
        in_recipe=False,
    )
    quiet: bool = option(False, "Say nothing but errors.", group=RUN, decides="nothing", in_recipe=False)
    report_to: str = option(
        "",
        "Send losses and scores to trackers as transformers knows them, such as `tensorboard` or `wandb`; names with "
        "commas between.",
        group=RUN,
        unit="names",
        decides="nothing",
    )
    logging_steps: int = option(
        50, "Steps between losses in the log. Default: 50.", group=RUN, unit="steps", above=0, decides="nothing"
    )

    license: str = option(
        "",
        "Licence of the student, as its model card names it, such as `apache-2.0`. Default: none is named.",
        group=RUN,
        unit="name",
        decides="nothing",
        serves="published",
        strict=True,
    )
    push_to_hub: str = option(
        "",
        "Upload the student with its model card to this repository of the hub, NAME/MODEL, which is made if need be. "
        "Default: nothing is uploaded.",
        group=RUN,
        unit="repo_id",
        decides="nothing",
        in_recipe=False,
        serves="published",
        strict=True,
    )

    def to_dict(self) -> dict[str, Any]:
        """What a recipe may set, for --dry-run."""
        return {field.name: getattr(self, field.name) for field, known in about(self) if known.in_recipe}

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks; that of a task file may hold a comma."""
        return (self.task,) if self.task_file else names_in(self.task)

    @property
    def teachers(self) -> dict[str, str]:
        """Teacher's name -> folder or hub id, in the order they were given. Raises UserError if a name comes twice."""
        found: dict[str, str] = {}
        for place, text in enumerate(self.teacher, start=1):
            name, path = split_name(text) if not Path(text).exists() else ("", text)
            name = name or ("teacher" if len(self.teacher) == 1 else f"teacher-{place}")
            if name in found:
                raise UserError(f"two teachers are called {name!r}; give each a name of its own, as NAME=MODEL")
            found[name] = path
        return found

    @property
    def cache(self) -> Path:
        """The folder of what is made once: encoded rows, tokenised text, teacher outputs."""
        return Path(self.cache_dir) if self.cache_dir else Path(self.output_dir) / "cache"


def identity(options: Any, uses: Collection[str]) -> dict[str, Any]:
    """The options that decide the result of a phase, or its last digits. `uses`: what the phase uses (`Phase.uses`)."""
    return {
        field.name: getattr(options, field.name)
        for field, known in about(options)
        if known.decides in ("result", "machine")
        and (not known.serves or known.serves in uses)
        and (not known.of_several_tasks or len(options.tasks) > 1)
    }


def compared(saved: dict[str, Any], finished: bool) -> dict[str, Any]:
    """Of what identified a run, that which a later one must have alike.

    What names a source is compared by the digest beside it, and a path may be written in two ways. `finished`: whether
    the run is; it then stands, whatever the machine. Entries that are no options are compared.
    """
    left = {"source"} | ({"machine"} if finished else set())
    decides = {field.name: known.decides for field, known in about(Options)} | {"processes": "machine"}
    return {name: value for name, value in saved.items() if decides.get(name, "result") not in left}
