"""The index of a TensorFlow checkpoint: a sorted table of keys and values, as LevelDB writes it.

Source: LevelDB's doc/table_format.md. Blocks of entries, then a block of handles (offset and size) of those blocks, and
at the end 48 bytes: handles of the meta index and of the index, zeros, and a magic number. Each block is followed by
its type and a CRC-32C, which are checked; TensorFlow compresses none.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from glue_tasks.errors import UserError
from tinydistill.convert.crc32c import masked_crc32c

_FOOTER = 48  # bytes
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)


class Damaged(Exception):
    """Bytes that are not what the format says; the caller knows of which file."""


def is_table(path: Path) -> bool:
    """Whether the file ends as such a table does."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(size - len(_MAGIC), 0))
        return size >= _FOOTER and file.read() == _MAGIC


def read_table(path: Path) -> dict[bytes, bytes]:
    """All keys and values of a table. Raises UserError if it is none, or is damaged or cut off."""
    if not is_table(path):
        raise UserError(
            f"{path} is no index of a TensorFlow checkpoint, or is cut off: it does not end as one does; copy it again"
        )
    data = path.read_bytes()
    try:
        return dict(_entries(data))
    except Damaged as fault:
        raise UserError(f"{path} is damaged: {fault}; copy the checkpoint again") from None


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and where what follows begins. Raises Damaged."""
    value = 0
    for place, octet in enumerate(data[at : at + 10]):
        value |= (octet & 0x7F) << 7 * place
        if octet < 0x80:
            return value, at + place + 1
    raise Damaged("a number in it does not end")


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The entries of all blocks, whose keys rise."""
    _, at = _handle(data, len(data) - _FOOTER)  # of the meta index, which TensorFlow leaves empty
    index, _ = _handle(data, at)
    before = None
    for _, value in _of_block(_block(data, index)):
        handle, end = _handle(value, 0)
        if end != len(value):
            raise Damaged("the place of a block is no place")
        for key, entry in _of_block(_block(data, handle)):
            if before is not None and key <= before:
                raise Damaged("its keys are not in order")
            before = key
            yield key, entry


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """A block's offset and size, and where what follows begins."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(data: bytes, handle: tuple[int, int]) -> bytes:
    offset, size = handle
    end = offset + size
    if end + 5 > len(data) - _FOOTER:
        raise Damaged("a block lies outside it")
    (checksum,) = struct.unpack_from("<I", data, end + 1)
    if checksum != masked_crc32c(data[offset : end + 1]):
        raise Damaged("a checksum does not fit")
    if data[end]:
        raise Damaged("it is compressed, which TensorFlow's are not")
    return data[offset:end]


def _of_block(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A block's entries: each key says how many bytes it shares with the one before."""
    restarts = struct.unpack_from("<I", block, len(block) - 4)[0] if len(block) >= 4 else 0
    end = len(block) - 4 * (restarts + 1)
    if not restarts or end < 0:
        raise Damaged("a block has no end")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or at + own + size > end:
            raise Damaged("an entry reaches over its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size
