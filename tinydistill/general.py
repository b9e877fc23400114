"""General distillation: a phase on plain text, from a pretrained encoder, before any task.

Source: TinyBERT (arXiv 1909.10351), section 3.2; MiniRBT and MobileBERT begin with the same, by other objectives.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from glue_tasks.errors import UserError
from tinydistill.cards import of_text
from tinydistill.cards.publishing import publish
from tinydistill.chain import stage_options
from tinydistill.corpus.data import TextData, load_text
from tinydistill.corpus.settings import text_settings
from tinydistill.distiller import Distiller
from tinydistill.encoders.pretrained import quiet
from tinydistill.options import Options
from tinydistill.phase_run import PhaseRun
from tinydistill.phases import Phase
from tinydistill.preparation import check_ahead
from tinydistill.run import check_folder
from tinydistill.teachers import TeacherSignal
from tinydistill.text_report import print_report
from tinydistill.text_task import text_task
from tinydistill.trainer import DistillationTrainer


class GeneralRun(PhaseRun):
    """A phase on plain text in its folder. The student has a head only where the objectives look at outputs."""

    data: TextData  # type: ignore[assignment]

    def __init__(self, phase: Phase, options: Options, callbacks: Sequence[TrainerCallback] = ()):
        """Raises UserError if the settings contradict each other."""
        # Nothing of a teacher is kept: the vocabulary at each masked piece, which are others in each epoch.
        settings = dataclasses.replace(text_settings(phase, options), cache_teacher=False)
        super().__init__(phase, text_task(phase.trains_head), settings, callbacks)

    def _load_data(self, tokenizer: PreTrainedTokenizerBase) -> TextData:  # type: ignore[override]
        return load_text(self.options, tokenizer, self.kind)

    def sources(self) -> dict[str, Any]:
        digests = {"corpus_data": self.data.corpus.digests(), "corpus_words": self.data.words_by}
        return {**self.prepared.identity, **digests}

    def _check_teacher(self, who: str, teacher: PreTrainedModel) -> tuple[list[str], float]:
        return super()._check_teacher(who, teacher) if self.phase.trains_head else ([], 0.0)

    def _trainer(self, distiller: Distiller, signal: TeacherSignal) -> DistillationTrainer:
        trainer = super()._trainer(distiller, signal)
        if self.phase.trains_head:
            trainer.score = lambda student: {**trainer.mean_losses(self.data.main_dev), **self.score(student)}
        return trainer


@quiet()
def run(phase: Phase, options: Options, callbacks: Sequence[TrainerCallback] = ()) -> Path:
    """Run the phase; returns the folder of its student. Raises UserError if anything does not fit."""
    check_folder(options)
    if not options.teacher:
        raise UserError(f"--phase {phase.name} needs --teacher, a pretrained encoder: a folder or a hub id")
    if options.chain:
        check_ahead([phase], text_task(phase.trains_head), options)
    for of_stage in stage_options(options, phase.name):
        folder = GeneralRun(phase, of_stage, callbacks).run()
    report = print_report(Path(options.output_dir), [phase.name])
    publish(of_text.cards(report, options.license), folder, options.push_to_hub)
    print(f"student: {folder}\nnext: name it with --student in the phases of a task")
    return folder
