"""Chinese classification sets beside CLUE, as text with tabs; in the layouts that are passed around.

ChnSentiCorp: `label text_a`, as in the data of Chinese-BERT-wwm and ERNIE. LCQMC (Liu et al. 2018) and BQ Corpus (Chen
et al. 2018) are given out on request, LCQMC in JSON lines (`sentence1 sentence2 gold_label`); copies have the header
`text_a text_b label`, or none and the columns in that order. XNLI (Conneau et al. 2018, arXiv 1809.05053): its Chinese
training file has `premise hypo label` and writes "contradictory"; its dev and test files hold fifteen languages in one
file: --skip-bad-rows reads the Chinese lines alone (`python -m glue_tasks download` writes them so).

Where the settings come from:
- XNLI, LCQMC, BQ: max_length, teacher_epochs and, for XNLI and LCQMC, teacher_learning_rate are those of CLUE's scripts
  for BERT (github.com/CLUEbenchmark/CLUE, baselines/models/bert/run_classifier_*.sh; batch 64 for XNLI, else 32).
- teacher_learning_rate of BQ and ChnSentiCorp: RoBERTa-wwm-ext's best in MiniRBT's README (github.com/iflytek/MiniRBT).
- prediction_learning_rate 1e-4 on LCQMC, BQ, ChnSentiCorp: best for students of 3 to 6 layers, ibidem; on XNLI ours.
- ChnSentiCorp's max_length is ours: 30% of its reviews are longer than 126 characters, 5% longer than 254. Its
  teacher_epochs are ours too, BERT's usual 3.
- prediction_epochs: ours, within the {2, 3, 5, 10} that MiniRBT tries, the fewer the more rows there are.
- intermediate_learning_rate, intermediate_epochs, variants (N): ours, as in `clue.py`.
"""

from dataclasses import replace

from glue_tasks.task import Hub, Task

_PAIR = Task(
    name="",
    summary="",
    text_columns=("sentence1", "sentence2"),
    label_column="label",
    labels=("not_equivalent", "equivalent"),
    label_codes=("0", "1"),
    metrics=("accuracy",),
    columns=("sentence1", "sentence2", "label"),  # of a file without a header
    column_aliases={
        "sentence1": ("text_a", "query", "premise"),
        "sentence2": ("text_b", "title", "hypo", "hypothesis"),
        "label": ("gold_label", "score"),
    },
    language="zh",
    intermediate_epochs=10,
    intermediate_learning_rate=1e-4,
    prediction_learning_rate=1e-4,
)

_TASKS = (
    Task(
        name="ChnSentiCorp",
        summary="is the review of a hotel, book or computer positive or negative?",
        text_columns=("text_a",),
        label_column="label",
        labels=("negative", "positive"),
        label_codes=("0", "1"),
        metrics=("accuracy",),
        column_aliases={"text_a": ("text", "sentence", "review", "content")},
        folders=("chn_senti_corp",),
        hub=Hub(
            "lansinuote/ChnSentiCorp",
            "default",
            {"train": 9_600, "dev": 1_200, "test": 1_200},
            {"text_a": "text"},
        ),
        language="zh",
        max_length=256,
        intermediate_learning_rate=1e-4,
        prediction_epochs=10,
        prediction_learning_rate=1e-4,
        variants=30,
        homepage="https://github.com/ymcui/Chinese-BERT-wwm/tree/master/data/chnsenticorp",
    ),
    replace(
        _PAIR,
        name="LCQMC",
        summary="do the two questions ask the same?",
        other_files={
            "train": ("train.txt", "LCQMC_train.json"),
            "dev": ("dev.txt", "LCQMC_dev.json"),
            "test": ("test.txt", "LCQMC_test.json"),
        },
        hub=Hub(
            "C-MTEB/LCQMC",
            "default",
            {"train": 238_766, "dev": 8_802, "test": 12_500},
            {"label": "score"},
        ),
        variants=10,
        homepage="http://icrc.hitsz.edu.cn/info/1037/1146.htm",
    ),
    replace(
        _PAIR,
        name="BQ",
        summary="do the two questions to a bank ask the same? (BQ Corpus)",
        folders=("bq_corpus", "bqcorpus"),
        other_files={"train": ("train.txt",), "dev": ("dev.txt",), "test": ("test.txt",)},
        hub=Hub(
            "C-MTEB/BQ",
            "default",
            {"train": 100_000, "dev": 10_000, "test": 10_000},
            {"label": "score"},
        ),
        teacher_learning_rate=3e-5,
        prediction_epochs=5,
        homepage="http://icrc.hitsz.edu.cn/Article/show/175.html",
    ),
    replace(
        _PAIR,
        name="XNLI-zh",
        summary="does the premise entail, contradict or leave open the hypothesis? (XNLI's Chinese part)",
        labels=("entailment", "neutral", "contradiction"),
        label_codes=("entailment", "neutral", "contradictory"),
        folders=("xnli",),
        other_files={"train": ("multinli.train.zh.tsv",), "dev": ("xnli.dev.tsv",), "test": ("xnli.test.tsv",)},
        only={"language": "zh"},
        hub=Hub(
            "facebook/xnli",
            "zh",
            {"train": 392_702, "dev": 2_490, "test": 5_010},
            {"sentence1": "premise", "sentence2": "hypothesis"},
        ),
        teacher_epochs=2,
        teacher_learning_rate=3e-5,
        variants=10,
        homepage="https://github.com/facebookresearch/XNLI",
    ),
)

CHINESE = {task.name: task for task in _TASKS}
