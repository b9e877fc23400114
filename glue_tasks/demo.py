"""The task of `make demo`; its sentences come from a grammar (the folder `demo`), not from a release."""

from glue_tasks.task import Task

DEMO = {
    "demo": Task(
        name="demo",
        summary="is the made-up review positive or negative? (written by a grammar for `make demo`)",
        text_columns=("sentence",),
        label_column="label",
        labels=("negative", "positive"),
        label_codes=("0", "1"),
        metrics=("accuracy",),
        max_length=48,
        intermediate_epochs=10,
        prediction_epochs=5,
        variants=10,
        homepage="`make demo`, which writes them",
    )
}
