"""A model that was exported to ONNX, run by ONNX Runtime where a transformers model would be: same inputs and outputs.

ONNX Runtime is the extra `tinydistill[onnx]`; only what loads such a model imports it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from glue_tasks.errors import UserError
from tinydistill.encoders.config import load_config
from tinydistill.extras import import_extra

GRAPH = "model.onnx"
RECORD = "export.json"  # beside it: how it was made


def is_onnx(name: str) -> bool:
    """Whether a name is that of a folder which `python -m tinydistill export` wrote."""
    return (Path(name) / GRAPH).is_file()


def read_record(name: str) -> dict[str, Any]:
    """What `export.json` of a folder holds; {} if there is none. Raises UserError if it cannot be read."""
    path = Path(name) / RECORD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} is no record of an export, or is damaged; export the model again")
    return found


class OnnxModel(nn.Module):
    """An exported model, for `evaluation.predict`, `latency.measure` and all that asks a model for its outputs alone.

    It runs on the CPU and in its own precision, whatever it is asked for. B sentences of L pieces.
    """

    def __init__(self, name: str, threads: int = 0):
        """threads: of one run; 0: as many as torch has. Raises UserError if the folder holds no whole model."""
        super().__init__()
        self.name = name
        self.config = load_config(name)
        self.order: tuple[int, ...] | None = None  # of the outputs of a head with labels
        self.use_threads(threads)
        self.inputs = [each.name for each in self.session.get_inputs()]
        self.outputs = [each.name for each in self.session.get_outputs()]
        self.eval()

    def use_threads(self, threads: int = 0) -> None:
        """Load the graph anew for so many threads."""
        (runtime,) = import_extra("onnx", "onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        # Threads that wait would keep cores busy which others use, such as torch between two runs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        path = Path(self.name) / GRAPH
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # exceptions of its own, which are no one class
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"{path} cannot be loaded; export the model again ({reason})") from None

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> SimpleNamespace:
        """What transformers' model gives, by name: `logits` (B, C) or (B, L, C), `start_logits` and `end_logits`
        (B, L), or `last_hidden_state` (B, L, D)."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        feeds = {name: np.ascontiguousarray(given[name].cpu().numpy(), dtype=np.int64) for name in self.inputs}
        found = dict(zip(self.outputs, map(torch.from_numpy, self.session.run(self.outputs, feeds)), strict=True))
        if self.order is not None:
            found["logits"] = found["logits"][..., list(self.order)]
        return SimpleNamespace(**found)

    def set_attn_implementation(self, name: str) -> None:
        """Raises ValueError, as transformers does for a model that has but one attention."""
        raise ValueError(f"the attention of an exported graph is not replaced by {name}")

    def permute_outputs(self, order: Sequence[int]) -> bool:
        """Output i becomes what output order[i] was; False if it has no such outputs."""
        if "logits" not in self.outputs:
            return False
        before = self.order or tuple(range(len(order)))
        self.order = tuple(before[place] for place in order)
        return True
