"""Options that mean something for one kind of task are refused for others, before any work."""

from pathlib import Path

import pytest

from glue_tasks import get_task
from glue_tasks.errors import UserError
from tinydistill.predict import write_predictions
from tinydistill.settings import resolve


def test_noise_is_for_sentences_and_pairs() -> None:
    resolve("SST-2", {}, {"noise": "masking"})
    for task in ("MSRA", "SQuAD1.1"):
        with pytest.raises(UserError, match="noise moves the pieces of a text"):
            resolve(task, {}, {"noise": "masking"})


def test_doc_stride_is_for_questions() -> None:
    assert resolve("SQuAD1.1", {}, {"doc_stride": 64}).options.doc_stride == 64
    assert resolve("MSRA", {}, {}).options.doc_stride == 128
    for task in ("MSRA", "SST-2"):
        with pytest.raises(UserError, match="doc_stride is for questions about a text"):
            resolve(task, {}, {"doc_stride": 64})


@pytest.mark.parametrize("given", [{"n_best": 2}, {"doc_stride": 64}])
def test_predictions_of_questions_alone_have_n_best_and_strides(given: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="SST-2 has none"):
        next(write_predictions(get_task("SST-2"), "none", tmp_path, **given))
