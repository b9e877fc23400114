"""How large the demo is: one place for every number that decides its time and its scores."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes of the masked LM and of its training."""

    layers: int = 4
    hidden: int = 128
    heads: int = 4
    pieces: int = 1_200  # WordPiece vocabulary
    tokenizer_reviews: int = 4_000  # it is made from these alone, so that rare words have several pieces
    steps: int = 900
    batch_size: int = 24  # small: in the time there is, the number of steps counts
    learning_rate: float = 2e-3  # at its peak: small BERTs take, and need, more than 1e-4
    masked: float = 0.2  # share of pieces; more than BERT's 15% pays in short runs (arXiv 2202.08005)


@dataclass(frozen=True)
class Sizes:
    """A demo: data, models, settings of the commands. Learning rates are ten times a BERT-base's and more, as small
    models take and need them."""

    train_reviews: int  # with labels; the teacher learns from all of them
    few_reviews: int  # the first so many, which the distilled students see
    dev_reviews: int
    unlabelled_reviews: int
    masked_lm: Shape
    vector_size: int
    vector_epochs: int
    student: str  # as --student takes it
    teacher_epochs: float
    teacher_rate: float
    steps: int  # of each of the two phases; the student without a teacher gets twice as many
    intermediate_rate: float
    prediction_rate: float
    baseline_rate: float
    variants: int  # N of the augmentation
    students_seeds: tuple[int, ...]
    batch_size: int = 32
    weak_teacher: bool = False  # go on with a teacher that learnt nothing


FULL = Sizes(
    train_reviews=12_000,
    few_reviews=1_000,
    dev_reviews=1_000,
    unlabelled_reviews=40_000,
    masked_lm=Shape(),
    vector_size=50,
    vector_epochs=3,
    student="shape:layers=2,hidden=64,heads=4,ffn=256",
    teacher_epochs=4,
    teacher_rate=4e-4,
    steps=375,
    intermediate_rate=2e-3,
    prediction_rate=1e-3,
    baseline_rate=1e-3,
    variants=12,
    students_seeds=(1, 2, 3),
)

# The same steps in seconds, for the tests: nothing is learnt.
QUICK = Sizes(
    train_reviews=64,
    few_reviews=48,
    dev_reviews=32,
    unlabelled_reviews=700,
    masked_lm=Shape(layers=2, hidden=32, heads=2, pieces=400, tokenizer_reviews=300, steps=4, batch_size=16),
    vector_size=16,
    vector_epochs=1,
    student="shape:layers=1,hidden=16,heads=2,ffn=32",
    teacher_epochs=1,
    teacher_rate=1e-3,
    steps=3,
    intermediate_rate=1e-3,
    prediction_rate=1e-3,
    baseline_rate=1e-3,
    variants=2,
    students_seeds=(1,),
    batch_size=16,
    weak_teacher=True,
)
