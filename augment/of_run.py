"""The augmentation that a run of `run_tinybert.py` asks for with --augment, into the run's folder."""

from pathlib import Path
from typing import Any

from augment.candidate_options import CandidateOptions
from augment.settings import Settings
from glue_tasks.errors import UserError
from glue_tasks.places import augmented_name, find_file
from glue_tasks.task import Task


def settings_for(task: Task, options: Any) -> Settings:
    """The settings, of a run's options. Raises UserError if they cannot be."""
    if not (options.mlm or options.pretrained):
        raise UserError("--augment needs --mlm or --pretrained: a masked language model")
    vectors = Path(options.vectors) if options.vectors else None
    candidates = CandidateOptions(multi_piece_words=options.multi_piece_words or None, language=task.language)
    if vectors and "vectors" in candidates.sources(vectors) and not vectors.is_file():
        raise UserError(f"there is no file {vectors}; name a file of word vectors with --vectors")
    return Settings(
        task=task,
        train_file=Path(options.train_file) if options.train_file else find_file(task, Path(options.data_dir), "train"),
        output=Path(options.output_dir) / "augment" / augmented_name(task),
        mlm=options.mlm or options.pretrained,
        vectors=vectors,
        options=candidates,
        variants=task.variants if options.variants < 0 else options.variants,
        task_file=Path(options.task_file) if options.task_file else None,
        seed=options.seed,
        precision=options.precision,
        skip_bad_rows=options.skip_bad_rows,
        swap_entities=options.swap_entities,
    )


def augment_for(task: Task, options: Any) -> Path:
    """Write the variants; gives their file. What is finished with the same settings is left."""
    from augment.pipeline import augment_file  # seconds to import

    settings = settings_for(task, options)
    counts = augment_file(settings, resume=options.resume, overwrite=options.overwrite)
    print(f"augmentation: {counts.rows_out:,} rows from {counts.rows_in:,} in {settings.output}")
    return settings.output
