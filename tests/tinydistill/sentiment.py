"""Sixteen sentences with their sentiment, as a dataset in memory."""

from datasets import ClassLabel, Dataset, Features, Value

ROWS = [(f"the {noun} is {word} .", int(word in ("good", "fine"))) for noun in ("film", "plot", "cast", "score")
        for word in ("good", "bad", "fine", "awful")]  # fmt: skip


def dataset(names: tuple[str, ...] = ("negative", "positive")) -> Dataset:
    features = Features({"text": Value("string"), "label": ClassLabel(names=list(names))})
    return Dataset.from_dict({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}, features)
