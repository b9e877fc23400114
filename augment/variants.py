"""Algorithm 1's draw (TinyBERT, arXiv 1909.10351, section 3.2), seeded by row."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of a sentence, and what may stand there instead."""

    start: int
    end: int
    candidates: tuple[str, ...]  # not empty


def draw_choices(
    counts: Sequence[int], n: int, probability: float, seed: int, row: int = 0, column: int = 0
) -> Iterator[list[int]]:
    """n times for each slot the number of the candidate that replaces it, or -1 if it stays.

    counts: how many candidates each slot has. It is replaced with the given probability by one of them, all equally
    likely. What is drawn depends on the arguments alone: not on the rows before, the batch size or the number of
    processes.
    """
    # A string is hashed by SHA-512 to the generator's state, and `random()` is the one method whose sequence Python
    # promises to keep: hence int(random() * len) and not choice().
    draw = random.Random(f"{seed} {row} {column}").random
    for _ in range(n):
        yield [int(draw() * count) if draw() < probability else -1 for count in counts]


def draw_replacements(
    text: str, slots: Sequence[Slot], n: int, probability: float, seed: int, row: int = 0, column: int = 0
) -> dict[str, list[int]]:
    """Draw n variants; those drawn before, or equal to the text, are left out, so fewer may come back.

    Each with the choice that made it: for each slot the number of its candidate, or -1.
    """
    if not slots:
        return {}
    parts = []  # kept, replaceable, kept, replaceable, ..., kept
    end = 0
    for slot in slots:
        parts += [text[end : slot.start], text[slot.start : slot.end]]
        end = slot.end
    parts.append(text[end:])

    variants: dict[str, list[int]] = {}  # in the order of the draw
    counts = [len(slot.candidates) for slot in slots]
    for chosen in draw_choices(counts, n, probability, seed, row, column):
        variant = parts.copy()
        for i, choice in enumerate(chosen):
            if choice >= 0:
                variant[2 * i + 1] = slots[i].candidates[choice]
        variants.setdefault("".join(variant), chosen)
    variants.pop(text, None)
    return variants


def draw_variants(
    sentence: str, slots: Sequence[Slot], n: int, probability: float, seed: int, row: int = 0, column: int = 0
) -> list[str]:
    """What `draw_replacements` draws, the texts alone."""
    return list(draw_replacements(sentence, slots, n, probability, seed, row, column))
