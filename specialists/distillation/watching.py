"""What do layers put out, of a student in training and of the teacher beside it?

Layers are named by their dotted paths, as ``network.named_modules()`` gives them.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs
from specialists.distillation.objective import Objective
from specialists.distillation.terms.term import BatchView
from specialists.errors import InputError, listed

MATRIX_DIMS = 2
MOST_PATHS = 60


def layer_at(network: nn.Module, path: str, whose: str = "network") -> nn.Module:
    """The module of a network at a path; an InputError that lists the paths if there is none."""
    modules = {name: module for name, module in network.named_modules() if name}
    if path in modules:
        return modules[path]
    near = difflib.get_close_matches(path, modules, n=1)
    raise InputError(
        f"the {whose} has no such layer",
        got=path,
        expected=listed(modules, MOST_PATHS) or "no term that looks at layers: there are none",
        fix=f"did you mean `{near[0]}`?" if near else None,
    )


@contextmanager
def layer_outputs(
    network: nn.Module, paths: Sequence[str], whose: str = "network"
) -> Iterator[dict[str, Tensor]]:
    """Collect, by path, what layers put out while the network is called in this context.

    Raises
    ------
    InputError
        If there is no layer at a path, it is never called, or puts out no tensor of rows.
    """
    outputs: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for path in paths:
            module = layer_at(network, path, whose)
            hooks.enter_context(module.register_forward_hook(partial(_keep, outputs, path)))
        yield outputs
    if silent := [path for path in paths if path not in outputs]:
        raise InputError(
            f"the {whose} has layers that it does not call",
            got=listed(silent),
            fix="name those that its forward calls",
        )


def _keep(outputs: dict[str, Tensor], path: str, *call: object) -> None:
    """A hook, which is given the module, its inputs and what it puts out."""
    *_, output = call
    if not isinstance(output, Tensor) or output.dim() < MATRIX_DIMS:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        expected = "a tensor with a row of numbers for each input"
        raise InputError("a layer puts out no rows", where=path, got=shape, expected=expected)
    outputs[path] = output


def _check_rows(outputs: dict[str, Tensor], n_rows: int, whose: str) -> None:
    """A network that looks at a batch in parts calls its layers several times."""
    for path, output in outputs.items():
        if len(output) != n_rows:
            raise InputError(
                f"a layer of the {whose} puts out no row for each input",
                where=path,
                got=f"{len(output)} rows for {n_rows} inputs",
                expected="a layer that sees a batch once and as a whole",
            )


class WatchedStudent(nn.Module):
    """A student in training whose layers, and those of its teacher, an objective looks at.

    It puts out what the student does. What is trained between layers lies in it, beside the
    student; the teacher does not.

    Parameters
    ----------
    student : nn.Module
    objective : Objective
        Is prepared for the layers' shapes.
    teacher : nn.Module
        Asked about every batch, in evaluation mode and without gradients.
    sample : Tensor or Ragged
        A few rows of inputs.
    teaches : bool
        Whether its logits are the teacher's predictions as well.

    Raises
    ------
    InputError
        If there is no layer at a path, or layers do not fit one another.
    """

    def __init__(
        self,
        student: nn.Module,
        objective: Objective,
        teacher: nn.Module,
        sample: Inputs,
        teaches: bool = True,
    ) -> None:
        super().__init__()
        self.student, self.objective = student.eval(), objective
        self._hidden = (teacher.eval(),)  # in a tuple, or it would be trained and saved along
        self._teaches = teaches
        self._seen: BatchView | None = None
        with torch.no_grad():
            self._look(sample.to(next(student.parameters()).device))
        assert self._seen is not None
        objective.prepare(self._seen)

    def forward(self, inputs: Inputs) -> Tensor:
        """The student's logits. In training mode :meth:`seen` may be asked for the rest."""
        return self._look(inputs) if self.training else self.student(inputs)

    def seen(self, view: BatchView) -> BatchView:
        """A view of the last batch, with its layers and, if it teaches, the network's logits."""
        last, self._seen = self._seen, None  # or it would be held in memory until the next batch
        assert last is not None
        layers = {"features": last.features, "teacher_features": last.teacher_features}
        taught = {"teacher": last.teacher} if self._teaches else {}
        return dataclasses.replace(view, **layers, **taught)

    def _look(self, inputs: Inputs) -> Tensor:
        (teacher,), (ours, theirs) = self._hidden, self.objective.layers()
        with layer_outputs(self.student, ours, "student") as features:
            logits = self.student(inputs)
        if next(teacher.parameters(), logits).device != logits.device:
            teacher.to(logits.device)
        with torch.no_grad(), layer_outputs(teacher, theirs, "teacher's network") as others:
            answer = teacher(inputs)
        _check_rows(features, len(logits), "student")
        _check_rows(others, len(logits), "teacher's network")
        self._seen = BatchView(logits, answer, None, features, others)
        return logits
