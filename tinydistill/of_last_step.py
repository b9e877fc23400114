"""What an objective takes from the step before: means over all its examples.

A batch's own mean would make the result depend on how a step is cut into batches. Those of the step before are the same
for every number of batches and processes, and lie in checkpoints, so that a resumed run goes on with them.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class StepMean(nn.Module):
    """The mean of values of the examples of the last step."""

    mean: Tensor
    is_known: Tensor

    def __init__(self, *shape: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("is_known", torch.zeros((), dtype=torch.bool))  # false before the first step is over
        self._sum, self._count = torch.zeros(shape), torch.zeros(())

    def add(self, values: Tensor) -> None:
        """Values (N, *shape) of examples of the step under way."""
        self._sum = self._sum.to(values.device) + values.detach().float().sum(0)
        self._count = self._count.to(values.device) + len(values)

    def end_step(self, total: Callable[[Tensor], Tensor]) -> None:
        """Take the step's mean. total: sums a tensor over all processes."""
        summed = total(torch.cat([self._sum.reshape(-1), self._count.reshape(1)]))
        if summed[-1] > 0:
            self.mean.copy_((summed[:-1] / summed[-1]).view(self.mean.shape))
            self.is_known.fill_(True)
        self._sum, self._count = torch.zeros_like(self._sum), torch.zeros_like(self._count)


class Assignment(nn.Module):
    """What each pair of layers counts: the flow of least cost between the student's and the teacher's layers.

    Each layer of a model has the same mass; the cost of a pair is its loss, a mean over the examples of a step. The
    weights sum to 1, equal ones before the first step is over. BERT-EMD (arXiv 2010.06133), section 3.2; no gradient
    goes through the weights, as in TextBrewer's example.
    """

    flow: Tensor
    steps: Tensor

    def __init__(self, student_layers: int, teacher_layers: int, update_every: int = 1):
        super().__init__()
        self.shape = (student_layers, teacher_layers)
        self.update_every = update_every
        self.register_buffer(
            "flow", torch.full((student_layers * teacher_layers,), 1 / (student_layers * teacher_layers))
        )
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.cost = StepMean(student_layers * teacher_layers)

    def forward(self, losses: Tensor, counts: bool = True) -> Tensor:
        """(B, pairs) -> (B,). counts: whether the examples do; those that keep a process busy do not."""
        if self.training and counts:
            self.cost.add(losses)
        return losses @ self.flow.to(losses.dtype)

    def end_step(self, total: Callable[[Tensor], Tensor]) -> None:
        self.cost.end_step(total)
        if self.steps % self.update_every == 0:
            self.flow.copy_(cheapest_flow(self.cost.mean.view(self.shape)).view(-1))
        self.steps += 1


def cheapest_flow(cost: Tensor) -> Tensor:
    """The optimal transport between layers of equal mass, (M, N), of their costs (M, N)."""
    import ot  # takes its time to import

    rows, columns = cost.shape
    flow = ot.emd([1 / rows] * rows, [1 / columns] * columns, cost.detach().cpu().double().numpy())
    return torch.as_tensor(flow, dtype=torch.float32)
