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

from glue_tasks.task import TSV_SPLITS, Hub, Task

_TASK = Task(
    name="",
    summary="",
    text_columns=("sentence1", "sentence2"),
    label_column="label",
    labels=("not_equivalent", "equivalent"),
    label_codes=("0", "1"),
    metrics=("accuracy",),
    language="zh",
    intermediate_learning_rate=1e-4,
    prediction_learning_rate=1e-4,
)
_PAIR = replace(
    _TASK,
    columns=("sentence1", "sentence2", "label"),  # of a file without a header
    column_aliases={
        "sentence1": ("text_a", "query", "premise"),
        "sentence2": ("text_b", "title", "hypo", "hypothesis"),
        "label": ("gold_label", "score"),
    },
    other_files={split: (f"{split}.txt",) for split in TSV_SPLITS},
    intermediate_epochs=10,
)


def _hub(repository: str, train: int, dev: int, test: int, config: str = "default", **columns: str) -> Hub:
    return Hub(repository, config, {"train": train, "dev": dev, "test": test}, columns)


_TASKS = (
    replace(
        _TASK,
        name="ChnSentiCorp",
        summary="is the review of a hotel, book or computer positive or negative?",
        text_columns=("text_a",),
        labels=("negative", "positive"),
        column_aliases={"text_a": ("text", "sentence", "review", "content")},
        folders=("chn_senti_corp",),
        hub=_hub("lansinuote/ChnSentiCorp", 9_600, 1_200, 1_200, text_a="text"),
        max_length=256,
        prediction_epochs=10,
        variants=30,
        homepage="https://github.com/ymcui/Chinese-BERT-wwm/tree/master/data/chnsenticorp",
    ),
    replace(
        _PAIR,
        name="LCQMC",
        summary="do the two questions ask the same?",
        other_files={split: (f"{split}.txt", f"LCQMC_{split}.json") for split in TSV_SPLITS},
        hub=_hub("C-MTEB/LCQMC", 238_766, 8_802, 12_500, label="score"),
        variants=10,
        homepage="http://icrc.hitsz.edu.cn/info/1037/1146.htm",
    ),
    replace(
        _PAIR,
        name="BQ",
        summary="do the two questions to a bank ask the same? (BQ Corpus)",
        folders=("bq_corpus", "bqcorpus"),
        hub=_hub("C-MTEB/BQ", 100_000, 10_000, 10_000, label="score"),
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
        hub=_hub("facebook/xnli", 392_702, 2_490, 5_010, "zh", sentence1="premise", sentence2="hypothesis"),
        teacher_epochs=2,
        teacher_learning_rate=3e-5,
        variants=10,
        homepage="https://github.com/facebookresearch/XNLI",
    ),
)

CHINESE = {task.name: task for task in _TASKS}
