"""Algorithm 1's draw (TinyBERT, arXiv 1909.10351, section 3.2), seeded by row."""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of a sentence, and what may stand there instead."""

    start: int
    end: int
    candidates: tuple[str, ...]  # not empty


def draw_variants(
    sentence: str, slots: Sequence[Slot], n: int, probability: float, seed: int, row: int = 0, column: int = 0
) -> list[str]:
    """Draw n variants; those drawn before, or equal to the sentence, are left out, so fewer may come back.

    Each slot is replaced with the given probability by one of its candidates, all equally likely. What is drawn depends
    on the arguments alone: not on the rows before, the batch size or the number of processes.
    """
    if not slots:
        return []
    # A string is hashed by SHA-512 to the generator's state, and `random()` is the one method whose sequence Python
    # promises to keep: hence int(random() * len) and not choice().
    draw = random.Random(f"{seed} {row} {column}").random
    parts = []  # kept, replaceable, kept, replaceable, ..., kept
    end = 0
    for slot in slots:
        parts += [sentence[end : slot.start], sentence[slot.start : slot.end]]
        end = slot.end
    parts.append(sentence[end:])
    places = [(2 * i + 1, slot.candidates, len(slot.candidates)) for i, slot in enumerate(slots)]

    variants: dict[str, None] = {}  # a set that keeps the order
    for _ in range(n):
        variant = parts.copy()
        for place, candidates, count in places:
            if draw() < probability:
                variant[place] = candidates[int(draw() * count)]
        variants["".join(variant)] = None
    variants.pop(sentence, None)
    return list(variants)
