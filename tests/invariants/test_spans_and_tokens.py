"""Questions in windows, and tagged sentences: what must not change a student does not, nor does a resume."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import run_tinybert
from glue_tasks import TASKS
from tests import forked
from tests.tinydistill.conftest import make_tokenizer
from tests.tinydistill.runs import record
from tests.tinydistill.spans_and_tokens import tagged, tiny_model, write_questions, write_sentences
from tests.tinydistill.test_interrupted import Stop

from .conftest import Result

# Windows of 12 of up to 25 pieces, and sentences of up to 40: a third is in several.
LENGTHS = {"SQuAD1.1": ["--max-length", "18", "--doc-stride", "5"], "CoNLL2003": ["--max-length", "18"]}
PHASES = ["intermediate", "prediction"]
# They move the logits of all pieces alike, of which a softmax over pieces sees nothing.
SEEN_BY_NONE = {"SQuAD1.1": ("bert.encoder.layer.1.output.LayerNorm.bias", "qa_outputs.bias"), "CoNLL2003": ()}
NOTHING_RANDOM = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@dataclass(frozen=True)
class Setting:
    """A task with its files, and the arguments of a run from a teacher to a student without dropout."""

    task: str
    data: Path
    args: tuple[str, ...]

    def of(self, out: Path, *args: str) -> list[str]:
        return [*self.args, "--output-dir", str(out), *args]

    def __call__(self, out: Path, *args: str) -> Result:
        run_tinybert.main(self.of(out, *args))
        return self.read(out)

    def read(self, out: Path) -> Result:
        return Result.read(out, self.data, PHASES, self.task)


@pytest.fixture(scope="session", params=LENGTHS)
def setting(
    request: pytest.FixtureRequest,
    masked_lm_dir: Path,
    made_once: Callable[[str, Callable[[Path], None]], Path],
) -> Setting:
    task = TASKS[request.param]

    def make(folder: Path) -> None:
        where = folder / "data" / task.name
        for split, count, seed in (("train", 85, 1), ("dev", 60, 2)):
            if task.kind == "spans":
                write_questions(where / task.files[split], count, seed)
            else:
                write_sentences(where / task.files[split], tagged(count, seed, words=18))
        rates = ["--epochs", "12", "--learning-rate", "5e-3", "--batch-size", "16"]
        run_tinybert.main(
            ["--phase", "teacher", "--pretrained", str(masked_lm_dir), *shared(folder), *rates,
             "--output-dir", str(folder / "out")]
        )  # fmt: skip
        tiny_model(task, 3, layers=2, initializer_range=0.02, **NOTHING_RANDOM).save_pretrained(folder / "student")
        make_tokenizer().save_pretrained(folder / "student")

    def shared(folder: Path) -> list[str]:
        data = ["--task", task.name, "--data-dir", str(folder / "data"), "--precision", "float32"]
        return [*data, *LENGTHS[task.name], "--logging-steps", "2"]

    folder = made_once(f"setting-{task.name}", make)
    models = ["--teacher", str(folder / "out" / "teacher"), "--student", str(folder / "student")]
    lengths = ["--intermediate-epochs", "1", "--prediction-epochs", "3"]
    rates = ["--intermediate-lr", "1e-3", "--prediction-lr", "1e-3", "--batch-size", "8"]
    return Setting(task.name, folder / "data", ("--phase", "all", *shared(folder), *models, *lengths, *rates))


@pytest.fixture(scope="session")
def usual(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Result:
    result = setting(tmp_path_factory.mktemp("usual"))
    report = json.loads((result.folder / "report.json").read_text(encoding="utf-8"))
    rows = record(result.folder / "prediction")["data"]["train"]
    assert rows["windows"] > rows["rows"] == 85
    teacher = report["teacher"]["dev"]["dev"][TASKS[setting.task].main_metric]
    assert teacher >= 0.6  # or its answers would tell little
    return result


@pytest.mark.parametrize("variant", [["--batch-size", "4", "--accumulate", "2"], ["--padding", "max_length"]])
def test_the_same_student(setting: Setting, usual: Result, tmp_path: Path, variant: list[str]) -> None:
    setting(tmp_path, *variant).agrees_with(usual, SEEN_BY_NONE[setting.task])


@pytest.mark.slow
def test_two_processes(setting: Setting, usual: Result, tmp_path: Path) -> None:
    done = forked.run_together(2, ["run_tinybert.py", *setting.of(tmp_path, "--batch-size", "4")])
    assert [process.returncode for process in done] == [0, 0], done[0].stderr
    setting.read(tmp_path).agrees_with(usual, SEEN_BY_NONE[setting.task])


def test_a_resumed_run(setting: Setting, usual: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stop, "at", 25)  # in the second phase
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit) as stop:
            setting(tmp_path)
        assert stop.value.code == 130
    result = setting(tmp_path, "--resume")
    assert record(tmp_path / "prediction")["resumed"]
    result.equals(usual)
