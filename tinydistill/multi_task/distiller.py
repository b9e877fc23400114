"""One body with a head for each task, as one thing to be trained."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from torch import Tensor, nn

from glue_tasks.errors import UserError
from tinydistill.distiller import Distiller
from tinydistill.features import FeatureReader, Features
from tinydistill.multi_task.sampling import TASK
from tinydistill.teachers import TeacherSignal


class TeachersByTask:
    """Each task's own teachers."""

    def __init__(self, signals: Mapping[str, TeacherSignal]):
        self.signals = signals

    def __call__(self, batch: Mapping[str, Any]) -> Mapping[str, Features]:
        return self.signals[batch[TASK]](batch)


class MultiTask(Distiller):
    """The distillers of all tasks, whose students share the body of the first: the same parameters.

    A batch is of one task, which its entry "task" names; `forward` gives the losses of that task's objectives, as
    TASK_OBJECTIVE. The state has the body once.
    """

    def __init__(self, distillers: Mapping[str, Distiller]):
        nn.Module.__init__(self)
        self.names = list(distillers)
        self.distillers = nn.ModuleList(distillers.values())
        self.objectives = list(chain.from_iterable(each.objectives for each in distillers.values()))
        self.task_of = {label: task for task in distillers for label in self.labels(task)}  # of each objective
        self.steps: Counter[str] = Counter()  # of each task, as long as somebody counts
        self._last = self.names[0]
        self._share_body()
        self.register_state_dict_post_hook(_drop_copies)
        self.register_load_state_dict_pre_hook(_add_copies)

    @property
    def student(self) -> Any:
        """That of the first task."""
        return self.distillers[0].student

    def of(self, task: str) -> Distiller:
        """The distiller of a task."""
        found = self.distillers[self.names.index(task)]
        assert isinstance(found, Distiller)
        return found

    def labels(self, task: str) -> list[str]:
        """The names of a task's objectives, as `forward` gives them."""
        return [f"{task}_{objective.label}" for objective in self.of(task).objectives]

    def _share_body(self) -> None:
        """Raises UserError if the students' bodies are not of one shape.

        A body may lack what another one's head needs: a classifier has a pooler, a tagger has none.
        """
        distillers = [self.of(task) for task in self.names]
        students: list[Any] = [each.student for each in distillers]
        bodies = [student.base_model for student in students]
        body = max(bodies, key=lambda each: len(each.state_dict()))  # the first of those that have most
        shapes = {name: weight.shape for name, weight in body.state_dict().items()}
        for task, own in zip(self.names, bodies, strict=True):
            if type(own) is not type(body) or any(shapes.get(n) != w.shape for n, w in own.state_dict().items()):
                raise UserError(
                    f"the student of {task} would have another shape than that of {self.names[bodies.index(body)]}, as "
                    "their teachers have; name a folder or a hub id with --student, whose body all tasks share"
                )
        reached = [{name for name, each in s.base_model.named_parameters() if each.requires_grad} for s in students]
        for name, parameter in body.named_parameters():
            parameter.requires_grad = any(name in each for each in reached)
        for student in students:
            setattr(student, student.base_model_prefix, body)
        # Each block now returns the scores that any task compares.
        scores = FeatureReader(students[0], self.objectives, side=0).scores
        for each in distillers:
            assert isinstance(each.read, FeatureReader)
            if each.read.scores is not None:
                each.read.scores = scores

    def copies(self) -> list[tuple[str, str]]:
        """Beginnings of keys of the state that name the body again, each with that of the body itself."""
        first, *others = (
            f"distillers.{place}.student.{self.of(task).student.base_model_prefix}."
            for place, task in enumerate(self.names)
        )
        return [(other, first) for other in others]

    def forward(
        self, batch: Mapping[str, Any], teachers: Mapping[str, Features], done: float = 0.0
    ) -> dict[str, Tensor]:
        """Objective's name -> unweighted losses (B,), of the batch's task."""
        task = batch[TASK]
        if self.training:
            self._last = task
        own = self.of(task)
        losses = {f"{task}_{label}": values for label, values in own(batch, teachers, done).items()}
        self.of_layers = {(f"{task}_{label}", layers): each for (label, layers), each in own.of_layers.items()}
        return losses

    def end_step(self, total: Callable[[Tensor], Tensor] = lambda own: own) -> None:
        """To be called after each optimizer step, which was of one task in all processes."""
        self.of(self._last).end_step(total)
        self.steps[self._last] += 1

    def projection_rates(self) -> Iterator[tuple[float, Iterable[nn.Parameter]]]:
        for task in self.names:
            yield from self.of(task).projection_rates()

    def weights(self, done: float) -> dict[str, float]:
        return {f"{task}_{name}": value for task in self.names for name, value in self.of(task).weights(done).items()}

    def scheduled(self, done: float) -> dict[str, float]:
        return {f"{task}_{name}": value for task in self.names for name, value in self.of(task).scheduled(done).items()}


def _drop_copies(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    assert isinstance(module, MultiTask)
    copies = tuple(prefix + copy for copy, _ in module.copies())
    for key in [key for key in state if copies and key.startswith(copies)]:
        del state[key]


def _add_copies(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(module, MultiTask)
    for copy, body in module.copies():
        for key in [key for key in state if key.startswith(prefix + body)]:
            state[prefix + copy + key.removeprefix(prefix + body)] = state[key]
