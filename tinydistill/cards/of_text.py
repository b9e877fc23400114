"""The card of a student that learnt from plain text: a masked language model, or a bare encoder."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from huggingface_hub import ModelCard

from tinydistill.cards.card import card, how, hub_ids, loading, made_with
from tinydistill.report.markdown import table_lines


def cards(report: Mapping[str, Any], license: str = "") -> Iterator[tuple[str, Callable[[str], ModelCard]]]:
    """For `publishing.publish`: of each student of a report."""
    for name, student in report["students"].items():
        yield student["path"], partial(draw, report, name, license)


def draw(report: Mapping[str, Any], name: str, license: str = "", repo_id: str = "") -> ModelCard:
    """The card of one student of a report. repo_id: what it is called on the hub, if it goes there."""
    student = report["students"][name]
    return card(
        _page(report, name, repo_id),
        license=license or None,
        pipeline_tag="fill-mask" if _guesses(student) else "feature-extraction",
        base_model=hub_ids(student["settings"].get(key) for key in ("student", "teacher")) or None,
        tags=["tinydistill", "knowledge-distillation"],
    )


def _guesses(student: Mapping[str, Any]) -> bool:
    return "masked_accuracy" in student["held_out"]


def _page(report: Mapping[str, Any], name: str, repo_id: str) -> Iterator[str]:
    student = report["students"][name]
    settings = student["settings"]
    what = "A masked language model" if _guesses(student) else "An encoder without a head"
    yield from (f"# {repo_id.rpartition('/')[2] or 'A small encoder'}", "")
    yield (
        f"{what} of {student['parameters'] / 1e6:.1f} million parameters ({student['bytes'] / 1e6:.1f} MB), "
        "distilled with TinyDistill on plain text, before any task. It is to be fine-tuned, or distilled once more "
        "on a task: `run-tinybert --phase all --task ... --student THIS --teacher ...`."
    )
    measured = [
        ["on text that it has not seen", ""],
        *([key, f"{value:.4f}"] for key, value in student["held_out"].items()),
    ]
    yield from ("", "## Results", "", *table_lines(measured), "")
    yield (
        "Losses compare it with its teacher, summed over the layers that are compared."
        if not _guesses(student)
        else ("`masked_accuracy` is the share of masked pieces that it guesses, `masked_loss` in nats a piece.")
    )
    yield from ("", "## How it was made", "", how(name, settings, f"{student['steps']:,} steps"), "")
    yield from (made_with(report["versions"]), "", "## Use", "", "```python", *_code(student, repo_id), "```", "")
    yield from ("## Limits", "")
    yield f"- It read at most {settings['max_length']} word pieces in training."
    yield "- It says what its teacher says, less well: mistakes and biases of the teacher and of the text are in it."
    yield ""


def _code(student: Mapping[str, Any], repo_id: str) -> Iterator[str]:
    """Code that loads the student and asks it something."""
    if _guesses(student):
        yield from loading("AutoModelForMaskedLM", repo_id)
        yield 'inputs = tokenizer(f"A {tokenizer.mask_token} of text.", return_tensors="pt")'
        yield "with torch.inference_mode():"
        yield "    logits = model(**inputs).logits"
        yield "(masked,) = (inputs.input_ids[0] == tokenizer.mask_token_id).nonzero()[0]"
        yield "print(tokenizer.convert_ids_to_tokens(logits[0, masked].topk(5).indices.tolist()))"
    else:
        yield from loading("AutoModel", repo_id)
        yield 'inputs = tokenizer("A sentence.", return_tensors="pt")'
        yield "with torch.inference_mode():"
        yield "    states = model(**inputs).last_hidden_state"
        yield "print(states.mean(1).shape)  # a vector of the sentence"
