"""The demo's last word: teacher and students side by side, over seeds, as `demo.json` and `demo.md`."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from demo.commands import STUDENTS, report_path
from demo.sizes import Sizes
from glue_tasks.rows import Split

_TITLES = {
    "baseline": "student without a teacher",
    "distilled": "student, distilled",
    "augmented": "student, distilled with augmentation",
}


@dataclass(frozen=True)
class Entry:
    """A row of the table. `accuracy` holds one dev accuracy a seed; times are against the teacher."""

    name: str
    reviews: int  # it learnt from
    accuracy: tuple[float, ...]
    parameters: int | None = None
    times_smaller: float | None = None
    times_faster: float | None = None  # median over seeds; batches of 32, float32

    @property
    def mean(self) -> float:
        return statistics.mean(self.accuracy)

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds; None for a single run."""
        return statistics.stdev(self.accuracy) if len(self.accuracy) > 1 else None


def compare(output: Path, sizes: Sizes, bag_of_words: float) -> list[Entry]:
    """Read the reports of all runs."""
    reports = {
        student: [_read(report_path(output, student, seed)) for seed in sizes.students_seeds] for student in STUDENTS
    }
    teacher = reports["baseline"][0]["teacher"]
    entries = [
        Entry("bag of words", sizes.train_reviews, (bag_of_words,)),
        Entry("teacher", sizes.train_reviews, (teacher["dev"]["dev"]["accuracy"],), teacher["parameters"]),
    ]
    for student, runs in reports.items():
        phase = "baseline" if student == "baseline" else "prediction"
        found = [run["students"][phase] for run in runs]
        entries.append(
            Entry(
                _TITLES[student],
                runs[0]["phases"][phase]["data"]["train"]["rows"],
                tuple(entry["dev"]["dev"]["accuracy"] for entry in found),
                found[0]["parameters"],
                found[0]["ratios"]["times_smaller"],
                statistics.median(entry["ratios"]["times_faster_batch_32"] for entry in found),
            )
        )
    return entries


def bag_of_words_accuracy(train: Split, dev: Split) -> float:
    """The dev accuracy of a logistic regression on TF-IDF weighted words: what word counts alone can tell."""
    texts = [[row.texts[0] for row in table] for table in (train, dev)]
    labels = [[row.label for row in table] for table in (train, dev)]
    words = TfidfVectorizer()
    model = LogisticRegression(C=10, max_iter=1000).fit(words.fit_transform(texts[0]), labels[0])
    return float(model.score(words.transform(texts[1]), labels[1]))


def table(entries: Sequence[Entry]) -> list[list[str]]:
    """A header and a row an entry, as text."""
    rows = [["model", "reviews", "dev accuracy", "parameters", "smaller", "faster"]]
    for entry in entries:
        spread = "" if entry.spread is None else f" ± {entry.spread:.1%}"
        rows.append(
            [
                entry.name,
                f"{entry.reviews:,}",
                f"{entry.mean:.1%}{spread}",
                "" if entry.parameters is None else f"{entry.parameters / 1e6:.2f} M",
                "" if entry.times_smaller is None else f"{entry.times_smaller:.1f}x",
                "" if entry.times_faster is None else f"{entry.times_faster:.1f}x",
            ]
        )
    return rows


def write(output: Path, sizes: Sizes, entries: Sequence[Entry], facts: dict[str, Any]) -> None:
    """`demo.json`, the truth, and `demo.md`, drawn from it."""
    content = {"sizes": asdict(sizes), **facts, "models": [asdict(entry) for entry in entries]}
    (output / "demo.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    header, *rows = table(entries)
    lines = [
        "# Demo: made-up reviews",
        "",
        "| " + " | ".join(header) + " |",
        "|---" + "|---:" * (len(header) - 1) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        note(sizes),
    ]
    (output / "demo.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def note(sizes: Sizes) -> str:
    """What the figures are, and what they are not."""
    return (
        f"Mean ± standard deviation over {len(sizes.students_seeds)} seeds of the student, one teacher; "
        f"{sizes.dev_reviews:,} reviews in dev, which also selects the best epoch. All students are trained for "
        f"{2 * sizes.steps} steps. A student that is distilled needs no labels: it gets {sizes.few_reviews:,} of the "
        "reviews, with augmentation also variants of them, while the one without a teacher gets all, with labels. The "
        "sentences are a grammar's and all models are tiny: this shows that the parts work together, not what BERT "
        "would score. Speed: batches of 32, float32, one thread."
    )


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
