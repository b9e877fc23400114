"""The mean of several teachers, against float64 formulas."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from tests.tinydistill.runs import NARROW, refused, run
from tinydistill.ensemble import Ensemble
from tinydistill.losses import soft_cross_entropy

SHARES = {"a": 0.7, "b": 0.3}


def logits() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn(5, 4) * 3 for name in SHARES}


def as_arrays(of: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    return of["a"].double().numpy(), of["b"].double().numpy()


def test_of_logits() -> None:
    of = logits()
    a, b = as_arrays(of)
    np.testing.assert_allclose(Ensemble(SHARES).mean(of).numpy(), 0.7 * a + 0.3 * b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_of_probabilities(temperature: float) -> None:
    of = logits()
    a, b = (softmax(each / temperature, -1) for each in as_arrays(of))
    found = Ensemble(SHARES, "probabilities").mean(of, temperature)
    np.testing.assert_allclose(softmax(found.double().numpy() / temperature, -1), 0.7 * a + 0.3 * b, rtol=1e-5)


def test_of_probabilities_of_several_labels() -> None:
    of = logits()
    a, b = (expit(each / 2) for each in as_arrays(of))
    found = Ensemble(SHARES, "probabilities", by_label=True).mean(of, 2.0)
    np.testing.assert_allclose(expit(found.double().numpy() / 2), 0.7 * a + 0.3 * b, rtol=1e-5)


def test_a_temperature_for_each_row() -> None:
    of, temperature = logits(), torch.tensor([[1.0], [2.0], [4.0], [8.0], [0.5]])
    found = Ensemble(SHARES, "probabilities").mean(of, temperature)
    for row in range(5):
        alone = Ensemble(SHARES, "probabilities").mean({k: v[row] for k, v in of.items()}, temperature[row].item())
        torch.testing.assert_close(found[row], alone)


def test_a_teacher_that_counts_nothing() -> None:
    of = logits()
    assert Ensemble({"a": 0.0, "b": 1.0}, "probabilities").mean(of) is of["b"]
    far = {"a": torch.tensor([[1e4, -1e4]]), "b": torch.tensor([[-1e4, 1e4]])}
    assert torch.isfinite(Ensemble(SHARES, "probabilities").mean(far)).all()


@pytest.mark.realdata
def test_textbrewers_two_teachers(shared: Path) -> None:
    """Cross-entropy of the mean of their logits."""
    found = json.loads((shared / "reference" / "textbrewer_vectors.json").read_text())
    (case,) = (each for each in found["totals"] if each["case"].startswith("two teachers"))
    own, *theirs = (torch.tensor(found["inputs"][name]) for name in ("logits_S", "logits_T", "logits_T2"))
    mean = Ensemble({"a": 0.5, "b": 0.5}).mean(dict(zip("ab", theirs, strict=True)))
    temperature = case["config"]["temperature"]
    assert soft_cross_entropy(own, mean, temperature).mean().item() == pytest.approx(case["total"], rel=1e-5)


def test_a_run_with_other_weights_is_another_run(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also beside the digest of the teachers' own weights, which has the option's name in the record."""
    teachers = [
        "--teacher",
        f"a={teacher_dir}",
        "--teacher",
        f"b={teacher_dir}",
        "--student",
        NARROW,
        "--max-steps",
        "2",
    ]
    run("prediction", data_dir, tmp_path, *teachers, "--teacher-weights", "0.8,0.2")
    run("prediction", data_dir, tmp_path, *teachers, "--teacher-weights", "0.8,0.2")
    assert "already finished" in capsys.readouterr().out
    told = refused(capsys, "prediction", data_dir, tmp_path, *teachers, "--teacher-weights", "0.5,0.5")
    assert "teacher_shares" in told
