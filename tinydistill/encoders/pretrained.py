"""Whatever `from_pretrained` reads, from a folder or the hub, quietly and safely; what it cannot is one sentence."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import cached_file, logging

from glue_tasks.errors import UserError, is_outside

_WHAT = {AutoConfig: "configuration", AutoTokenizer: "tokenizer"}  # else a model


def load_pretrained(auto_class: Any, name: str, **options: Any) -> Any:
    """What `auto_class.from_pretrained` gives; code that lies beside the weights is never run. UserError if nothing.

    With weights (`state_dict`) and a configuration (`config`) in `options` no file is read.
    """
    folder = Path(name)
    looks_local = folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    if looks_local and not folder.is_dir():
        raise UserError(f"there is no model folder {name}; give a folder that holds config.json, or a hub id")
    if looks_local and not (folder / "config.json").is_file():
        raise UserError(f"the folder {name} holds no config.json; give one that `save_pretrained` wrote")
    try:
        with quiet():
            if "state_dict" not in options:
                return auto_class.from_pretrained(name, trust_remote_code=False, **options)
            with torch.device("meta"):  # an auto class cannot do without a name, the model's own can
                model_class = type(auto_class.from_config(options["config"], trust_remote_code=False))
            return model_class.from_pretrained(None, **options)
    except Exception as error:  # odd entries of a configuration end in any
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if is_outside(error):
            raise
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{name} needs code of its own (auto_map in its configuration), which is never run; choose a model "
                "whose type transformers knows"
            ) from None
        if isinstance(error, SafetensorError):
            raise UserError(
                f"the weights of {name} are damaged or cut off; copy or make them again ({reason})"
            ) from None
        if looks_local:
            what = _WHAT.get(auto_class, "model")
            raise UserError(f"cannot load the {what} of {name}; check the folder's files ({reason})") from None
        raise UserError(
            f"there is no folder {name} here, and the model of that name could not be had from the hub either; check "
            f"the path, or download it to a folder on a machine with a network ({reason})"
        ) from None


def find_file(name: str, file: str, download: bool = True) -> Path | None:
    """A file of a model folder or hub id, from the cache or, if it may be downloaded, the hub; None if it has none."""
    path = cached_file(
        name,
        file,
        local_files_only=not download,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return Path(path) if path else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """transformers says nothing and draws no progress bar inside; how it was set before is restored.

    A pretrained body under a new head is what is asked for here; its table of missing weights says nothing new.
    """
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    set_level = level != logging.ERROR  # inside another one it is; to set a level takes milliseconds
    if set_level:
        logging.set_verbosity_error()
    if bars:
        logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # Of a MobileBERT for masked LM whose embeddings are as wide as its states, which has an empty weight.
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            yield
    finally:
        if set_level:
            logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
