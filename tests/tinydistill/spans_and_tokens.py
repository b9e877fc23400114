"""Tiny files of questions and of tagged sentences, in the words that the tiny models know."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import BertForQuestionAnswering, BertForTokenClassification, PreTrainedModel

from glue_tasks.task import Task
from tests.tinydistill.conftest import tiny_bert_config
from tinydistill.kinds import kind_of

ADJECTIVES, NOUNS = ("good", "great", "fine", "bad", "awful", "poor"), ("film", "plot", "cast", "score")
FILLERS = ("the", "is", "was", "and", "but", "a", "not", ".")


def contexts(count: int, seed: int, words: int = 24) -> list[tuple[str, str, int]]:
    """Context, answer and its offset: the one adjective of a context, sometimes with "very" before it."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        size = draw.randint(3, words)
        before = draw.randint(0, size)
        answer = draw.choice(("", "", "very ")) + draw.choice(ADJECTIVES)
        left, right = ([draw.choice((*FILLERS, *NOUNS)) for _ in range(each)] for each in (before, size - before))
        start = len(" ".join(left)) + bool(left)
        made.append((" ".join([*left, answer, *right]), answer, start))
    return made


def write_questions(path: Path, count: int, seed: int, unanswerable: float = 0.0, words: int = 24) -> None:
    """SQuAD's JSON, an article each ten questions. unanswerable: the share of questions without an answer, whose
    contexts have no adjective."""
    draw = random.Random(seed)
    paragraphs = []
    for number, (context, answer, start) in enumerate(contexts(count, seed, words)):
        known = [{"text": answer, "answer_start": start}]
        if unanswerable and draw.random() < unanswerable:
            context, known = context.replace(answer, "plot"), []
        asked = {"id": f"q{number}", "question": f"how is the {draw.choice(NOUNS)}", "answers": known}
        if unanswerable:
            asked["is_impossible"] = not known
        paragraphs.append({"context": context, "qas": [asked]})
    articles = [{"title": f"article {i}", "paragraphs": paragraphs[i : i + 10]} for i in range(0, count, 10)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "1", "data": articles}), encoding="utf-8")


def tagged(count: int, seed: int, words: int = 20) -> list[list[tuple[str, str]]]:
    """Tokens and tags: an adjective and the noun behind it are a person, "films" or "plots" alone a place."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        sentence: list[tuple[str, str]] = []
        for _ in range(draw.randint(2, words)):
            chosen = draw.random()
            if chosen < 0.2:
                sentence += [(draw.choice(ADJECTIVES), "B-PER"), (draw.choice(NOUNS), "I-PER")]
            elif chosen < 0.3:
                sentence.append((draw.choice(("films", "plots")), "B-LOC"))
            else:
                sentence.append((draw.choice(FILLERS), "O"))
        made.append(sentence)
    return made


def write_sentences(path: Path, sentences: Sequence[Sequence[tuple[str, str]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = ["".join(f"{token} {tag}\n" for token, tag in sentence) for sentence in sentences]
    path.write_text("\n".join(blocks), encoding="utf-8")


def tiny_model(task: Task, seed: int = 1, **changes: object) -> PreTrainedModel:
    """With weights that give other outputs for other pieces."""
    torch.manual_seed(seed)
    config = tiny_bert_config(**{"layers": 1, "initializer_range": 0.5, **changes})  # type: ignore[arg-type]
    for name, value in kind_of(task).head().items():
        setattr(config, name, value)
    model = BertForQuestionAnswering if task.kind == "spans" else BertForTokenClassification
    return model(config).eval()


def one_hot(labels: np.ndarray, classes: int, height: float = 9.0) -> np.ndarray:
    return height * np.eye(classes, dtype=np.float32)[labels]
