"""A train split whose rows have noise on them when they are read: another one in each epoch, and the same in each run.

The noise of a row follows from the seed, the epoch and the row's place in the split. The order of the batches, their
size, accumulation, the number of processes or workers, and a resume in between change nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, List
from torch.utils.data import Dataset as TorchDataset
from transformers import PreTrainedTokenizerBase

from glue_tasks.errors import UserError
from tinydistill.noise import MASKING, noised_row, parse

_STREAM = 1  # of the seed: no other draw of the run, such as the order of the rows, has the same
_OF_PIECES = ("input_ids", "token_type_ids", "attention_mask")


class NoisyDataset(TorchDataset):
    """The rows of an encoded split, noised; its columns, such as `length`, are those of the rows without noise."""

    def __init__(self, rows: Dataset, noise: str, tokenizer: PreTrainedTokenizerBase, seed: int):
        """noise: as --noise takes it. Raises UserError if it is none, or if the split or the tokenizer allow none."""
        self.rows, self.noise, self.seed = rows, parse(noise), seed
        self.mask_id = tokenizer.mask_token_id
        if MASKING in self.noise and self.mask_id is None:
            raise UserError("noise has masking, and the tokenizer has no mask; leave masking out")
        # What stands for words is none of those that stand between texts.
        words = {tokenizer.unk_token_id, tokenizer.mask_token_id}
        self.special = frozenset(tokenizer.all_special_ids) - words
        for name, feature in rows.features.items():
            if name not in _OF_PIECES and isinstance(feature, List) and feature.length < 0:
                raise UserError(
                    f"noise moves the pieces of a text, and the column {name} has a value for each; leave --noise out"
                )
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # also of workers that outlive an epoch

    def set_epoch(self, epoch: int) -> None:
        self._epoch[0] = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        places = [int(row) + len(self) * (row < 0) for row in rows]
        epoch = int(self._epoch[0])
        return [
            noised_row(
                example,
                self.noise,
                np.random.default_rng((self.seed, epoch, place, _STREAM)),
                self.special,
                self.mask_id,
            )
            for place, example in zip(places, self.rows.__getitems__(places), strict=True)
        ]

    # What `data.column` reads a column by.
    @property
    def data(self) -> pa.Table:
        return self.rows.data

    @property
    def _indices(self) -> Any:
        return self.rows._indices
