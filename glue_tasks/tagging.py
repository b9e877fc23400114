"""Tasks of named entities: each token has a tag.

CoNLL-2003 (Tjong Kim Sang and De Meulder 2003), MSRA (Levow 2006), Weibo (Peng and Dredze 2015), Resume (Zhang and Yang
2018, arXiv 1805.02023), People's Daily, and CLUENER (Xu et al. 2020, arXiv 2001.04351). Files have a token and its tag
on each line, CLUENER's are JSON lines. The tags that models know are BIO; files may have IOB1, BMES or BIOES. MSRA has
no dev set: its test set is scored. The hub's copies are those it converts from datasets with scripts, whose row counts
these are.

Where the settings come from:
- CoNLL-2003: TextBrewer's examples/conll2003_example (github.com/airaria/TextBrewer): length 128, teacher 3 epochs with
  5e-5, students 1e-4, batch 32.
- MSRA: TextBrewer's examples/notebook_examples/msra_ner.ipynb: teacher 2 epochs with 2e-5, batch 8, students 20 epochs,
  for which its 1e-5 is too low elsewhere: 1e-4 is that of its README for all tasks. Its length of 512 suits sentences
  that are not split; its script has 160. 128 is ours: no sentence of the files passed around has more than 100 tokens.
- All others: ours, after MSRA's; more epochs where there are fewer rows.
- intermediate_epochs, intermediate_learning_rate, variants (N): ours, as in `clue.py`.
"""

from dataclasses import replace

from glue_tasks.task import CONVERTED, HUB_SPLITS, TXT_SPLITS, Hub, Task, bio_tags

_TASK = Task(
    name="",
    summary="",
    text_columns=("tokens",),
    label_column="tags",
    labels=(),
    kind="tokens",
    metrics=("entity_f1", "entity_precision", "entity_recall"),
    files=TXT_SPLITS,
    column_aliases={"tokens": ("words", "text"), "tags": ("ner_tags", "ner", "labels", "label")},
    language="zh",
    teacher_epochs=3,
    teacher_learning_rate=3e-5,
    intermediate_epochs=20,
    intermediate_learning_rate=1e-4,
    prediction_epochs=20,
    prediction_learning_rate=1e-4,
)


def _hub(repository: str, config: str, train: int, dev: int, test: int = 0) -> Hub:
    """The hub's copy as it converts it; one without a validation split has its test split for dev."""
    rows = {"train": train, "dev": dev, **({"test": test} if test else {})}
    splits = HUB_SPLITS if test else {"train": "train", "dev": "test"}
    return Hub(repository, config, rows, {"tags": "ner_tags"}, splits, CONVERTED)


def _names(split: str, *others: str) -> tuple[str, ...]:
    """Under which names a split of Chinese characters is passed around."""
    stems = [
        f"{split}{part}.{scheme}" for part in ("", ".char", ".all") for scheme in ("bmes", "bio", "bioes", "conll")
    ]
    return (*others, *stems, f"{split}.json", f"{split}.jsonl", f"{split}.tsv")


# In the order of the hub's dataset, which numbers all B, then all I, then O.
_WEIBO = tuple(f"{each}.{form}" for each in ("GPE", "LOC", "ORG", "PER") for form in ("NAM", "NOM"))
_FILES = {split: _names(split) for split in TXT_SPLITS}

_TASKS = (
    replace(
        _TASK,
        name="CoNLL2003",
        summary="persons, organizations, locations and other names in English news",
        labels=bio_tags("PER", "ORG", "LOC", "MISC"),
        other_files={
            "train": _names("train", "eng.train"),
            "dev": _names("dev", "eng.testa", "valid.txt", "testa.txt"),
            "test": _names("test", "eng.testb", "testb.txt"),
        },
        folders=("conll", "conll03", "conll2003_eng"),
        language="en",
        hub=_hub("eriktks/conll2003", "conll2003", 14_041, 3_250, 3_453),
        teacher_learning_rate=5e-5,
        homepage="https://www.clips.uantwerpen.be/conll2003/ner/",
    ),
    replace(
        _TASK,
        name="MSRA",
        summary="persons, organizations and locations in Chinese news",
        labels=bio_tags("PER", "ORG", "LOC"),
        files={"train": "train.txt", "dev": "dev.txt"},
        other_files={
            "train": _names("train", "msra_train_bio.txt", "msra_train.txt"),
            "dev": _names("dev", "msra_dev_bio.txt", "msra_dev.txt", "test.txt", "msra_test_bio.txt", "msra_test.txt"),
        },
        folders=("msra_ner", "msraner"),
        hub=_hub("levow/msra_ner", "msra_ner", 45_001, 3_443),
        teacher_epochs=2,
        teacher_learning_rate=2e-5,
        homepage="https://github.com/airaria/TextBrewer/tree/master/examples/msra_ner_example",
    ),
    replace(
        _TASK,
        name="Weibo",
        summary="named and nominal persons, organizations, places and regions in posts of Weibo",
        labels=bio_tags(*_WEIBO),
        label_codes=("16", *(str(at + more) for at in range(len(_WEIBO)) for more in (0, len(_WEIBO)))),
        other_files={
            "train": _names("train", "weiboNER.conll.train", "weiboNER_2nd_conll.train"),
            "dev": _names("dev", "weiboNER.conll.dev", "weiboNER_2nd_conll.dev"),
            "test": _names("test", "weiboNER.conll.test", "weiboNER_2nd_conll.test"),
        },
        folders=("weibo_ner", "weiboner"),
        hub=_hub("hltcoe/weibo_ner", "default", 1_350, 270, 270),
        max_length=192,
        teacher_epochs=10,
        intermediate_epochs=50,
        prediction_epochs=50,
        variants=30,
        homepage="https://github.com/hltcoe/golden-horse",
    ),
    replace(
        _TASK,
        name="Resume",
        summary="names, posts, employers, degrees and other facts of Chinese résumés",
        labels=bio_tags("NAME", "CONT", "RACE", "TITLE", "EDU", "ORG", "PRO", "LOC"),
        other_files=_FILES,
        folders=("resume_ner", "resumener"),
        max_length=192,
        teacher_epochs=5,
        intermediate_epochs=50,
        prediction_epochs=50,
        variants=30,
        homepage="https://github.com/jiesutd/LatticeLSTM/tree/master/ResumeNER",
    ),
    replace(
        _TASK,
        name="PeoplesDaily",
        summary="persons, organizations and locations in the People's Daily",
        labels=bio_tags("PER", "ORG", "LOC"),
        other_files={split: _names(split, f"example.{split}", f"peoples_daily_{split}.txt") for split in TXT_SPLITS},
        folders=("peoples_daily", "peoples_daily_ner", "peopledaily", "china-people-daily-ner-corpus"),
        hub=_hub("peoples-daily-ner/peoples_daily_ner", "peoples_daily_ner", 20_865, 2_319, 4_637),
        max_length=256,
        homepage="https://github.com/zjy-ucas/ChineseNER",
    ),
    replace(
        _TASK,
        name="CLUENER",
        summary="ten fine types of names in Chinese news (CLUENER2020)",
        labels=bio_tags(
            "address", "book", "company", "game", "government", "movie", "name", "organization", "position", "scene"
        ),
        files={split: f"{split}.json" for split in TXT_SPLITS},
        folders=("cluener_public", "cluener2020"),
        teacher_epochs=4,
        variants=30,
        homepage="https://github.com/CLUEbenchmark/CLUENER2020",
    ),
)

TAGGING = {task.name: task for task in _TASKS}
