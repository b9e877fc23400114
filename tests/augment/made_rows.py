"""An augmenter whose candidates are made up, so that tests of what is written need no model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from augment.augmenter import Augmenter
from augment.candidate_options import CandidateOptions
from augment.settings import Settings
from augment.variants import Slot
from augment.words import Word, WordRules
from glue_tasks import Task

TYPES = ("PER", "LOC", "ORG")
TAGS = ("O", *(f"{prefix}-{each}" for each in TYPES for prefix in "BI"))
TOKENS = Task("Tokens", "", ("tokens",), "tags", TAGS, ("entity_f1",), kind="tokens")
SPANS = Task("Spans", "", ("question", "context"), "answers", (), ("f1", "exact_match"), kind="spans")


class MadeUp(Augmenter):
    """Each word that may be replaced has the given candidates; notes the texts that it was asked about."""

    def __init__(self, candidates: Sequence[str], language: str = "en"):
        self.candidates = tuple(candidates)
        self._rules = WordRules.of(CandidateOptions(language=language))
        self.asked: list[str] = []

    def slots(
        self, sentences: Sequence[str], may_vary: Callable[[int, Word], bool] = lambda sentence, word: True
    ) -> list[list[Slot]]:
        self.asked += sentences
        return [
            [
                Slot(word.start, word.end, self.candidates)
                for word in self._rules.find_words(sentence)
                if word.replaceable and may_vary(number, word)
            ]
            for number, sentence in enumerate(sentences)
        ]


def settings_of(task: Task, folder: Path = Path(), **changes: Any) -> Settings:
    """Of a task's train file in a folder."""
    given: dict[str, Any] = {"mlm": "none", "vectors": None, "variants": 20, "device": "cpu", "precision": "float32"}
    options = CandidateOptions(multi_piece_words="fill", language=task.language)
    files = {"train_file": folder / "train.jsonl", "output": folder / "train_aug.jsonl"}
    return Settings(**{"task": task, "options": options, **files, **given, **changes})
