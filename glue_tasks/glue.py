"""The GLUE tasks (Wang et al. 2019, arXiv 1804.07461) in the layout of the official release.

Label order is that of the `nyu-mll/glue` dataset. Lengths, epochs and N are those of TinyBERT (Jiao et al. 2020,
arXiv 1909.10351, section 4.2 and its augmentation script); WNLI, which the paper leaves out, takes those of RTE.

QQP was published with line breaks inside a few questions (github.com/nyu-mll/GLUE-baselines/issues/5). Readers in use,
that of `nyu-mll/glue` too, skip the parts of such rows; so do we, so that scores are of the same rows as theirs.

Row counts are those of `nyu-mll/glue`. The files of a submission, and what stands in them for each label, are those of
the server's sample submission (gluebenchmark.com/faq): the codes where the files have codes, else the names.
"""

from dataclasses import replace

from glue_tasks.task import Hub, Submission, Task


def _hub(config: str, train: int, dev: int, test: int, **columns: str) -> Hub:
    return Hub("nyu-mll/glue", config, {"train": train, "dev": dev, "test": test}, {"index": "idx", **columns})


# What most of the tasks have; each says what it has otherwise.
_TASK = Task(
    name="",
    summary="",
    text_columns=("sentence1", "sentence2"),
    label_column="label",
    labels=("entailment", "not_entailment"),
    metrics=("accuracy",),
    id_column="index",
)
_SENTENCE = replace(_TASK, text_columns=("sentence",), label_codes=("0", "1"), max_length=64)
_PARAPHRASE = replace(
    _TASK, labels=("not_equivalent", "equivalent"), label_codes=("0", "1"), metrics=("accuracy", "f1")
)
_NLI = replace(_TASK, labels=("entailment", "neutral", "contradiction"))

_TASKS = (
    replace(
        _SENTENCE,
        name="CoLA",
        summary="is the sentence acceptable English?",
        labels=("unacceptable", "acceptable"),
        metrics=("matthews",),
        columns=("source", "label", "mark", "sentence"),
        headerless=("train", "dev"),
        intermediate_epochs=50,
        variants=30,
        hub=_hub("cola", 8_551, 1_043, 1_063),
    ),
    replace(
        _SENTENCE,
        name="SST-2",
        summary="is the film review positive or negative?",
        labels=("negative", "positive"),
        hub=_hub("sst2", 67_349, 872, 1_821),
    ),
    replace(
        _PARAPHRASE,
        name="MRPC",
        summary="do the two news sentences say the same?",
        text_columns=("#1 String", "#2 String"),
        label_column="Quality",
        variants=30,
        hub=_hub("mrpc", 3_668, 408, 1_725, **{"#1 String": "sentence1", "#2 String": "sentence2", "Quality": "label"}),
    ),
    replace(
        _TASK,
        name="STS-B",
        summary="how alike are the two sentences, from 0 to 5?",
        label_column="score",
        labels=(),
        metrics=("pearson", "spearman"),
        variants=30,
        hub=_hub("stsb", 5_749, 1_500, 1_379, score="label"),
    ),
    replace(
        _PARAPHRASE,
        name="QQP",
        summary="do the two questions ask the same?",
        text_columns=("question1", "question2"),
        label_column="is_duplicate",
        labels=("not_duplicate", "duplicate"),
        has_torn_rows=True,
        intermediate_epochs=10,
        variants=10,
        id_column="id",
        hub=_hub("qqp", 363_846, 40_430, 390_965, id="idx", is_duplicate="label"),
    ),
    replace(
        _NLI,
        name="MNLI",
        summary="does the premise entail, contradict or leave open the hypothesis?",
        label_column="gold_label",
        files={
            "train": "train.tsv",
            "dev": "dev_matched.tsv",
            "dev_mismatched": "dev_mismatched.tsv",
            "test": "test_matched.tsv",
            "test_mismatched": "test_mismatched.tsv",
        },
        intermediate_epochs=10,
        variants=10,
        hub=Hub(
            "nyu-mll/glue",
            "mnli",
            {"train": 392_702, "dev": 9_815, "dev_mismatched": 9_832, "test": 9_796, "test_mismatched": 9_847},
            {"index": "idx", "sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"},
            {
                "train": "train",
                "dev": "validation_matched",
                "dev_mismatched": "validation_mismatched",
                "test": "test_matched",
                "test_mismatched": "test_mismatched",
            },
        ),
        submission=Submission("glue", {"test": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv"}),
    ),
    replace(
        _TASK,
        name="QNLI",
        summary="does the sentence answer the question?",
        text_columns=("question", "sentence"),
        intermediate_epochs=10,
        hub=_hub("qnli", 104_743, 5_463, 5_463),
    ),
    replace(
        _TASK,
        name="RTE",
        summary="does the text entail the hypothesis?",
        variants=30,
        hub=_hub("rte", 2_490, 277, 3_000),
    ),
    replace(
        _TASK,
        name="WNLI",
        summary="does the pronoun stand for the named noun? (dev is adversarial: most models stay at chance)",
        labels=("not_entailment", "entailment"),
        label_codes=("0", "1"),
        variants=30,
        hub=_hub("wnli", 635, 71, 146),
    ),
    # The diagnostic set, written by hand to probe a model of MNLI. With labels it is a file of its own,
    # diagnostic-full.tsv (gluebenchmark.com/diagnostics), with other names for the columns than the test file's.
    replace(
        _NLI,
        name="AX",
        summary="MNLI's question on 1,104 pairs that probe what a model knows (evaluates a model of MNLI)",
        text_columns=("Premise", "Hypothesis"),
        label_column="Label",
        metrics=("matthews", "accuracy"),
        files={"dev": "diagnostic-full.tsv", "test": "diagnostic.tsv"},
        column_aliases={"Premise": ("sentence1",), "Hypothesis": ("sentence2",)},
        folders=("diagnostic", "diagnostics"),
        hub=Hub(
            "nyu-mll/glue",
            "ax",
            {"test": 1_104},
            {"index": "idx", "Premise": "premise", "Hypothesis": "hypothesis"},
            {"test": "test"},
        ),
        homepage="https://gluebenchmark.com/diagnostics",
    ),
)

GLUE = {
    task.name: replace(task, submission=task.submission or Submission("glue", {"test": f"{task.name}.tsv"}))
    for task in _TASKS
}
