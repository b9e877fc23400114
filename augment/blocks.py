"""An unfinished augmentation on disk: a folder beside the output with a file for each finished block of rows.

    train_aug.parts/run.json      settings, inputs and how many blocks there are; written first
    train_aug.parts/000000.json   counts of block 0
    train_aug.parts/000000.tsv    its rows, without a header, or 000000.jsonl if the output is so called

Each file appears whole or not at all, so that a kill at any moment costs the block in work and no other. Shards share
the folder, or fill one each on machines of their own, whose files are then put together.
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glue_tasks import UserError
from glue_tasks.seals import is_whole, seal
from glue_tasks.writers import TableWriter, write_json

try:
    import fcntl
except ImportError:  # Windows has none, and processes there are not kept apart
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Plan:
    """What `run.json` holds: all that must be equal for two processes to work on one output."""

    settings: dict[str, Any]  # that decide what is written
    inputs: dict[str, dict[str, Any]]
    run: dict[str, Any]  # that decide how the work is cut, and how bf16 rounds
    header: tuple[str, ...] | None
    rows: int
    left_out: dict[str, int] = field(default_factory=dict)  # rows of the training file, by the reason

    @property
    def blocks(self) -> int:
        """How many blocks there are; the last may be smaller."""
        return -(-self.rows // int(self.run["block_rows"]))

    def differences(self, other: "Plan") -> list[str]:
        """The names of settings and inputs in which two plans differ; what an input is called does not count."""
        pairs = [(self.settings, other.settings), (self.run, other.run)]
        named = [name for ours, theirs in pairs for name in ours | theirs if ours.get(name) != theirs.get(name)]
        for name in self.inputs | other.inputs:
            ours, theirs = ({**plan.inputs.get(name, {}), "name": ""} for plan in (self, other))
            if ours != theirs:
                named.append(name)
        return named


class Blocks:
    """The folder of an unfinished augmentation that will become `output`."""

    def __init__(self, output: Path):
        self.output = output
        self.folder = output.with_suffix(".parts")

    def read_plan(self) -> Plan | None:
        """None if nothing was begun here. Raises UserError if the folder is not one of ours."""
        try:
            read = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            header = None if read["header"] is None else tuple(read["header"])
            return Plan(read["settings"], read["inputs"], read["run"], header, read["rows"], read["left_out"])
        except FileNotFoundError:
            if self.folder.exists() and any(path.suffix != ".partial" for path in self.folder.iterdir()):
                raise UserError(f"{self.folder} holds other files; remove it, or name another --output-dir") from None
            return None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self.folder}/run.json cannot be read; remove {self.folder} and start anew") from None

    def begin(self, plan: Plan) -> Plan:
        """Note the plan unless one is there, and read it again: shards begin together, and the first one's counts."""
        content: dict[str, Any] = {"settings": plan.settings, "inputs": plan.inputs, "run": plan.run}
        content |= {"header": plan.header, "rows": plan.rows, "left_out": plan.left_out}
        whole = self.folder / f"run.json.{uuid.uuid4().hex}.partial"
        write_json(whole, content)
        try:
            os.link(whole, self.folder / "run.json")  # a rename would replace another's
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            with contextlib.suppress(FileExistsError), open(self.folder / "run.json", "xb") as file:
                file.write(whole.read_bytes())
        finally:
            whole.unlink(missing_ok=True)
        return self.read_plan() or plan

    @contextlib.contextmanager
    def locked(self, shard: str = "") -> Iterator[None]:
        """Keep other processes from these blocks; of a shard, those that do the same one or are none.

        Raises UserError if one is at work.
        """
        if not fcntl:
            yield
            return
        with contextlib.ExitStack() as locks:
            try:
                plan = locks.enter_context(open(self.folder / "run.json", "rb"))
                fcntl.flock(plan, (fcntl.LOCK_SH if shard else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                if shard:
                    own = locks.enter_context(open(self.folder / f"shard-{shard}.partial", "wb"))
                    fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except FileNotFoundError:
                raise UserError(
                    f"another process has finished what was in {self.folder}; run the same command again"
                ) from None
            except BlockingIOError:
                raise UserError(
                    f"another process is at work in {self.folder}; wait for it, name another --output-dir, or give "
                    "each a --shard of its own"
                ) from None
            yield

    def is_finished(self, block: int) -> bool:
        return is_whole(self._record(block))

    def finished(self, blocks: range) -> int:
        """How many of these blocks are finished."""
        return sum(map(self.is_finished, blocks))

    def writer(self, block: int) -> TableWriter:
        """A writer of the block's rows; `finish` its counts when it is closed, and the block is finished."""
        return TableWriter(self._rows(block))

    def finish(self, block: int, counts: dict[str, Any]) -> None:
        seal(self._record(block), self._rows(block), counts=counts)

    def counts(self, blocks: range) -> Iterator[dict[str, Any]]:
        """The counts of finished blocks."""
        for block in blocks:
            yield json.loads(self._record(block).read_text(encoding="utf-8"))["counts"]

    def join(self, plan: Plan) -> None:
        """Write the output from its blocks. Raises UserError if some are not finished."""
        missing = [block for block in range(plan.blocks) if not self.is_finished(block)]
        if missing:
            shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            raise UserError(
                f"{len(missing)} of {plan.blocks} blocks are not in {self.folder} (numbers {shown}); run or copy the "
                "shards that are missing, then merge again"
            )
        with TableWriter(self.output, plan.header) as writer:
            for block in range(plan.blocks):
                with open(self._rows(block), "rb") as file:
                    writer.append(file)

    def remove(self) -> None:
        """Delete the folder, `run.json` last: what is left by an interruption is still known for what it is."""
        if self.folder.exists():
            for path in sorted(self.folder.iterdir()):
                if path.name != "run.json":
                    path.unlink()
            shutil.rmtree(self.folder)

    def _record(self, block: int) -> Path:
        return self._rows(block).with_suffix(".json")

    def _rows(self, block: int) -> Path:
        return self.folder / f"{block:06d}{self.output.suffix}"
