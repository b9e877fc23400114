"""Each model of a phase is tried before its first step: built, run on two rows, saved and loaded.

Architectures differ in what they let themselves be asked for. What does not work is told at once, and not after hours
of training, when a student cannot be saved.
"""

import contextlib
import copy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from transformers import PreTrainedConfig, PreTrainedModel

from glue_tasks.errors import UserError, is_outside
from tinydistill.distiller import Distiller
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.encoders.logits import logits_of
from tinydistill.encoders.precision import autocast
from tinydistill.encoders.recompute import recompute_activations
from tinydistill.ensemble import Ensemble
from tinydistill.kinds import TaskKind
from tinydistill.objectives import Objective
from tinydistill.phases import Phase
from tinydistill.students import start_from
from tinydistill.teachers import LiveTeacher, Teachers

_ROWS, _MOST_PIECES = 2, 64


@contextlib.contextmanager
def _explained(phase: Phase, config: PreTrainedConfig, precision: str) -> Iterator[None]:
    """What goes wrong inside, as a sentence. Draws of random numbers leave those that follow as they were."""
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if is_outside(error):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            other = "; --phase prediction alone may work" if phase.compares_layers else ""
            other += "; --precision float32 may work" if precision != "float32" else ""
            raise UserError(
                f"the {phase.name} phase does not work with models of type {config.model_type!r} ({reason}){other}; "
                "choose another, such as a BERT, RoBERTa, ELECTRA, DistilBERT, ALBERT or ModernBERT"
            ) from None


def check_phase(
    phase: Phase,
    kind: TaskKind,
    objectives: Sequence[Objective],
    student_config: PreTrainedConfig,
    teacher_configs: Mapping[str, PreTrainedConfig],
    max_length: int,
    copied: Sequence[int] = (),
    precision: str = "float32",
    recompute: bool = False,
) -> None:
    """A forward and a backward pass of the phase on two rows with random weights, and the student saved and loaded.

    teacher_configs: by name, none for a phase that learns from gold labels. copied: the first teacher's blocks that the
    student is made of. precision: float32 or bf16. recompute: whether the student computes its activations again
    (--gradient-checkpointing). Raises UserError if anything of it fails, or the loaded student gives other outputs.
    """
    with _explained(phase, student_config, precision):
        student = kind.auto_model.from_config(copy.deepcopy(student_config)).float()
        if recompute:
            recompute_activations(student)
        teachers = {
            name: kind.auto_model.from_config(copy.deepcopy(config)).float().eval()
            for name, config in teacher_configs.items()
        }
        if copied and teachers:
            start_from(next(iter(teachers.values())), student, copied)
        widths = {name: teacher.config.hidden_size for name, teacher in teachers.items()}
        ensemble = Ensemble(dict.fromkeys(teachers, 1 / len(teachers))) if teachers else None
        distiller = Distiller(student, objectives, widths, kind.outputs, ensemble)
        batch = _batch(kind, [student, *teachers.values()], max_length)
        signal = Teachers(
            LiveTeacher(teacher, objectives, precision, torch.device("cpu"), name) for name, teacher in teachers.items()
        )
        features = signal(batch)
        with autocast(precision, torch.device("cpu")):
            losses = distiller(batch, features)
        torch.stack([loss.sum() for loss in losses.values()]).sum().backward()
        with tempfile.TemporaryDirectory() as folder:
            safetensors.torch.save_model(distiller, str(Path(folder) / "distiller.safetensors"))
            student.save_pretrained(folder)
            loaded = kind.auto_model.from_pretrained(folder)
            given = {name: batch[name] for name in accepted_inputs(student)}
            with torch.no_grad():
                before, after = (logits_of(model.eval()(**given)) for model in (student, loaded))
        kept = loaded.state_dict()
        lost = [key for key, tensor in student.state_dict().items() if not torch.equal(tensor, kept[key])]
        if lost or not torch.allclose(before, after, rtol=1e-3, atol=1e-5):
            raise ValueError(f"a student that is saved and loaded is another one: {lost[0] if lost else 'its outputs'}")


def _batch(kind: TaskKind, models: Sequence[PreTrainedModel], max_length: int) -> dict[str, torch.Tensor]:
    """Two rows, the second half as long and in two segments."""
    length = min(max_length, _MOST_PIECES)
    pieces = min(model.config.vocab_size for model in models)
    mask = torch.ones(_ROWS, length, dtype=torch.long)
    mask[1, (length + 1) // 2 :] = 0
    types = torch.zeros_like(mask)
    types[:, length // 4 : (length + 1) // 2] = 1
    ids = torch.full((_ROWS, length), pieces - 1)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, **kind.blank(mask)}
