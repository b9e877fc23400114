"""The table of `python -m tinydistill parameters`, for one model or two."""

from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinydistill.parameters import Pair, Row, Tree, pairs


def show(told: Sequence[Tree], console: Console | None = None) -> None:
    """Print the table of one model, or of two beside each other, with lines on each above and below.

    Nothing is cut off: a table wider than the terminal is wrapped by it.
    """
    console = console or Console(highlight=False)
    numbers = [f"{number}: " if told[1:] else "" for number in range(1, len(told) + 1)]
    for number, each in zip(numbers, told, strict=True):
        for line in _headings(each):
            console.print(number + line, soft_wrap=True, markup=False)
    table = to_table(told)
    unlimited = console.options.update(max_width=10_000)
    console.print()
    console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)
    for number, each in zip(numbers, told, strict=True):
        for line in _buffers(each):
            console.print(number + line, soft_wrap=True, markup=False)


def to_table(told: Sequence[Tree]) -> Table:
    """The rows of one model, or of two by name, for rich."""
    first, *others = told
    rows = pairs(first, others[0]) if others else [Pair(row.name, row, None) for row in first.rows]
    of_each = [[pair.first for pair in rows], *([pair.second for pair in rows] for _ in others)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("module", no_wrap=True)
    columns = []
    for title, cell in _CELLS.items():
        for number, own in enumerate(of_each, 1):
            table.add_column(f"{title} {number}" if others else title, justify="right", no_wrap=True)
            columns.append([cell(row) if row else "" for row in own])
        if others and not columns[2:]:  # beside the two numbers of parameters
            table.add_column("times smaller", justify="right", no_wrap=True)
            columns.append([f"{pair.times_smaller:.2f}" if pair.times_smaller else "" for pair in rows])
    shared = [_shared(pair) for pair in rows]
    if any(shared):
        table.add_column("shared with", overflow="fold")
        columns.append(shared)
    for pair, *cells in zip(rows, *columns, strict=True):
        table.add_row(_label(pair.name), *map(escape, cells))
    return table


def _trained(row: Row) -> str:
    if not row.parameters:
        return "shared"
    if row.trained in (0, row.parameters):
        return "yes" if row.trained else "frozen"
    return f"{row.trained / row.parameters:.1%}"


_CELLS: dict[str, Callable[[Row], str]] = {
    "parameters": lambda row: f"{row.parameters:,}",
    "share": lambda row: f"{row.share:.1%}",
    "MB": lambda row: f"{row.bytes / 1e6:.2f}",
    "trained": _trained,
}


def _shared(pair: Pair) -> str:
    """Where further weights of a row are counted; with the model's number where the two differ."""
    first, second = (_places(row) for row in (pair.first, pair.second))
    if first == second or not (pair.first and pair.second):
        return first or second
    return "; ".join(f"{number}: {places}" for number, places in enumerate((first, second), 1) if places)


def _places(row: Row | None) -> str:
    if not row or not row.shared_with:
        return ""
    more = len(row.shared_with) - 1
    return row.shared_with[0] + (f" and {more} more" if more else "")


def _label(name: str) -> str:
    depth = name.count(".") + 1 if name else 0
    return "  " * depth + escape(name.rpartition(".")[2] or "all")


def _headings(each: Tree) -> Iterator[str]:
    whole, dtypes = each.whole, " and ".join(each.dtypes)
    frozen = f", {whole.frozen:,} of them frozen" if whole.frozen else ""
    yield (
        f"{each.name} ({each.model}): {whole.parameters:,} parameters{frozen}; {whole.bytes / 1e6:.2f} MB in {dtypes}, "
        f"{each.where}"
    )
    yield from each.notes


def _buffers(each: Tree) -> Iterator[str]:
    if each.buffers:
        listed = ", ".join(f"{buffer.name} ({buffer.values:,})" for buffer in each.buffers[:4])
        more = f" and {len(each.buffers) - 4} more" if each.buffers[4:] else ""
        yield f"buffers, which are no parameters: {listed}{more}"
