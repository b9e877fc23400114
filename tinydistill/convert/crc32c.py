"""CRC-32C, by which TensorFlow's checkpoints check themselves, with numpy alone.

Source: RFC 3720, appendix B.4 (the Castagnoli polynomial, bits reflected). A CRC is linear: its state after zero bytes
is a matrix of bits times the state before. So a text is cut into lanes of equal length that go through the table beside
each other, and each lane's state is moved over the lanes behind it by the matrix of their length.
"""

import functools
from collections.abc import Callable

import numpy as np

_POLYNOMIAL = 0x82F63B78
_CHUNK = 1 << 24  # bytes at a time: bounds the memory
_LANES = 1 << 12  # their states, and the cache lines that they read at a time, fit into a core's own cache


def crc32c(data: bytes | np.ndarray) -> int:
    """The CRC-32C of some bytes, or of an array of them."""
    octets = np.frombuffer(data, np.uint8)
    state = 0xFFFFFFFF
    for start in range(0, len(octets), _CHUNK):
        state = _advance(state, octets[start : start + _CHUNK])
    return state ^ 0xFFFFFFFF


def masked_crc32c(data: bytes | np.ndarray) -> int:
    """The CRC as LevelDB and TensorFlow store it: rotated and moved, since a CRC of a text with its CRC says little."""
    found = crc32c(data)
    return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _advance(state: int, octets: np.ndarray) -> int:
    """The state after some bytes."""
    if len(octets) < 4:
        for octet in octets.tolist():
            state = int(_BYTES[(state ^ octet) & 0xFF]) ^ state >> 8
        return state
    words = -(-len(octets) // 4)
    lanes = min(1 << words.bit_length() // 2, _LANES)
    length = -(-words // lanes)  # in words
    # Zeros in front leave the state 0 as it is; another state is the same as 0 with that state in the first four bytes.
    padded = np.zeros(4 * lanes * length, np.uint8)
    start = len(padded) - len(octets)
    padded[start:] = octets
    padded[start : start + 4] ^= np.frombuffer(state.to_bytes(4, "little"), np.uint8)
    columns = padded.view("<u4").reshape(lanes, length)
    states = np.zeros(lanes, np.uint32)
    for column in range(length):
        before = (states ^ columns[:, column]).astype(np.intp)  # the type of indices; with others numpy is slow
        states = _LOW.take(before & 0xFFFF) ^ _HIGH.take(before >> 16)
    over_a_lane, whole = _over_words(length), 0
    for own in states.tolist():
        whole = over_a_lane(whole) ^ own
    return whole


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The states after one byte, (256,), and what the halves of a state become after four bytes, (65536,) each."""
    after_one = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        after_one = np.where(after_one & 1, after_one >> 1 ^ np.uint32(_POLYNOMIAL), after_one >> 1)
    after = [after_one]  # one to four bytes
    for _ in range(3):
        after.append(after_one[after[-1] & 0xFF] ^ after[-1] >> 8)
    half = np.arange(1 << 16)
    return after_one, after[3][half & 0xFF] ^ after[2][half >> 8], after[1][half & 0xFF] ^ after[0][half >> 8]


_BYTES, _LOW, _HIGH = _tables()


@functools.lru_cache(maxsize=64)
def _over_words(count: int) -> Callable[[int], int]:
    """What a state becomes after so many words of zeros, by squaring the matrix of one word."""
    result = [1 << bit for bit in range(32)]  # the matrix's columns
    power = [int(_LOW[column & 0xFFFF] ^ _HIGH[column >> 16]) for column in result]
    while count:
        if count & 1:
            result = [_times(power, column) for column in result]
        power = [_times(power, column) for column in power]
        count >>= 1
    first, second, third, fourth = (
        [_times(result[8 * part : 8 * part + 8], octet) for octet in range(256)] for part in range(4)
    )
    return lambda state: first[state & 255] ^ second[state >> 8 & 255] ^ third[state >> 16 & 255] ^ fourth[state >> 24]


def _times(columns: list[int], vector: int) -> int:
    product = 0
    for column in columns:
        if vector & 1:
            product ^= column
        vector >>= 1
    return product
