"""Distillation as a straightforward script does it, to measure ours against.

float32, eager attention, all hidden states and scores of all layers of both models, the teacher run in every step. The
outputs of tokens and spans are compared at all attended positions, as by the logits_mask of TextBrewer's examples.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinydistill.encoders.logits import logits_of
from tinydistill.layer_map import LayerMap
from tinydistill.outputs import COUNTED, Outputs


class PlainReference:
    """A straightforward distillation step by the authors' formulas (TinyBERT, equations 7 to 10)."""

    def __init__(self, teacher: PreTrainedModel, student: PreTrainedModel, maps: LayerMap, outputs: Outputs):
        self.teacher, self.student, self.maps, self.outputs = teacher, student, maps, outputs
        self.scores: dict[str, list[Tensor]] = {"teacher": [], "student": []}
        for who, model in (("teacher", self.teacher), ("student", self.student)):
            model.set_attn_implementation("eager")
            for block in model.base_model.encoder.layer:
                attention: Any = block.attention.self
                attention.register_forward_hook(self._keep_scores(who), with_kwargs=True)
        sizes = (self.student.config.hidden_size, self.teacher.config.hidden_size)
        self.projections = nn.ModuleList(nn.Linear(*sizes) for _ in range(self.student.config.num_hidden_layers + 1))
        trained = [*self.student.parameters(), *self.projections.parameters()]
        self.optimizer = torch.optim.AdamW(trained, lr=5e-5, weight_decay=0.01)
        self.trained = trained

    def _keep_scores(self, who: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            states = args[0] if args else kwargs["hidden_states"]
            heads, size = module.num_attention_heads, module.attention_head_size
            query, key = (
                projected(states).view(*states.shape[:2], heads, size).transpose(1, 2)  # (B, H, L, d)
                for projected in (module.query, module.key)
            )
            self.scores[who].append(query @ key.transpose(-1, -2) / math.sqrt(size))

        return hook

    def _run(self, batch: dict[str, Tensor], who: str) -> Any:
        self.scores[who].clear()
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
        return getattr(self, who)(**inputs, output_hidden_states=True)

    def distil_layers(self, batch: dict[str, Tensor]) -> None:
        with torch.no_grad():
            taught = self._run(batch, "teacher")
        own = self._run(batch, "student")
        outside = (batch["attention_mask"] == 0)[:, None, None, :]
        loss = torch.zeros(())
        for i, j in self.maps.attention:
            ours, theirs = (self.scores[w][k].masked_fill(outside, 0.0) for w, k in (("student", i), ("teacher", j)))
            loss = loss + F.mse_loss(ours, theirs)
        for place, (i, j) in enumerate(self.maps.hidden):
            loss = loss + F.mse_loss(self.projections[place](own.hidden_states[i]), taught.hidden_states[j])
        self._update(loss)

    def distil_outputs(self, batch: dict[str, Tensor]) -> None:
        attended = {**batch, COUNTED: batch["attention_mask"].bool()}
        with torch.no_grad():
            targets = self.outputs.rows(logits_of(self._run(batch, "teacher")), attended).softmax(-1)
        own = self.outputs.rows(logits_of(self._run(batch, "student")), attended)  # (N, K)
        self._update(-(targets * own.log_softmax(-1)).sum(-1).mean())

    def distil_pieces(self, batch: dict[str, Tensor], temperature: float = 8.0) -> None:
        """Logits of the whole vocabulary at all pieces, compared at the masked ones, and hidden states (MiniRBT)."""
        with torch.no_grad():
            taught = self._run(batch, "teacher")
        own = self._run(batch, "student")
        targets, ours = (logits_of(output)[batch[COUNTED]] / temperature for output in (taught, own))  # (N, V)
        loss = -(targets.softmax(-1) * ours.log_softmax(-1)).sum(-1).mean()
        for place, (i, j) in enumerate(self.maps.hidden):
            loss = loss + F.mse_loss(self.projections[place](own.hidden_states[i]), taught.hidden_states[j])
        self._update(loss)

    @torch.no_grad()
    def evaluate(self, batch: dict[str, Tensor]) -> None:
        self.student.eval()
        self._run(batch, "student")

    def _update(self, loss: Tensor) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
