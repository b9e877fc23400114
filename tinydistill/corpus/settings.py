"""Whether the settings of a phase on text fit together: asked before a corpus is read."""

import dataclasses
import os
from pathlib import Path

from glue_tasks.errors import UserError
from tinydistill.corpus.words import segmenter
from tinydistill.options import BY_DEV, Options
from tinydistill.phases import Phase

_DEFAULTS = Options()


def text_settings(phase: Phase, options: Options) -> Options:
    """The options with what `--masking auto` stands for in the phase.

    Raises UserError if the settings contradict each other, or the run would write into its own corpus.
    """
    chosen = options.masking
    if chosen == "auto":
        chosen = "word" if phase.trains_head else "none"
    if chosen == "none" and phase.trains_head:
        outputs = next(each for each in phase.objectives if not each.compares_layers)
        raise UserError(
            f"--masking none leaves nothing to guess, and the objective {outputs.label} compares what models guess "
            "at masked pieces; choose word or piece, or objectives of layers alone"
        )
    if chosen == "none" and options.mask_share != _DEFAULTS.mask_share:
        raise UserError(
            f"mask_share is for masks, and the phase {phase.name} masks nothing with these objectives; choose "
            "--masking word or piece, or leave mask_share out"
        )
    if chosen != "word" and options.segmenter != _DEFAULTS.segmenter:
        raise UserError(
            f"segmenter finds whole words to mask, and the phase {phase.name} masks "
            f"{'nothing with these objectives' if chosen == 'none' else 'single pieces'}; choose --masking word, or "
            "leave segmenter out"
        )
    if chosen == "word" and options.segmenter != "none":
        segmenter(options.segmenter)
    if phase.keeps_best and not phase.trains_head:
        raise UserError(
            f"the phase {phase.name} keeps the best student by its guesses at masked pieces, which its objectives "
            'do not train; set keeps = "last"'
        )
    if options.teacher_weights == BY_DEV and not phase.trains_head:
        raise UserError(
            f"--teacher-weights dev weighs teachers by their guesses at masked pieces, and the phase {phase.name} "
            "looks at layers alone; give each a number, or choose objectives of outputs, such as general-minirbt"
        )
    _check_places(options)
    return dataclasses.replace(options, masking=chosen)


def _check_places(options: Options) -> None:
    """Raises UserError if the run writes below a folder of the corpus: its files would be the next reading's text."""
    for folder in filter(os.path.isdir, options.corpus):
        real = Path(os.path.realpath(folder))
        for flag, place in (("--output-dir", options.output_dir), ("--cache-dir", options.cache)):
            if place and real in (own := Path(os.path.realpath(place)), *own.parents):
                raise UserError(
                    f"{flag} {place} lies in the corpus {folder}, and what a run writes there would be read as text; "
                    "name a folder outside of it"
                )
