"""The variables of a TensorFlow checkpoint: names, types, shapes, and values from the files of data.

Source: tensorflow/core/protobuf/tensor_bundle.proto, read as the wire format of protocol buffers says. The key "" has
a BundleHeaderProto, each other one a BundleEntryProto; the values lie in PREFIX.data-00000-of-00001 and so on, as they
lie in memory. Each tensor that is read is compared with its checksum.
"""

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glue_tasks.errors import UserError
from tinydistill.convert.crc32c import masked_crc32c
from tinydistill.convert.table import Damaged, is_table, read_table, varint


@dataclass(frozen=True)
class Variable:
    """Where and what a variable is. Its shape is empty for a single value, None where it is not known."""

    dtype: int  # of tensorflow/core/framework/types.proto
    shape: tuple[int, ...] | None
    shard: int
    offset: int
    size: int  # bytes
    checksum: int  # masked CRC-32C
    partitioned: bool


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint: its files begin with `prefix`."""

    prefix: Path
    shards: int
    variables: Mapping[str, Variable]

    def read(self, name: str) -> np.ndarray:
        """The values of a variable in float32. Raises UserError if they are damaged, missing or no such numbers."""
        variable = self.variables[name]
        if variable.partitioned:
            raise UserError(
                f"{name} in {self.prefix} is cut into pieces (a partitioned variable), which is not read; save the "
                "checkpoint without a partitioner"
            )
        if variable.dtype not in _FLOATS or variable.shape is None:
            raise UserError(f"{name} in {self.prefix} holds no floating-point numbers, as a weight does")
        kind = np.dtype(_FLOATS[variable.dtype])
        if variable.size != math.prod(variable.shape) * kind.itemsize:
            raise UserError(f"{self.prefix}.index is damaged: {name} has {variable.size:,} bytes, which do not fit it")
        raw = self._bytes(name, variable)
        if masked_crc32c(raw) != variable.checksum:
            raise UserError(f"{self._shard(variable)} is damaged in {name}: a checksum does not fit; copy it again")
        try:
            values = raw.view(kind).reshape(variable.shape)
        except (ValueError, OverflowError):  # of no values, along more or longer dimensions than an array has
            raise UserError(f"{self.prefix}.index is damaged: {name} has no such shape {variable.shape}") from None
        if variable.dtype == _BFLOAT16:  # the upper half of a float32
            return (values.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # the caller looks for infinite ones
            return values.astype(np.float32, copy=False)

    def _bytes(self, name: str, variable: Variable) -> np.ndarray:
        path = self._shard(variable)
        if not path.is_file():
            raise UserError(f"there is no {path}, where {name} is; copy all files of the checkpoint")
        if variable.offset + variable.size > path.stat().st_size:
            raise UserError(f"{path} is cut off: {name} lies behind its end; copy it again")
        raw = np.fromfile(path, np.uint8, variable.size, offset=variable.offset)
        if len(raw) != variable.size:
            raise UserError(f"{path} was cut off while it was read; copy it again")
        return raw

    def _shard(self, variable: Variable) -> Path:
        return Path(f"{self.prefix}.data-{variable.shard:05d}-of-{self.shards:05d}")


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint of a prefix, of one of its files, or of a folder that holds one. Raises UserError if it is none.

    No values are read.
    """
    prefix = _prefix(path)
    index = Path(f"{prefix}.index")
    table = read_table(index)
    try:
        shards = _header(table.pop(b"", b""))
        found = {_name(key): _variable(value) for key, value in table.items() if not key.startswith(b"\0")}
        if wrong := [name for name, variable in found.items() if variable.shard >= shards]:
            raise Damaged(f"{wrong[0]} lies in a file that it does not have")
    except Damaged as fault:
        raise UserError(f"{index} is damaged: {fault}; copy the checkpoint again") from None
    if any(name.endswith("/.ATTRIBUTES/VARIABLE_VALUE") or name == "_CHECKPOINTABLE_OBJECT_GRAPH" for name in found):
        raise UserError(
            f"{prefix} is a checkpoint of TensorFlow 2's objects (Keras), whose names depend on its code; only those "
            "of TensorFlow 1, with names such as bert/embeddings/word_embeddings, are converted"
        )
    return Checkpoint(prefix, shards, found)


def _prefix(path: Path) -> Path:
    """The name that the files of a checkpoint begin with."""
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) == 1:
            return found[0].with_suffix("")
        if found:
            raise UserError(
                f"the folder {path} holds {len(found)} checkpoints; name one, such as {found[-1].with_suffix('')}"
            )
        raise UserError(f"the folder {path} holds no TensorFlow checkpoint (a file that ends in .index)")
    prefix = Path(re.sub(r"\.(?:index|meta|data-\d{5}-of-\d{5})$", "", str(path)))
    if Path(f"{prefix}.index").is_file():
        return prefix
    if path.is_file():
        what = _kind(path)
        raise UserError(f"{path} is {what}; give the name that a checkpoint's .index and .data files begin with")
    beside = next(iter(sorted(path.parent.glob(f"{_literal(prefix.name)}.data-*"))), None) if path.name else None
    if beside:
        raise UserError(f"there is no {prefix}.index beside {beside}; copy all files of the checkpoint")
    raise UserError(f"there is no checkpoint {path} (its files end in .index and .data-00000-of-00001)")


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _kind(path: Path) -> str:
    """What a file that is no part of a checkpoint seems to be."""
    with open(path, "rb") as file:
        start = file.read(64)
    if start.startswith(b"model_checkpoint_path"):
        return "the list of a folder's checkpoints, not one of them"
    if start.startswith(b"\x89HDF"):
        return "a file of HDF5 (Keras), not a TensorFlow 1 checkpoint"
    if start.startswith((b"PK", b"\x1f\x8b")):
        return "an archive, which is to be unpacked first"
    if is_table(path):
        return "a checkpoint in the form before TensorFlow 0.12, which is not read"
    return "no part of a TensorFlow checkpoint"


def _name(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise Damaged("the name of a variable is no text") from None


def _header(data: bytes) -> int:
    """The number of shards."""
    fields = dict(_fields(data))
    if fields.get(2, 0):
        raise Damaged("its numbers are in big-endian order, which is not read")
    shards = fields.get(1, 0)
    if not isinstance(shards, int) or not 0 < shards < 100_000:
        raise Damaged("it has no header")
    return shards


def _variable(data: bytes) -> Variable:
    fields: dict[int, Any] = {1: 0, 2: b"", 3: 0, 4: 0, 5: 0, 6: 0}
    partitioned = False
    for number, value in _fields(data):
        if number in fields and type(value) is not type(fields[number]):
            raise Damaged("the entry of a variable is none")
        fields[number] = value
        partitioned |= number == 7
    return Variable(fields[1], _shape(fields[2]), fields[3], fields[4], fields[5], fields[6], partitioned)


def _shape(data: bytes) -> tuple[int, ...] | None:
    sizes = []
    for number, value in _fields(data):
        if number == 3 and value:  # unknown rank
            return None
        if number == 2:
            size = dict(_fields(value)).get(1, 0) if isinstance(value, bytes) else b""
            if not isinstance(size, int):
                raise Damaged("the shape of a variable is none")
            sizes.append(size)
    return tuple(sizes)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message. Raises Damaged if it is none."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
            yield tag >> 3, value
            continue
        size, at = varint(data, at) if tag & 7 == 2 else (_FIXED.get(tag & 7, len(data)), at)
        if at + size > len(data):
            raise Damaged("a message in it is cut off")
        part = data[at : at + size]
        yield tag >> 3, part if tag & 7 == 2 else struct.unpack("<I" if size == 4 else "<Q", part)[0]
        at += size


_FIXED = {1: 8, 5: 4}  # bytes by wire type
_BFLOAT16 = 14
_FLOATS = {1: "<f4", 2: "<f8", 19: "<f2", _BFLOAT16: "<u2"}
