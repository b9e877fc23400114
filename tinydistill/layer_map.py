"""Which teacher layer teaches which student layer (TinyBERT, section 3.1: the uniform map g(m) = k·m)."""

from dataclasses import dataclass

from glue_tasks.errors import UserError


@dataclass(frozen=True)
class LayerMap:
    """`blocks[i]` is the teacher block (0-based) that teaches student block i; hidden states follow from it."""

    blocks: tuple[int, ...]

    @property
    def attention(self) -> tuple[tuple[int, int], ...]:
        """(student block, teacher block), both 0-based."""
        return tuple(enumerate(self.blocks))

    @property
    def hidden(self) -> tuple[tuple[int, int], ...]:
        """(student, teacher) hidden states: 0 is the embedding output, i the output of block i counted from 1."""
        return ((0, 0), *((i + 1, block + 1) for i, block in enumerate(self.blocks)))


def uniform(teacher_layers: int, student_layers: int) -> LayerMap:
    """Block i learns from block k·i + k - 1 with k = N/M: 2i + 1 when the teacher is twice as deep.

    Raises UserError if the student's blocks do not divide the teacher's.
    """
    if student_layers < 1 or teacher_layers % student_layers:
        fits = ", ".join(str(m) for m in range(1, teacher_layers + 1) if teacher_layers % m == 0)
        cure = f"choose a student of {fits} layers"
        if 1 <= student_layers < teacher_layers:
            blocks = ((i + 1) * teacher_layers // student_layers - 1 for i in range(student_layers))
            cure += (
                ", or name the teacher block (from 0) of each student block, such as "
                f"--layer-map {','.join(map(str, blocks))}"
            )
        raise UserError(f"the student's {student_layers} layers do not divide the teacher's {teacher_layers}; {cure}")
    k = teacher_layers // student_layers
    return LayerMap(tuple(k * i + k - 1 for i in range(student_layers)))


def explicit(text: str, teacher_layers: int, student_layers: int) -> LayerMap:
    """A map written as the teacher block (0-based) of each student block: `1,3,5`.

    Raises UserError if it is not a list of numbers, has another length, or names a block the teacher lacks.
    """
    try:
        blocks = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--layer-map {text!r} is not a list of block numbers such as 1,3,5") from None
    if len(blocks) != student_layers:
        raise UserError(f"--layer-map {text} names {len(blocks)} blocks, the student has {student_layers}")
    outside = [block for block in blocks if not 0 <= block < teacher_layers]
    if outside:
        raise UserError(
            f"--layer-map {text} names block {outside[0]}; the teacher's {teacher_layers} blocks are numbered "
            f"0 to {teacher_layers - 1}"
        )
    return LayerMap(blocks)


def choose(text: str, teacher_layers: int, student_layers: int) -> LayerMap:
    """The explicit map if `text` is one, else (`uniform`) the uniform map."""
    if text == "uniform":
        return uniform(teacher_layers, student_layers)
    return explicit(text, teacher_layers, student_layers)
