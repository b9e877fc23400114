"""Writes TensorFlow checkpoints, by the description of the format alone: shares no code with what reads them.

https://github.com/google/leveldb/blob/main/doc/table_format.md and tensorflow/core/protobuf/tensor_bundle.proto.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = 0xDB4775248B80FB57
DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}
BFLOAT16 = 14


def _bitwise() -> list[int]:
    table = []
    for octet in range(256):
        for _ in range(8):
            octet = (octet >> 1) ^ (0x82F63B78 if octet & 1 else 0)
        table.append(octet)
    return table


_TABLE = _bitwise()


def plain_crc(data: bytes) -> int:
    """CRC-32C, a byte at a time."""
    state = 0xFFFFFFFF
    for octet in data:
        state = _TABLE[(state ^ octet) & 0xFF] ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = plain_crc(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % (1 << 32)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer: a number or a message."""
    if isinstance(value, bytes):
        return varint(8 * number + 2) + varint(len(value)) + value
    return varint(8 * number) + varint(value)


def entry(dtype: int, shape: tuple[int, ...], shard: int, offset: int, data: bytes, more: bytes = b"") -> bytes:
    dims = b"".join(field(2, field(1, size) if size else b"") for size in shape)
    numbers = b"".join(field(at, value) for at, value in ((3, shard), (4, offset), (5, len(data))) if value)
    return field(1, dtype) + field(2, dims) + numbers + varint(8 * 6 + 5) + struct.pack("<I", masked(data)) + more


def _block(entries: list[tuple[bytes, bytes]], restart: int = 3) -> bytes:
    out, before, restarts = b"", b"", []
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % restart == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return out + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def write_table(path: Path, entries: Mapping[bytes, bytes], per_block: int = 5) -> None:
    """A table of sorted keys, so many of them in a block."""
    keys, out, index = sorted(entries), b"", []

    def add(block: bytes) -> bytes:
        nonlocal out
        handle = varint(len(out)) + varint(len(block))
        out += block + b"\0" + struct.pack("<I", masked(block + b"\0"))
        return handle

    for start in range(0, len(keys), per_block):
        own = keys[start : start + per_block]
        index.append((own[-1] + b"~", add(_block([(key, entries[key]) for key in own]))))
    footer = add(_block([])) + add(_block(index, restart=1))
    path.write_bytes(out + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC))


def bundle_header(shards: int) -> bytes:
    return field(1, shards) + field(3, field(1, 1))


def write_checkpoint(
    prefix: Path, variables: Mapping[str, np.ndarray], shards: int = 1, bfloat16: tuple[str, ...] = (), **more: Any
) -> None:
    """PREFIX.index and PREFIX.data-*: the variables in turn over the shards, those of `bfloat16` cut to that type."""
    data = [b""] * shards
    entries = {b"": bundle_header(shards)}
    for number, (name, values) in enumerate(variables.items()):
        shard = number % shards
        dtype, raw = DTYPES[str(values.dtype)], np.ascontiguousarray(values).tobytes()
        if name in bfloat16:
            dtype, raw = BFLOAT16, (np.ascontiguousarray(values).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        entries[name.encode()] = entry(dtype, values.shape, shard, len(data[shard]), raw)
        data[shard] += raw
    write_table(Path(f"{prefix}.index"), entries, **more)
    for shard, raw in enumerate(data):
        Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}").write_bytes(raw)
