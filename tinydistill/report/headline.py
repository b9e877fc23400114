"""The report in one sentence: what was kept, and how much smaller and faster the student is."""

from typing import Any

from tinydistill.report.text import without_directions


def title_of(report: dict[str, Any], name: str) -> str:
    """What a model of a report is called, as a part of a sentence: marks of direction in it are codes."""
    entry = report["teacher"] if name == "teacher" else report["students"].get(name, {})
    return without_directions(entry.get("title", name))


def main_of(report: dict[str, Any]) -> tuple[str, str]:
    """The split and the metric that select a checkpoint."""
    if "main" in report:
        return report["main"]["split"], report["main"]["metric"]
    split, scores = next(iter(report["teacher"]["dev"].items()))  # in reports that do not say it they come first
    return split, next(iter(scores))


def best_student(report: dict[str, Any]) -> str:
    """The name of the student with the best main score, of those that have a teacher if there are such; "" if none."""
    split, metric = main_of(report)
    students = report["students"]
    floors = {entry["against_floor"]["to"] for entry in students.values() if "against_floor" in entry}
    names = [name for name in students if name not in floors] or list(students)
    return max(names, key=lambda name: students[name]["dev"][split][metric], default="")


def headline(report: dict[str, Any]) -> str:
    """Of the best student of a task; of several tasks or of plain text what they come to. "" without a student."""
    if "tasks" in report:
        return _of_several(report)
    if "teacher" not in report:
        count = len(report["students"])
        return (
            f"{count} student{'s' * (count != 1)} of plain text, compared on text that none has seen." if count else ""
        )
    if not (name := best_student(report)):
        return ""
    (split, metric), student, teacher = main_of(report), report["students"][name], report["teacher"]
    own, theirs = (entry["dev"][split][metric] for entry in (student, teacher))
    kept = student["ratios"]["score_kept"]
    scores = f"{metric} {own:.4f} of {theirs:.4f} on {split}"
    said = f"keeps {kept:.1%} of the teacher's score ({scores})" if kept is not None else f"reaches {scores}"
    return f"The {title_of(report, name)} {said}, and is {_sizes(student['ratios'])}."


def _sizes(ratios: dict[str, Any]) -> str:
    speeds = {
        int(name.rpartition("_")[2]): value for name, value in ratios.items() if name.startswith("times_faster_batch_")
    }
    (size, fastest), *others = sorted(speeds.items())
    more = ", ".join(f"{value:.1f} at {other}" for other, value in others)
    faster = f"{fastest:.1f} times faster at a batch of {size}" + (f" ({more})" if more else "")
    return f"{ratios['times_smaller']:.1f} times smaller and {faster}"


def _of_several(report: dict[str, Any]) -> str:
    scored = {name: mean for name, mean in report["mean"].items() if mean["score_kept"] is not None}
    if not scored:
        return ""
    name = max(scored, key=lambda each: scored[each]["score_kept"])
    first = next(iter(report["tasks"].values()))
    return (
        f"The {title_of(first, name)} keeps {scored[name]['score_kept']:.1%} of the teachers' scores on the mean of "
        f"{len(report['tasks'])} tasks, and is {_sizes(first['students'][name]['ratios'])}."
    )
