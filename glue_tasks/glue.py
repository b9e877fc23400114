"""The GLUE tasks (Wang et al. 2019, arXiv 1804.07461) in the layout of the official release.

Label order is that of the `nyu-mll/glue` dataset. Lengths, epochs and N are those of TinyBERT (Jiao et al. 2020,
arXiv 1909.10351, section 4.2 and its augmentation script); WNLI, which the paper leaves out, takes those of RTE.

QQP was published with line breaks inside a few questions (github.com/nyu-mll/GLUE-baselines/issues/5). Readers in use,
that of `nyu-mll/glue` too, skip the parts of such rows; so do we, so that scores are of the same rows as theirs.

Row counts are those of `nyu-mll/glue`. The files of a submission, and what stands in them for each label, are those of
the server's sample submission (gluebenchmark.com/faq): the codes where the files have codes, else the names.
"""

from collections.abc import Mapping

from glue_tasks.task import Hub, Submission, Task


def _hub(config: str, train: int, dev: int, test: int, columns: Mapping[str, str] | None = None) -> Hub:
    return Hub("nyu-mll/glue", config, {"train": train, "dev": dev, "test": test}, {"index": "idx", **(columns or {})})


def _submission(file: str, *labels: str) -> Submission:
    return Submission("glue", {"test": file}, labels)


_MATCHED_AND_MISMATCHED = {
    "train": "train.tsv",
    "dev": "dev_matched.tsv",
    "dev_mismatched": "dev_mismatched.tsv",
    "test": "test_matched.tsv",
    "test_mismatched": "test_mismatched.tsv",
}

_TASKS = (
    Task(
        name="CoLA",
        summary="is the sentence acceptable English?",
        text_columns=("sentence",),
        label_column="label",
        labels=("unacceptable", "acceptable"),
        label_codes=("0", "1"),
        metrics=("matthews",),
        columns=("source", "label", "mark", "sentence"),
        headerless=("train", "dev"),
        max_length=64,
        intermediate_epochs=50,
        variants=30,
        id_column="index",
        hub=_hub("cola", 8_551, 1_043, 1_063),
        submission=_submission("CoLA.tsv", "0", "1"),
    ),
    Task(
        name="SST-2",
        summary="is the film review positive or negative?",
        text_columns=("sentence",),
        label_column="label",
        labels=("negative", "positive"),
        label_codes=("0", "1"),
        metrics=("accuracy",),
        max_length=64,
        id_column="index",
        hub=_hub("sst2", 67_349, 872, 1_821),
        submission=_submission("SST-2.tsv", "0", "1"),
    ),
    Task(
        name="MRPC",
        summary="do the two news sentences say the same?",
        text_columns=("#1 String", "#2 String"),
        label_column="Quality",
        labels=("not_equivalent", "equivalent"),
        label_codes=("0", "1"),
        metrics=("accuracy", "f1"),
        variants=30,
        id_column="index",
        hub=_hub("mrpc", 3_668, 408, 1_725, {"#1 String": "sentence1", "#2 String": "sentence2", "Quality": "label"}),
        submission=_submission("MRPC.tsv", "0", "1"),
    ),
    Task(
        name="STS-B",
        summary="how alike are the two sentences, from 0 to 5?",
        text_columns=("sentence1", "sentence2"),
        label_column="score",
        labels=(),
        metrics=("pearson", "spearman"),
        variants=30,
        id_column="index",
        hub=_hub("stsb", 5_749, 1_500, 1_379, {"score": "label"}),
        submission=_submission("STS-B.tsv"),
    ),
    Task(
        name="QQP",
        summary="do the two questions ask the same?",
        text_columns=("question1", "question2"),
        label_column="is_duplicate",
        labels=("not_duplicate", "duplicate"),
        label_codes=("0", "1"),
        metrics=("accuracy", "f1"),
        has_torn_rows=True,
        intermediate_epochs=10,
        variants=10,
        id_column="id",
        hub=_hub("qqp", 363_846, 40_430, 390_965, {"id": "idx", "is_duplicate": "label"}),
        submission=_submission("QQP.tsv", "0", "1"),
    ),
    Task(
        name="MNLI",
        summary="does the premise entail, contradict or leave open the hypothesis?",
        text_columns=("sentence1", "sentence2"),
        label_column="gold_label",
        labels=("entailment", "neutral", "contradiction"),
        metrics=("accuracy",),
        files=_MATCHED_AND_MISMATCHED,
        intermediate_epochs=10,
        variants=10,
        id_column="index",
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
    Task(
        name="QNLI",
        summary="does the sentence answer the question?",
        text_columns=("question", "sentence"),
        label_column="label",
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
        intermediate_epochs=10,
        id_column="index",
        hub=_hub("qnli", 104_743, 5_463, 5_463),
        submission=_submission("QNLI.tsv"),
    ),
    Task(
        name="RTE",
        summary="does the text entail the hypothesis?",
        text_columns=("sentence1", "sentence2"),
        label_column="label",
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
        variants=30,
        id_column="index",
        hub=_hub("rte", 2_490, 277, 3_000),
        submission=_submission("RTE.tsv"),
    ),
    Task(
        name="WNLI",
        summary="does the pronoun stand for the named noun? (dev is adversarial: most models stay at chance)",
        text_columns=("sentence1", "sentence2"),
        label_column="label",
        labels=("not_entailment", "entailment"),
        label_codes=("0", "1"),
        metrics=("accuracy",),
        variants=30,
        id_column="index",
        hub=_hub("wnli", 635, 71, 146),
        submission=_submission("WNLI.tsv", "0", "1"),
    ),
    # The diagnostic set, written by hand to probe a model of MNLI. With labels it is a file of its own,
    # diagnostic-full.tsv (gluebenchmark.com/diagnostics), with other names for the columns than the test file's.
    Task(
        name="AX",
        summary="MNLI's question on 1,104 pairs that probe what a model knows (evaluates a model of MNLI)",
        text_columns=("Premise", "Hypothesis"),
        label_column="Label",
        labels=("entailment", "neutral", "contradiction"),
        metrics=("matthews", "accuracy"),
        files={"dev": "diagnostic-full.tsv", "test": "diagnostic.tsv"},
        column_aliases={"Premise": ("sentence1",), "Hypothesis": ("sentence2",)},
        folders=("diagnostic", "diagnostics"),
        id_column="index",
        hub=Hub(
            "nyu-mll/glue",
            "ax",
            {"test": 1_104},
            {"index": "idx", "Premise": "premise", "Hypothesis": "hypothesis"},
            {"test": "test"},
        ),
        submission=_submission("AX.tsv"),
        homepage="https://gluebenchmark.com/diagnostics",
    ),
)

GLUE = {task.name: task for task in _TASKS}
