"""How large the demo is: one place for every number that decides its time and its scores."""

from dataclasses import dataclass

from demo.pretrain import Shape


@dataclass(frozen=True)
class Phase:
    """Training of one phase; the learning rates are those of small models, ten times a BERT-base's and more."""

    epochs: float
    learning_rate: float


@dataclass(frozen=True)
class Sizes:
    """A demo: data, models, settings of the commands."""

    train_reviews: int
    dev_reviews: int
    unlabelled_reviews: int
    masked_lm: Shape
    vector_size: int
    vector_epochs: int
    student: str  # as --student takes it
    teacher: Phase
    intermediate: Phase
    prediction: Phase
    baseline: Phase
    variants: int  # N of the augmentation
    students_seeds: tuple[int, ...]
    batch_size: int = 32
    weak_teacher: bool = False  # go on with a teacher that learnt nothing

    def on_variants(self, phase: Phase) -> Phase:
        """The phase on augmented data: 1 + N times the rows, so many times fewer epochs, about as many steps."""
        return Phase(phase.epochs / (1 + self.variants), phase.learning_rate)


FULL = Sizes(
    train_reviews=12_000,
    dev_reviews=1_000,
    unlabelled_reviews=40_000,
    masked_lm=Shape(),
    vector_size=50,
    vector_epochs=3,
    student="shape:layers=2,hidden=64,heads=4,ffn=256",
    teacher=Phase(3, 4e-4),
    intermediate=Phase(1, 2e-3),
    prediction=Phase(1, 1e-3),
    baseline=Phase(2, 1e-3),
    variants=1,
    students_seeds=(1, 2),
)

# The same steps in seconds, for the tests: nothing is learnt.
QUICK = Sizes(
    train_reviews=64,
    dev_reviews=32,
    unlabelled_reviews=700,
    masked_lm=Shape(layers=2, hidden=32, heads=2, pieces=400, tokenizer_reviews=300, steps=4, batch_size=16),
    vector_size=16,
    vector_epochs=1,
    student="shape:layers=1,hidden=16,heads=2,ffn=32",
    teacher=Phase(1, 1e-3),
    intermediate=Phase(1, 1e-3),
    prediction=Phase(1, 1e-3),
    baseline=Phase(2, 1e-3),
    variants=2,
    students_seeds=(1,),
    batch_size=16,
    weak_teacher=True,
)
