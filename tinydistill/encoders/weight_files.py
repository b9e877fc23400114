"""Files of weights of a folder or hub id: which there are, and what they hold under the names of today.

safetensors come first, as with transformers. What torch.save wrote (`pytorch_model.bin`) is read with `weights_only`,
so that nothing a pickle may hold is run.
"""

import contextlib
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from glue_tasks.errors import UserError, is_outside, warn_once
from tinydistill.encoders.pretrained import find_file


def find_weights(name: str, download: bool = True) -> list[Path]:
    """The files of weights: one, or several that an index lists; [] if there are none, or none within reach.

    Raises UserError if the index is damaged, a file that it lists is not there, or one was never fetched.
    """
    for file in ("model.safetensors", "pytorch_model.bin"):
        paths = [path] if (path := find_file(name, file, download)) else []
        if not paths and (index := find_file(name, f"{file}.index.json", download)):
            paths = [_part(name, part, download) for part in _parts(index)]
        for path in paths:
            with open(path, "rb") as opened:
                if opened.read(len(_POINTER)) == _POINTER:
                    raise UserError(f"{path} is no more than a pointer of Git LFS; fetch the file with `git lfs pull`")
        if paths:
            return paths
    return []


def read_if_odd(name: str, paths: list[Path]) -> dict[str, Tensor]:
    """The weights by the names of today, if they were pickled or have other names; else {}.

    transformers would read those too, but write the odd names again when it saves the model, and ask the hub's servers
    to convert what was pickled. Raises UserError if a file is damaged or holds something else.
    """
    pickled = any(path.suffix == ".bin" for path in paths)
    if not pickled and all(name_of_today(key) == key for path in paths for key in _keys(name, path)):
        return {}
    return read_weights(name, paths)


def read_weights(name: str, paths: list[Path], pattern: str = "") -> dict[str, Tensor]:
    """The weights by the names of today, of which only those that begin as `pattern` says."""
    found: dict[str, Tensor] = {}
    wrappers: set[str] = set()
    for path in paths:
        for key, tensor in (read_pickled(name, path) if path.suffix == ".bin" else _read(name, path, pattern)).items():
            if not re.match(pattern, own := name_of_today(key)):
                continue
            if match := _WRAPPER.match(key):
                wrappers.add(match[0])
            if own in found:
                raise UserError(f"the weights of {name} hold {own} twice, under two names; keep one of them")
            found[own] = tensor
    if wrappers:
        warn_once(
            f"the weights of {name} were saved from inside a wrapper; {min(wrappers)} before their names is left out"
        )
    return found


def read_pickled(name: str, path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """What torch.save wrote, by the names in the file; on the device "meta" dtypes and shapes alone.

    Raises UserError if it is damaged or cut off, or holds something else than tensors by name.
    """
    try:
        if device != "meta":
            _check_sums(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles of another protocol
            found = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # odd bytes end in any
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        # As it reads, torch says of a damaged file what it says of a full disk as it writes.
        if is_outside(error) and "inline_container" not in reason:
            raise
        if isinstance(error, pickle.UnpicklingError):  # whose reason tells how to run what it holds
            reason = f"{path.name} is a pickle of something else than tensors, which is not read"
        raise UserError(f"the weights of {name} are damaged or cut off; copy or make them again ({reason})") from None
    by_name = found if isinstance(found, dict) else {}
    others = [str(key) for key, value in by_name.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if others or not by_name:
        raise UserError(
            f"{path} holds no weights by their names, or more than those ({(others or [type(found).__name__])[0]}); "
            "save them alone: torch.save(model.state_dict(), ...)"
        )
    return found


def name_of_today(key: str) -> str:
    """A weight's name without wrappers around its model, and with those of a LayerNorm as BERT first had them, gamma
    and beta, as weight and bias."""
    key = _WRAPPER.sub("", key)
    return re.sub(r"(?<=LayerNorm\.)(gamma|beta)$", lambda match: _OF_NORMS[match[0]], key)


def no_weights(folder: Path) -> UserError:
    """That a folder holds none that are read, with what it has in their place."""
    others = [path.name for path in folder.glob("*.bin") if path.name != "training_args.bin" and path.is_file()]
    others.sort(key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file)])
    instead = f", but {' and '.join(others[-2:])}" if others else ""
    cure = "rename the one to be used to pytorch_model.bin" if others else "copy them there too"
    return UserError(f"the folder {folder} holds no model.safetensors or pytorch_model.bin{instead}; {cure}")


def _parts(index: Path) -> list[str]:
    try:
        parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if all(Path(part).name == part for part in parts):  # beside it
            return parts
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UserError(f"{index} is damaged; copy or make it again")


def _part(name: str, part: str, download: bool) -> Path:
    if path := find_file(name, part, download):
        return path
    raise UserError(f"the weights of {name} are not complete: there is no {part}; copy them again")


@contextlib.contextmanager
def told_if_damaged(name: str) -> Iterator[None]:
    """Tells of safetensors that cannot be read, as a UserError."""
    try:
        yield
    except SafetensorError as error:
        raise UserError(f"the weights of {name} are damaged or cut off; copy or make them again ({error})") from None


def _keys(name: str, path: Path) -> list[str]:
    with told_if_damaged(name), safe_open(path, "pt") as file:
        return list(file.keys())


def _read(name: str, path: Path, pattern: str) -> dict[str, Tensor]:
    with told_if_damaged(name), safe_open(path, "pt") as file:
        keys = [key for key in file.keys() if re.match(pattern, name_of_today(key))]  # noqa: SIM118
        return {key: file.get_tensor(key) for key in keys}


def _check_sums(path: Path) -> None:
    """Raises zipfile.BadZipFile if a part is not as it was written; torch does not look. Its older files are no zips,
    and it can be told to write no sums."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        for part in file.infolist():
            if part.CRC:
                with file.open(part) as opened:
                    while opened.read(1 << 20):
                        pass


# Names that weights get before theirs, of DataParallel and of torch.compile.
_WRAPPER = re.compile(r"^(?:module\.|_orig_mod\.)+")
_OF_NORMS = {"gamma": "weight", "beta": "bias"}
_POINTER = b"version https://git-lfs"
