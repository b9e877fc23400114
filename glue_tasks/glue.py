"""The GLUE tasks (Wang et al. 2019, arXiv 1804.07461) in the layout of the official release.

Label order is that of the `nyu-mll/glue` dataset. Lengths, epochs and N are those of TinyBERT (Jiao et al. 2020,
arXiv 1909.10351, section 4.2 and its augmentation script); WNLI, which the paper leaves out, takes those of RTE.

QQP was published with line breaks inside a few questions (github.com/nyu-mll/GLUE-baselines/issues/5). Readers in use,
that of `nyu-mll/glue` too, skip the parts of such rows; so do we, so that scores are of the same rows as theirs.
"""

from glue_tasks.task import Task

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
    ),
    Task(
        name="STS-B",
        summary="how alike are the two sentences, from 0 to 5?",
        text_columns=("sentence1", "sentence2"),
        label_column="score",
        labels=(),
        metrics=("pearson", "spearman"),
        variants=30,
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
    ),
    Task(
        name="QNLI",
        summary="does the sentence answer the question?",
        text_columns=("question", "sentence"),
        label_column="label",
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
        intermediate_epochs=10,
    ),
    Task(
        name="RTE",
        summary="does the text entail the hypothesis?",
        text_columns=("sentence1", "sentence2"),
        label_column="label",
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
        variants=30,
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
    ),
)

GLUE = {task.name: task for task in _TASKS}
