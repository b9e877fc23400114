"""TensorFlow's checkpoints read without it: against a writer of their own, TensorFlow's files, and wrong bytes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glue_tasks.errors import UserError
from tests.tinydistill.convert.tensorflow_files import (
    bundle_header,
    entry,
    plain_crc,
    write_checkpoint,
    write_table,
)
from tinydistill.convert import crc32c as checksums
from tinydistill.convert.crc32c import crc32c
from tinydistill.convert.variables import open_checkpoint

ONCE_MADE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


def some_variables(seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    shapes = {f"bert/encoder/layer_{i}/output/dense/kernel": (3, 5) for i in range(12)}
    shapes |= {"bert/embeddings/word_embeddings": (7, 4), "output_bias": (1,), "a single value": ()}
    found = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return found | {"global_step": np.array(12, np.int64)}


def read_all(path: Path) -> dict[str, np.ndarray]:
    found = open_checkpoint(path)
    return {name: found.read(name) for name, variable in found.variables.items() if variable.dtype != 9}


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 31, 1000, 4097, 70_001])
def test_the_checksum_is_that_of_one_byte_at_a_time(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    assert crc32c(data) == crc32c(np.frombuffer(data, np.uint8)) == plain_crc(data)
    monkeypatch.setattr(checksums, "_CHUNK", 1001)  # several chunks, the last one shorter than a word or not
    assert crc32c(data) == plain_crc(data)


def test_the_checksum_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("per_block", [1, 4, 1000])
def test_names_shapes_and_values(tmp_path: Path, shards: int, per_block: int) -> None:
    variables = some_variables()
    write_checkpoint(tmp_path / "model.ckpt-7", variables, shards, per_block=per_block)
    found = open_checkpoint(tmp_path / "model.ckpt-7")
    assert {name: each.shape for name, each in found.variables.items()} == {
        name: values.shape for name, values in variables.items()
    }
    for name, values in read_all(tmp_path / "model.ckpt-7").items():
        np.testing.assert_array_equal(values, variables[name])


def test_number_types(tmp_path: Path) -> None:
    values = np.array([[1.5, -3.25e4], [7e-5, np.pi]])
    given_ = {
        "a": values,
        "b": values.astype(np.float16),
        "c": values.astype(np.float32),
        "d": np.arange(3, dtype=np.int32),
    }
    write_checkpoint(tmp_path / "m", given_, bfloat16=("c",))
    found = open_checkpoint(tmp_path / "m")
    np.testing.assert_array_equal(found.read("a"), values.astype(np.float32))
    np.testing.assert_array_equal(found.read("b"), values.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(found.read("c"), values, rtol=2**-7)
    assert {found.read(name).dtype for name in "abc"} == {np.dtype(np.float32)}
    with pytest.raises(UserError, match="^d in .* holds no floating-point numbers"):
        found.read("d")


def test_how_a_checkpoint_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model.ckpt-10", some_variables())
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-10"\n')
    for name in ("model.ckpt-10", "model.ckpt-10.index", "model.ckpt-10.data-00000-of-00001", "model.ckpt-10.meta", ""):
        assert open_checkpoint(tmp_path / name).prefix == tmp_path / "model.ckpt-10"
    with pytest.raises(UserError, match="is the list of a folder's checkpoints"):
        open_checkpoint(tmp_path / "checkpoint")
    write_checkpoint(tmp_path / "model.ckpt-20", some_variables())
    with pytest.raises(UserError, match="holds 2 checkpoints; name one, such as .*model.ckpt-20$"):
        open_checkpoint(tmp_path)


FOREIGN = {
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "a file of HDF5"),
    "model.zip": (b"PK\x03\x04" + bytes(99), "an archive"),
    "model.tar.gz": (b"\x1f\x8b" + bytes(99), "an archive"),
    "notes.txt": (b"hello", "no part of a TensorFlow checkpoint"),
    "empty": (b"", "no part of a TensorFlow checkpoint"),
    "text.index": (b"hello" * 50, "no index of a TensorFlow checkpoint"),
    "empty.index": (b"", "no index of a TensorFlow checkpoint"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_told(tmp_path: Path, name: str) -> None:
    content, told = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=told):
        open_checkpoint(tmp_path / name)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no TensorFlow checkpoint"):
        open_checkpoint(tmp_path)
    with pytest.raises(UserError, match="there is no checkpoint .*/m "):
        open_checkpoint(tmp_path / "m")
    write_checkpoint(tmp_path / "m", some_variables(), shards=2)
    (tmp_path / "m.data-00001-of-00002").unlink()
    with pytest.raises(UserError, match=r"there is no .*/m\.data-00001-of-00002, where .* is"):
        read_all(tmp_path / "m")
    (tmp_path / "m.index").unlink()
    with pytest.raises(UserError, match=r"there is no .*/m\.index beside .*/m\.data-00000-of-00002"):
        open_checkpoint(tmp_path / "m")


def test_the_form_before_and_the_objects_of_tensorflow_2_are_told(tmp_path: Path) -> None:
    write_table(tmp_path / "model.ckpt", {b"": b"", b"x": b"y"})
    with pytest.raises(UserError, match=r"in the form before TensorFlow 0\.12"):
        open_checkpoint(tmp_path / "model.ckpt")
    keys = {b"": bundle_header(1), b"_CHECKPOINTABLE_OBJECT_GRAPH": entry(7, (), 0, 0, b"graph")}
    write_table(tmp_path / "two.index", keys)
    with pytest.raises(UserError, match="TensorFlow 2's objects"):
        open_checkpoint(tmp_path / "two")


def test_partitioned_variables_and_other_byte_orders_are_told(tmp_path: Path) -> None:
    pieces = entry(1, (2,), 0, 0, b"", more=b"\x3a\x02\x0a\x00")
    write_table(
        tmp_path / "m.index", {b"": bundle_header(1), b"\x00piece\xff": entry(1, (1,), 0, 0, b"1234"), b"w": pieces}
    )
    found = open_checkpoint(tmp_path / "m")
    assert list(found.variables) == ["w"]
    with pytest.raises(UserError, match="is cut into pieces"):
        found.read("w")
    write_table(tmp_path / "m.index", {b"": bundle_header(1) + b"\x10\x01"})
    with pytest.raises(UserError, match="big-endian"):
        open_checkpoint(tmp_path / "m")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_checkpoint(folder / "m", some_variables())
    return folder / "m"


def told_or_harmless(prefix: Path) -> bool:
    """Whether reading says something; what it says nothing of is as it was written."""
    try:
        found = read_all(prefix)
    except UserError as error:
        return "\n" not in str(error)
    expected = some_variables()
    assert found.keys() == expected.keys() - {"global_step"}
    assert all(np.array_equal(values, expected[name]) for name, values in found.items())
    return False


@given(data=st.data())
@ONCE_MADE
def test_changed_bytes_are_told_or_harmless(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    prefix = tmp_path / "m"
    for ending in (".index", ".data-00000-of-00001"):
        content = bytearray(Path(f"{whole}{ending}").read_bytes())
        kind = data.draw(st.sampled_from(["as it is", "flipped", "cut off", "longer", "moved", "zeros"]))
        at = data.draw(st.integers(0, len(content) - 1))
        if kind == "flipped":
            for _ in range(data.draw(st.integers(1, 3))):
                content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        elif kind == "cut off":
            del content[at:]
        elif kind == "longer":
            content += bytes(data.draw(st.integers(1, 60)))
        elif kind == "moved":
            content[at:at] = content[: data.draw(st.integers(1, 60))]
        elif kind == "zeros":
            end = at + data.draw(st.integers(1, 4096))
            content[at:end] = bytes(len(content[at:end]))
        Path(f"{prefix}{ending}").write_bytes(content)
    told_or_harmless(prefix)


def test_every_byte_of_the_data_and_of_the_blocks_counts(whole: Path, tmp_path: Path) -> None:
    index, values = (Path(f"{whole}{ending}").read_bytes() for ending in (".index", ".data-00000-of-00001"))
    prefix = tmp_path / "m"
    Path(f"{prefix}.index").write_bytes(index)
    for at in range(0, len(values), 29):
        flipped = bytearray(values)
        flipped[at] ^= 1 << at % 8
        Path(f"{prefix}.data-00000-of-00001").write_bytes(flipped)
        of_step = at in range(len(values) - 8, len(values))  # the last variable, which is no weight
        assert told_or_harmless(prefix) is not of_step
    Path(f"{prefix}.data-00000-of-00001").write_bytes(values)
    assert not told_or_harmless(prefix)
    silent = []
    for at in range(0, len(index) - 48, 7):
        flipped = bytearray(index)
        flipped[at] ^= 1 << at % 8
        Path(f"{prefix}.index").write_bytes(flipped)
        if not told_or_harmless(prefix):
            silent.append(at)
    assert len(silent) <= 3  # in the meta index, 13 bytes that nobody reads


@given(value=st.binary(max_size=40), header=st.sampled_from([bundle_header(1), b"", b"\x08\x00", b"\x0a\x01a"]))
@ONCE_MADE
def test_entries_that_are_none_are_told(tmp_path: Path, value: bytes, header: bytes) -> None:
    write_table(tmp_path / "m.index", {b"": header, b"w": value, b"x\xff": value}, per_block=9)
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(64))
    with pytest.raises(UserError):
        read_all(tmp_path / "m")


@given(
    dtype=st.integers(0, 30),
    shape=st.lists(st.sampled_from([0, 1, 2, 4, 1 << 31, 1 << 62, (1 << 64) - 1]), max_size=70),
    shard=st.integers(0, 3),
    offset=st.sampled_from([0, 1, 60, 1 << 40, (1 << 64) - 1]),
    size=st.integers(0, 70),
)
@ONCE_MADE
def test_odd_entries_are_told(tmp_path: Path, dtype: int, shape: list[int], shard: int, offset: int, size: int) -> None:
    """With right checksums: never a traceback."""
    content = bytes(range(64))
    raw = content[offset : offset + size] if offset < 64 else bytes(size)
    write_table(tmp_path / "m.index", {b"": bundle_header(1), b"w": entry(dtype, tuple(shape), shard, offset, raw)})
    (tmp_path / "m.data-00000-of-00001").write_bytes(content)
    try:
        found = open_checkpoint(tmp_path / "m").read("w")
    except UserError:
        return
    assert found.shape == tuple(shape)
    assert found.dtype == np.float32
    assert shard == 0
    assert offset + len(raw) <= 64


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["mobilebert_f2", "mobilebert_f4"])
def test_tensorflows_own_files(shared: Path, name: str) -> None:
    folder = shared / "reference" / "tensorflow_checkpoints" / name
    found = open_checkpoint(folder)
    listed = [line.split("\t") for line in (folder / "names.txt").read_text().splitlines()]
    assert len(listed) > 60
    for variable, shape in listed:
        assert str(list(found.variables[variable].shape or ())) == shape
    own = {each for each in found.variables if not each.startswith("teacher/") and "/adam_" not in each}
    assert own == {variable for variable, _ in listed} | {"global_step"}
    for variable in own - {"global_step"}:  # whose checksums are TensorFlow's
        assert np.isfinite(found.read(variable)).all()
