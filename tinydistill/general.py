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
        masking = options.masking
        if masking == "auto":
            masking = "word" if phase.trains_head else "none"
        if masking == "none" and phase.trains_head:
            outputs = next(each for each in phase.objectives if not each.compares_layers)
            raise UserError(
                f"--masking none leaves nothing to guess, and the objective {outputs.label} compares what models guess "
                "at masked pieces; choose word or piece, or objectives of layers alone"
            )
        if masking == "none":
            for name in ("mask_share", "segmenter"):
                if getattr(options, name) != getattr(_DEFAULTS, name):
                    raise UserError(
                        f"{name} is for masks, and the phase {phase.name} masks nothing with these objectives; choose "
                        f"--masking word or piece, or leave {name} out"
                    )
        if phase.keeps_best and not phase.trains_head:
            raise UserError(
                f"the phase {phase.name} keeps the best student by its guesses at masked pieces, which its objectives "
                'do not train; set keeps = "last"'
            )
        # The vocabulary at each masked piece, which are others in each epoch: nothing to keep.
        settings = dataclasses.replace(options, masking=masking, cache_teacher=False)
        super().__init__(phase, text_task(phase.trains_head), settings, callbacks)

    def _load_data(self, tokenizer: PreTrainedTokenizerBase) -> TextData:  # type: ignore[override]
        return load_text(self.options, tokenizer, self.kind)

    def sources(self) -> dict[str, Any]:
        return {**self.prepared.identity, "corpus_data": self.data.corpus.digests()}

    def _check_teacher(self, who: str, teacher: PreTrainedModel) -> tuple[list[str], float]:
        return super()._check_teacher(who, teacher) if self.phase.trains_head else ([], 0.0)

    def _trainer(self, distiller: Distiller, signal: TeacherSignal) -> DistillationTrainer:
        trainer = super()._trainer(distiller, signal)
        if self.phase.trains_head:
            trainer.score = lambda student: {**trainer.mean_losses(self.data.main_dev), **self.score(student)}
        return trainer


_DEFAULTS = Options()


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
