"""Tasks of reading comprehension: questions about contexts, whose answers are spans of those.

SQuAD 1.1 (Rajpurkar et al. 2016, arXiv 1606.05250), SQuAD 2.0 (Rajpurkar et al. 2018, arXiv 1806.03822), CMRC 2018 (Cui
et al. 2019, arXiv 1810.07366), of which the trial set stands for the test set as it does on the hub, and DRCD (Shao et
al. 2018, arXiv 1806.00920), in traditional characters. The hub's copies are `rajpurkar/squad`, `rajpurkar/squad_v2`,
`hfl/cmrc2018` and DRCD's part of `clue/clue`, whose row counts these are.

Where the settings come from:
- max_length, teacher_epochs, teacher_learning_rate: SQuAD: TextBrewer's notebook (github.com/airaria/TextBrewer,
  examples/notebook_examples/squad.ipynb) and BERT's README, batch 8 to 32; CMRC 2018 and DRCD: the baseline of
  github.com/ymcui/cmrc2018 and TextBrewer's examples/cmrc2018_example, batch 24 to 32.
- prediction_learning_rate, prediction_epochs: 1e-4 is TextBrewer's for a student of 3 layers on SQuAD, and with 50
  epochs of 4 layers on CMRC 2018 (its README advises 30 to 60 there); SQuAD's 20 epochs are the notebook's.
- intermediate_learning_rate, intermediate_epochs, variants (N): ours: the prediction phase's rate, 10 epochs and 10
  variants, as TinyBERT has them for the largest tasks of GLUE.
"""

from dataclasses import replace

from glue_tasks.task import Hub, Task

_TASK = Task(
    name="",
    summary="",
    text_columns=("question", "context"),
    label_column="answers",
    labels=(),
    kind="spans",
    metrics=("f1", "exact_match"),
    id_column="id",
    column_aliases={"question": ("query_text",), "context": ("context_text",), "id": ("query_id", "qid")},
    max_length=384,
    teacher_epochs=2,
    teacher_learning_rate=3e-5,
    intermediate_epochs=10,
    intermediate_learning_rate=1e-4,
    prediction_epochs=20,
    prediction_learning_rate=1e-4,
    variants=10,
)
_SQUAD_SPLITS = {"train": "train", "dev": "validation"}
_CHINESE = replace(
    _TASK,
    span_score="cmrc",
    language="zh",
    max_length=512,
    prediction_epochs=50,
)

_TASKS = (
    replace(
        _TASK,
        name="SQuAD1.1",
        summary="which part of the paragraph answers the question?",
        files={"train": "train-v1.1.json", "dev": "dev-v1.1.json"},
        other_files={"train": ("train-v1.1-part.json", "train.json"), "dev": ("dev.json",)},
        folders=("squad", "squad_v1", "squad1", "squadv1.1"),
        hub=Hub("rajpurkar/squad", "plain_text", {"train": 87_599, "dev": 10_570}, splits=_SQUAD_SPLITS),
        homepage="https://rajpurkar.github.io/SQuAD-explorer/explore/1.1/dev/",
    ),
    replace(
        _TASK,
        name="SQuAD2.0",
        summary="which part of the paragraph answers the question, if any does?",
        span_score="squad2",
        files={"train": "train-v2.0.json", "dev": "dev-v2.0.json"},
        other_files={"train": ("train.json",), "dev": ("dev.json",)},
        folders=("squad_v2", "squad2", "squadv2.0"),
        hub=Hub("rajpurkar/squad_v2", "squad_v2", {"train": 130_319, "dev": 11_873}, splits=_SQUAD_SPLITS),
        homepage="https://rajpurkar.github.io/SQuAD-explorer/",
    ),
    replace(
        _CHINESE,
        name="CMRC2018",
        summary="which part of the passage of Wikipedia answers the question?",
        files={"train": "cmrc2018_train.json", "dev": "cmrc2018_dev.json", "test": "cmrc2018_trial.json"},
        other_files={"train": ("train.json",), "dev": ("dev.json",), "test": ("trial.json", "test.json")},
        folders=("cmrc2018_public", "cmrc"),
        hub=Hub("hfl/cmrc2018", "default", {"train": 10_142, "dev": 3_219, "test": 1_002}),
        homepage="https://github.com/ymcui/cmrc2018",
    ),
    replace(
        _CHINESE,
        name="DRCD",
        summary="which part of the passage answers the question? (traditional characters)",
        files={"train": "DRCD_training.json", "dev": "DRCD_dev.json", "test": "DRCD_test.json"},
        other_files={
            "train": ("drcd_train.json", "DRCD_train.json", "train.json"),
            "dev": ("drcd_dev.json", "dev.json"),
            "test": ("drcd_test.json", "test.json"),
        },
        hub=Hub("clue/clue", "drcd", {"train": 26_936, "dev": 3_524, "test": 3_493}),
        homepage="https://github.com/DRCKnowledgeTeam/DRCD",
    ),
)

READING = {task.name: task for task in _TASKS}
