import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from augment import pipeline
from augment.kinds import sentences
from augment.pipeline import Settings, Shard, augment_file, merge_file
from glue_tasks import UserError, get_task
from glue_tasks.files import open_table

SST2 = """sentence\tlabel
a good film \t1
he said "a dull story" , twice\t0
the of\t1
a gripping tale of a young actor\t1
a good film \t1
"""
MRPC = """\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String
1\t10\t11\tA good film .\tThe film is good .
0\t12\t13\tThe "old" city\tA new city
"""


@pytest.fixture
def settings(tmp_path, tiny_mlm, tiny_vectors) -> Settings:
    return write_task(tmp_path, "SST-2", SST2, tiny_mlm, tiny_vectors)


def write_task(folder: Path, task: str, text: str, mlm: str, vectors: Path) -> Settings:
    train_file = folder / task / "train.tsv"
    train_file.parent.mkdir(exist_ok=True)
    train_file.write_bytes(text.encode())
    return Settings(
        get_task(task), train_file, folder / task / "train_aug.tsv", mlm, vectors, 12, device="cpu", precision="float32"
    )


def lines(path: Path) -> list[str]:
    return path.read_bytes().decode().removesuffix("\n").split("\n")


def test_each_row_is_followed_by_its_variants(settings):
    counts = augment_file(settings)
    header, *rows = lines(settings.output)
    assert header == "sentence\tlabel"
    originals = SST2.splitlines()[1:]
    places = [i for i, row in enumerate(rows) if row in originals]
    assert [rows[i] for i in places] == originals  # none is lost, and no variant equals one
    for begin, end in zip(places, [*places[1:], len(rows)], strict=True):
        variants = rows[begin + 1 : end]
        assert len(set(variants)) == len(variants) <= 12
        assert all(variant.split("\t")[1] == rows[begin].split("\t")[1] for variant in variants)
    assert all(row.startswith('he said "a ') for row in rows[places[1] : places[2]])
    assert rows[places[2] + 1] == originals[3]  # nothing to replace: no variants
    first, last = rows[1 : places[1]], rows[places[4] + 1 :]
    assert first != last  # the same sentence in another row has its own draw
    assert counts.rows_in == 5
    assert counts.rows_out == len(rows)
    assert counts.duplicates_dropped == 5 * 12 - (len(rows) - 5)
    assert counts.words == 3 + 6 + 2 + 7 + 3
    assert counts.replaceable == 2 + 4 + 4 + 2
    assert counts.answered_by_vectors == 1
    assert counts.without_candidate == 2  # said, twice
    assert counts.answered_by_masked_lm == 9
    assert counts.seconds > 0


def test_the_output_is_a_file_of_the_task(settings):
    augment_file(settings)
    read = list(open_table(settings.task, settings.output))
    assert next(row.label for row in read if row.texts[0].startswith("he said")) == 0
    assert len(read) == len(lines(settings.output)) - 1


@pytest.mark.parametrize("change", [{"batch_size": 1}, {"block_rows": 1}, {"block_rows": 2}])
def test_output_does_not_depend_on_batches_and_blocks(settings, change):
    augment_file(settings)
    expected = settings.output.read_bytes()
    augment_file(replace(settings, **change), overwrite=True)
    assert settings.output.read_bytes() == expected


def test_a_limit_gives_the_beginning_of_the_whole(settings):
    augment_file(settings)
    whole = lines(settings.output)
    assert augment_file(replace(settings, limit=2), overwrite=True).rows_in == 2
    part = lines(settings.output)
    assert part == whole[: len(part)]
    assert whole[len(part)] == "the of\t1"


def test_seed_n_and_p_are_used(settings):
    augment_file(settings)
    base = lines(settings.output)
    augment_file(replace(settings, seed=1), overwrite=True)
    assert lines(settings.output) != base
    augment_file(replace(settings, probability=0.0), overwrite=True)
    assert lines(settings.output) == SST2.splitlines()
    augment_file(replace(settings, variants=1, probability=1.0), overwrite=True)
    assert len(lines(settings.output)) == 1 + 5 + 4


def test_pairs_vary_one_side_beside_the_other_as_it_was(tmp_path, tiny_mlm, tiny_vectors):
    settings = write_task(tmp_path, "MRPC", MRPC, tiny_mlm, tiny_vectors)
    augment_file(settings)
    header, *rows = lines(settings.output)
    assert header == MRPC.removeprefix("\ufeff").splitlines()[0]
    for original in (row.split("\t") for row in MRPC.splitlines()[1:]):
        group = [row.split("\t") for row in rows if row.startswith("\t".join(original[:3]))]
        assert group[0] == original
        sides = [(cells[3] != original[3], cells[4] != original[4]) for cells in group[1:]]
        assert sides == sorted(sides, reverse=True)  # first those of side 1, then those of side 2
        assert set(sides) == {(True, False), (False, True)}


def test_headerless_task_stays_headerless(tmp_path, tiny_mlm, tiny_vectors):
    settings = write_task(
        tmp_path, "CoLA", "gj04\t1\t\tA good film.\ngj04\t0\t*\tFilm a good.\n", tiny_mlm, tiny_vectors
    )
    augment_file(settings)
    rows = [line.split("\t") for line in lines(settings.output)]
    assert rows[0] == ["gj04", "1", "", "A good film."]
    assert {tuple(row[:3]) for row in rows} == {("gj04", "1", ""), ("gj04", "0", "*")}
    assert all(row[3].startswith("A ") and row[3].endswith(".") for row in rows if row[1] == "1")
    assert {row[3].split()[0].istitle() for row in rows} == {True}


def test_what_is_shown_is_what_is_written(settings, capsys):
    augment_file(settings, show=2)
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert len(shown) == 2 * 3
    assert all("[" in line for line in shown)
    written = [line.split("\t")[0].strip() for line in lines(settings.output)]
    assert all(re.sub(r"[\[\]]", "", line).strip() in written for line in shown)


def test_record(settings):
    counts = augment_file(replace(settings, limit=3))
    record = json.loads(settings.output.with_suffix(".json").read_text())
    assert record["counts"]["rows_out"] == counts.rows_out == len(lines(settings.output)) - 1
    assert record["settings"]["limit"] == 3
    assert record["settings"]["variants"] == 12
    assert record["inputs"]["mlm"]["name"] == settings.mlm
    assert record["inputs"]["train_file"]["bytes"] == len(SST2)
    assert len(record["inputs"]["vectors"]["sha256"]) == 64
    run = {"device": "cpu", "precision": "float32", "compiled": False, "batch_size": 64, "block_rows": 512}
    assert record["run"] == run
    assert {"python", "torch", "transformers", "regex"} <= record["versions"].keys()
    assert str(Path(__file__).parents[2]) not in json.dumps(record)


def test_what_is_finished_is_left_alone(settings, capsys):
    counts = augment_file(settings)
    stamp = settings.output.stat().st_mtime_ns
    capsys.readouterr()
    assert augment_file(replace(settings, batch_size=7)) == counts
    assert "already done" in capsys.readouterr().out
    assert settings.output.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("change", "named"), [({"seed": 1}, "seed"), ({"variants": 3, "limit": 2}, "variants, limit"), ({}, "train_file")]
)
def test_what_was_made_otherwise_needs_overwrite(settings, change, named):
    augment_file(settings)
    before = settings.output.read_bytes()
    if not change:
        settings.train_file.write_text(SST2.replace("good", "sad"))
    with pytest.raises(UserError, match=rf"\({named}\); --overwrite replaces it"):
        augment_file(replace(settings, **change))
    assert settings.output.read_bytes() == before
    augment_file(replace(settings, **change), overwrite=True)
    assert settings.output.read_bytes() != before


def test_an_output_without_a_record_needs_overwrite(settings):
    settings.output.write_text("made by hand\n")
    with pytest.raises(UserError, match="its record"):
        augment_file(settings)
    settings.output.with_suffix(".json").write_text("{}")
    with pytest.raises(UserError, match="its record"):
        augment_file(settings)
    assert settings.output.read_text() == "made by hand\n"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_is_named_and_goes_on_with_resume(settings, monkeypatch, interruption):
    augment_file(settings)
    expected, counts = settings.output.read_bytes(), read_counts(settings)
    settings.output.unlink()
    settings.output.with_suffix(".json").unlink()
    settings = replace(settings, block_rows=2)
    interrupt_at_row(3, monkeypatch, interruption)
    with pytest.raises(interruption):
        augment_file(settings)
    assert not settings.output.exists()
    parts = settings.output.with_suffix(".parts")
    assert sorted(path.name for path in parts.iterdir()) == ["000000.json", "000000.tsv", "run.json"]

    monkeypatch.undo()
    with pytest.raises(UserError, match=r"same settings \(1 of 3 blocks are done\); --resume goes on"):
        augment_file(settings)
    with pytest.raises(UserError, match=r"other settings or files \(seed, batch_size\); go on with the same"):
        augment_file(replace(settings, seed=1, batch_size=3), resume=True)
    monkeypatch.setattr(sentences, "draw_variants", fail_before_row(2))
    augment_file(settings, resume=True)  # does not do again what is done
    assert settings.output.read_bytes() == expected
    assert read_counts(settings) == counts
    assert not parts.exists()


@pytest.mark.parametrize("end", ["", "\t", "\t-1"])
def test_rows_without_labels_have_the_variants_of_those_with(settings, end):
    """For students, which learn from the teacher alone."""
    augment_file(settings)
    expected = [line.split("\t")[0] for line in settings.output.read_text().splitlines()]
    lines = settings.train_file.read_text().splitlines()
    header = lines[0] if end else lines[0].split("\t")[0]
    rows = [header, *(line.split("\t")[0] + end for line in lines[1:])]
    settings.train_file.write_text("\n".join(rows) + "\n")
    augment_file(settings, overwrite=True)
    assert [line.split("\t")[0] for line in settings.output.read_text().splitlines()] == expected


@pytest.mark.parametrize("name", ["000000.tsv", "000000.json"])
@pytest.mark.parametrize("how", ["cut at a line", "emptied", "gone"])
def test_a_damaged_block_is_done_again(settings, monkeypatch, name, how):
    settings = replace(settings, block_rows=2)
    augment_file(settings)
    expected = settings.output.read_bytes()
    settings.output.unlink()
    settings.output.with_suffix(".json").unlink()
    interrupt_at_row(3, monkeypatch, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        augment_file(settings)
    monkeypatch.undo()
    path = settings.output.with_suffix(".parts") / name
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]) if "cut" in how else b"")
    augment_file(settings, resume=True)
    assert settings.output.read_bytes() == expected


@pytest.mark.parametrize("how", ["cut", "changed"])
def test_a_damaged_output_is_made_anew(settings, how, caplog):
    augment_file(settings)
    expected = settings.output.read_bytes()
    settings.output.write_bytes(expected[:-20] if how == "cut" else expected[:-2] + b"x\n")
    augment_file(settings)
    assert settings.output.read_bytes() == expected
    assert "train_aug.tsv is damaged" in caplog.text


def interrupt_at_row(row, monkeypatch, interruption):
    original = sentences.draw_variants

    def draw(*args):
        if args[5] == row:
            raise interruption
        return original(*args)

    monkeypatch.setattr(sentences, "draw_variants", draw)


def fail_before_row(row, original=sentences.draw_variants):
    def draw(*args):
        assert args[5] >= row
        return original(*args)

    return draw


def read_counts(settings: Settings) -> dict:
    counts = json.loads(settings.output.with_suffix(".json").read_text())["counts"]
    return {name: value for name, value in counts.items() if "second" not in name}


def test_an_interrupted_overwrite_goes_on_though_the_older_output_is_there(settings, monkeypatch):
    augment_file(settings)
    older = settings.output.read_bytes()
    other = replace(settings, seed=9, block_rows=2)
    interrupt_at_row(3, monkeypatch, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        augment_file(other, overwrite=True)
    assert settings.output.read_bytes() == older
    monkeypatch.undo()
    augment_file(other, resume=True)
    found = settings.output.read_bytes()
    assert found != older
    augment_file(replace(other, block_rows=512), overwrite=True)
    assert settings.output.read_bytes() == found


@pytest.mark.parametrize("step", ["record", "remove"])
def test_a_kill_while_the_blocks_are_joined(settings, monkeypatch, step):
    augment_file(settings)
    expected = settings.output.read_bytes()
    settings.output.with_suffix(".json").unlink()
    settings.output.unlink()

    def killed(*_):
        raise KeyboardInterrupt

    if step == "record":
        monkeypatch.setattr(pipeline, "write_record", killed)
    else:
        monkeypatch.setattr(pipeline.Blocks, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        augment_file(settings)
    monkeypatch.undo()
    augment_file(settings, resume=True)
    assert settings.output.read_bytes() == expected
    assert sorted(path.name for path in settings.output.parent.iterdir()) == [
        "train.tsv", "train_aug.json", "train_aug.tsv",
    ]  # fmt: skip


def test_shards_joined_are_one_run(settings):
    augment_file(settings)
    expected, counts = settings.output.read_bytes(), read_counts(settings)
    settings.output.unlink()
    settings.output.with_suffix(".json").unlink()
    settings = replace(settings, block_rows=1)
    augment_file(settings, shard=Shard.parse("2/3"))
    with pytest.raises(UserError, match=r"3 of 5 blocks are not in .*train_aug.parts \(numbers 0, 2, 3\)"):
        merge_file(settings.output)
    with pytest.raises(UserError, match=r"2 of 2 blocks are done"):
        augment_file(settings, shard=Shard(2, 3))
    with pytest.raises(UserError, match="--overwrite would delete what other shards have done"):
        augment_file(settings, shard=Shard(2, 3), overwrite=True)
    assert augment_file(settings, shard=Shard(1, 3)).rows_in == 2
    assert augment_file(settings, shard=Shard(3, 3)).rows_in == 1
    assert not settings.output.exists()
    merge_file(settings.output)
    assert settings.output.read_bytes() == expected
    assert read_counts(settings) == counts
    with pytest.raises(UserError, match="nothing to merge"):
        merge_file(settings.output)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_shards_that_are_none(text):
    with pytest.raises(UserError, match="--shard"):
        Shard.parse(text)


def test_a_parts_folder_of_somebody_else_is_left_alone(settings):
    parts = settings.output.with_suffix(".parts")
    parts.mkdir()
    (parts / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="holds other files"):
            augment_file(settings, overwrite=overwrite)
    (parts / "run.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read"):
        augment_file(settings)
    assert (parts / "mine.txt").exists()


def test_a_bad_row_is_told_before_the_work(settings, monkeypatch):
    settings.train_file.write_text(SST2 + "no label\n")
    monkeypatch.setattr(pipeline, "Augmenter", lambda *_: pytest.fail("loaded the models first"))
    with pytest.raises(UserError, match="line 7"):
        augment_file(settings)
    assert not settings.output.exists()


def test_a_line_break_inside_a_cell_becomes_a_space_and_is_counted(settings):
    settings.train_file.write_bytes(b"sentence\tlabel\nthe\rof\t1\n")
    assert augment_file(settings).cells_cleaned == 1
    assert lines(settings.output) == ["sentence\tlabel", "the of\t1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": 1.5}, "--p is a probability, from 0 to 1, not 1.5"),
        ({"probability": float("nan")}, "--p"),
        ({"variants": 0}, "--N is at least 1, not 0"),
        ({"limit": 0}, "--limit is at least 1"),
        ({"batch_size": -1}, "--batch-size is at least 1"),
        ({"block_rows": 0}, "--block-rows is at least 1"),
        ({"task": replace(get_task("SST-2"), language="zh")}, "choose the task's language"),
    ],
)
def test_settings_out_of_range(settings, change, message):
    with pytest.raises(UserError, match=message):
        replace(settings, **change)


def test_the_training_file_is_never_the_output(settings):
    with pytest.raises(UserError, match="the training file itself"):
        replace(settings, output=settings.train_file)


def test_vectors_that_lack_most_of_the_words_are_told(settings, caplog, tmp_path):
    (tmp_path / "few.txt").write_text("sea 1 0\nland 0 1\n")
    augment_file(replace(settings, vectors=tmp_path / "few.txt"))
    assert "few.txt lacks 3 of the 3 words that it is asked for in the first rows (said, twice, grip" in caplog.text
    caplog.clear()
    (tmp_path / "most.txt").write_text("said 1 0\ntwice 0 1\nland 1 1\n")
    augment_file(replace(settings, vectors=tmp_path / "most.txt"), overwrite=True)
    assert "lacks" not in caplog.text
