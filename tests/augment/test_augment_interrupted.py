"""Runs killed at random moments, and runs on a disk that is full, end in the bytes of an undisturbed run."""

import json
from pathlib import Path

import pytest

from tests import forked

# Forks its runs, so that they are stopped at moments that the imports do not decide.
_FORKS = """
import json, os, random, resource, signal, sys, time
import augment.pipeline, glue_tasks.task_file
from augment.__main__ import app

def run(arguments, limit=None):
    child = os.fork()
    if child:
        return child
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    code = 1
    try:
        app(arguments, prog_name="augment")
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.stderr.flush()
        os._exit(code)

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

job = json.loads(sys.argv[1])
assert wait(run(job["undisturbed"])) == 0
with open(job["record"]) as file:
    seconds = json.load(file)["counts"]["seconds"]
parts = job["folder"] + "/train_aug.parts"
for limit in job.get("limits", []):
    code = wait(run(job["disturbed"], limit))
    print(json.dumps({"code": code, "files": sorted(os.listdir(job["folder"]))}))
draw = random.Random(job["seed"]).uniform
for _ in range(job.get("kills", 0)):
    child = run(job["disturbed"])
    known = set(os.listdir(parts)) if os.path.isdir(parts) else set()
    while not os.path.isdir(parts) or known == set(os.listdir(parts)):  # until it has written something
        assert os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None, "ended by itself"
        time.sleep(0.001)
    time.sleep(draw(0, seconds / 12))
    os.kill(child, signal.SIGKILL)
    wait(child)
    done = sum(name.endswith(".tsv") for name in os.listdir(parts)) if os.path.isdir(parts) else None
    print(json.dumps({"done": done, "output": os.path.exists(job["folder"] + "/train_aug.tsv")}))
print(json.dumps({"last": wait(run(job["disturbed"]))}))
"""

ROWS, BLOCKS = 400, 100


@pytest.fixture
def disturb(tmp_path: Path, tiny_mlm: str, tiny_vectors: Path):
    rows = [
        f"a gripping tale of the {word} city , and {i} good films\t{i % 2}" for i, word in enumerate(["old"] * ROWS)
    ]
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "SST-2" / "train.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    common = ["--task", "SST-2", "--data-dir", str(tmp_path), "--mlm", tiny_mlm, "--vectors", str(tiny_vectors)]
    common += ["--precision", "float32", "--device", "cpu", "--block-rows", str(ROWS // BLOCKS)]

    def run(**job: object) -> tuple[list[dict], str, Path, Path]:
        expected, found = tmp_path / "expected", tmp_path / "found" / "SST-2"
        found.mkdir(parents=True)
        job |= {"undisturbed": [*common, "--output-dir", str(expected)], "folder": str(found)}
        job |= {"record": str(expected / "SST-2" / "train_aug.json")}
        job |= {"disturbed": [*common, "--output-dir", str(found.parent), "--resume"], "seed": 1}
        process = forked.run(["-c", _FORKS, json.dumps(job)])
        assert process.returncode == 0, process.stderr
        told = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
        assert told.pop() == {"last": 0}, process.stderr
        assert sorted(path.name for path in found.iterdir()) == ["train_aug.json", "train_aug.tsv"]
        return told, process.stderr, expected / "SST-2" / "train_aug.tsv", found / "train_aug.tsv"

    return run


def test_killed_at_ten_random_moments(disturb):
    told, _, expected, found = disturb(kills=10)
    assert found.read_bytes() == expected.read_bytes()
    done = [state["done"] for state in told]
    assert len(done) == 10
    assert done == sorted(done)  # what was done stays done
    assert sum(0 < number < BLOCKS for number in done) >= 5  # else these kills were too early or too late to matter


def test_a_full_disk(disturb):
    # Not even the plan fits; the plan, and no block of 4 rows with 20 variants each; the blocks, but not the output.
    told, stderr, expected, found = disturb(limits=[1, 2_000, 20_000])
    assert found.read_bytes() == expected.read_bytes()
    assert [state["code"] for state in told] == [2, 2, 2]
    assert stderr.count("error: the disk is full while writing") == 3
    assert "--resume" in stderr
    assert told[-1]["files"] == ["train_aug.parts"]
