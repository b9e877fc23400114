"""Several tasks: which one each step is of, and which of its rows it takes."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from tinydistill.data import Collator, LengthBucketSampler
from tinydistill.multi_task.sampling import AllRows, BatchesOfSteps, TaskSteps, collate_by_task

from .conftest import make_tokenizer


def rows_of(*counts: int) -> AllRows:
    """Tasks "0", "1" ... of so many rows of uneven lengths; the label of a row is its place in its task."""
    draw = np.random.default_rng(1)

    def of(count: int) -> Dataset:
        lengths = draw.integers(1, 30, count).tolist()
        made = {"input_ids": [[5] * length for length in lengths], "length": lengths, "labels": list(range(count))}
        return Dataset.from_dict(made)

    return AllRows({str(i): of(count) for i, count in enumerate(counts)})


def steps_of(rows: AllRows, examples: int, sampling: float, epoch: int, seed: int = 7) -> list[tuple[int, list[int]]]:
    """(task, places in the task) of each step, by reading the rows."""
    steps = TaskSteps(rows, examples, sampling, seed)
    steps.set_epoch(epoch)
    found = []
    for step in steps:
        examples_of = rows.__getitems__(step.tolist())
        (task,) = {example["task"] for example in examples_of}
        found.append((int(task), [example["labels"] for example in examples_of]))
    assert len(found) == len(steps)
    return found


def webster(shares: list[float], seats: int) -> list[int]:
    """Seats one after the other, each to the highest quotient share / (seats it has + 1/2)."""
    counts = [0] * len(shares)
    for _ in range(seats):
        quotients = [share / (count + 0.5) for share, count in zip(shares, counts, strict=True)]
        counts[quotients.index(max(quotients))] += 1
    return counts


COUNTS = st.lists(st.integers(1, 60), min_size=1, max_size=5)


@settings(max_examples=40)
@given(counts=COUNTS, examples=st.integers(1, 9), sampling=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_the_steps_of_the_epochs(counts: list[int], examples: int, sampling: float) -> None:
    """Each task's steps over the epochs: as many as its share, and its rows in the order of passes of its own."""
    rows, epochs = rows_of(*counts), 4
    weights = [(-(-count // examples)) ** sampling for count in counts]
    per_epoch = sum(-(-count // examples) for count in counts)
    taken: dict[int, list[list[int]]] = {task: [] for task in range(len(counts))}
    for epoch in range(epochs):
        steps = steps_of(rows, examples, sampling, epoch)
        assert len(steps) == per_epoch
        for task, places in steps:
            taken[task].append(places)
        own = [len(each) for each in taken.values()]
        shares = [weight / sum(weights) for weight in weights]
        ideal = [share * per_epoch * (epoch + 1) for share in shares]
        assert sum(own) == per_epoch * (epoch + 1)
        # Where quotients are equal, it is either's turn.
        assert sorted(np.abs(np.subtract(own, webster(shares, sum(own)))))[-1] <= 1
        assert np.abs(np.subtract(own, ideal)).max() < 1.5
    for task, steps in taken.items():
        lengths = np.array(rows.parts[task].rows["length"])
        passes: list[list[int]] = []
        number = 0
        while len(passes) < len(steps):
            sampler = LengthBucketSampler(lengths, examples, seed=7)
            sampler.set_epoch(number)
            order = list(sampler)
            passes += [order[start : start + examples] for start in range(0, len(order), examples)]
            number += 1
        assert steps == passes[: len(steps)]


@settings(max_examples=20)
@given(counts=COUNTS, examples=st.integers(1, 9), epoch=st.integers(0, 5))
def test_by_the_rows_every_row_comes_once_an_epoch(counts: list[int], examples: int, epoch: int) -> None:
    seen = Counter((task, place) for task, own in steps_of(rows_of(*counts), examples, 1.0, epoch) for place in own)
    assert seen == {(task, place): 1 for task, count in enumerate(counts) for place in range(count)}


def test_equal_shares_repeat_the_small_task() -> None:
    rows = rows_of(80, 8)
    seen: Counter[tuple[int, int]] = Counter()
    for epoch in range(10):
        steps = steps_of(rows, 4, 0.0, epoch)
        assert Counter(task for task, _ in steps) == {0: 11, 1: 11}
        seen.update((task, place) for task, own in steps for place in own)
    assert {seen[1, place] for place in range(8)} == {55}
    assert {seen[0, place] for place in range(80)} == {5, 6}


def test_shares_in_between() -> None:
    steps = TaskSteps(rows_of(90, 40, 10), 10, 0.5, seed=1)
    assert steps.shares == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    assert steps.taken(0).tolist() == [0, 0, 0]
    assert steps.taken(600).tolist() == [300, 200, 100]


def test_nothing_is_taken_back() -> None:
    """Webster's method, other than the largest remainders, gives no task fewer of more steps."""
    steps = TaskSteps(rows_of(1000, 300, 70, 9, 1), 1, 0.7, seed=1)
    for before, after in pairwise(steps.taken(count) for count in range(400)):
        assert (after - before >= 0).all()
        assert (after - before).sum() == 1


def test_the_order_follows_seed_and_epoch_alone() -> None:
    rows = rows_of(30, 20)
    first = steps_of(rows, 4, 0.5, 3)
    assert steps_of(rows, 4, 0.5, 3) == first  # also without the epochs before
    assert steps_of(rows, 4, 0.5, 3, seed=8) != first
    assert [task for task, _ in steps_of(rows, 4, 0.5, 4)] != [task for task, _ in first]


@pytest.mark.parametrize(("accumulate", "count"), [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_batches_of_processes(accumulate: int, count: int) -> None:
    """All of a step's rows, once; a process without any has a row of the task that does not count."""
    rows = rows_of(23, 7)
    steps = TaskSteps(rows, 2 * accumulate * count, 1.0, seed=2)
    shares = [list(BatchesOfSteps(steps, accumulate, index, count)) for index in range(count)]
    assert {len(share) for share in shares} == {len(BatchesOfSteps(steps, accumulate, 0, count))}
    collate = collate_by_task({task: Collator(make_tokenizer()) for task in "01"})
    for number, step in enumerate(steps):
        batches = [b for share in shares for b in share[number * accumulate : (number + 1) * accumulate]]
        made = [collate(rows.__getitems__(batch)) for batch in batches]
        assert len({batch["task"] for batch in made}) == 1
        counted = [row for batch, of in zip(batches, made, strict=True) if "idle" not in of for row in batch]
        assert sorted(counted) == sorted(step.tolist())
        assert all(batch["input_ids"].shape[0] == 1 for batch in made if "idle" in batch)
        places = [place for batch in made if "idle" not in batch for place in batch["labels"].tolist()]
        assert sorted(places) == sorted(rows[int(row)]["labels"] for row in step)
