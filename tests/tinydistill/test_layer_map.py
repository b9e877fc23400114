import pytest

from glue_tasks.errors import UserError
from tinydistill.layer_map import choose, explicit, uniform


@pytest.mark.parametrize(
    ("teacher", "student", "attention", "hidden"),
    [
        (12, 6, (1, 3, 5, 7, 9, 11), (0, 2, 4, 6, 8, 10, 12)),
        (12, 4, (2, 5, 8, 11), (0, 3, 6, 9, 12)),
        (6, 3, (1, 3, 5), (0, 2, 4, 6)),
        (12, 12, tuple(range(12)), tuple(range(13))),
        (12, 1, (11,), (0, 12)),
    ],
)
def test_uniform(teacher: int, student: int, attention: tuple[int, ...], hidden: tuple[int, ...]) -> None:
    layers = uniform(teacher, student)
    assert layers.attention == tuple(zip(range(student), attention, strict=True))
    assert layers.hidden == tuple(zip(range(student + 1), hidden, strict=True))


@pytest.mark.parametrize(("teacher", "student"), [(12, 5), (6, 4), (4, 3), (4, 6), (4, 5), (4, 0)])
def test_layers_that_do_not_divide_offer_a_map_that_works(teacher: int, student: int) -> None:
    with pytest.raises(UserError, match=f"{student} layers do not divide the teacher's {teacher}") as error:
        uniform(teacher, student)
    _, flag, offered = str(error.value).rpartition("--layer-map ")
    if flag:
        assert len(explicit(offered, teacher, student).blocks) == student
    assert bool(flag) == (0 < student < teacher)  # no map is offered where none would make sense


def test_explicit() -> None:
    assert choose("0,5", 6, 2).hidden == ((0, 0), (1, 1), (2, 6))
    assert choose("uniform", 6, 2).blocks == (2, 5)


@pytest.mark.parametrize(
    ("text", "message"), [("1;2", "not a list"), ("1", "names 1 blocks"), ("1,6", "block 6"), ("-1,2", "block -1")]
)
def test_explicit_map_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        explicit(text, 6, 2)
