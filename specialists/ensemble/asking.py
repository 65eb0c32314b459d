"""How are specialists asked about some rows each? Their rows are gathered together, then run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.datasets.base import Inputs
from specialists.ensemble.stacked import StackedSpecialists
from specialists.networks import outputs_of
from specialists.specialist import Specialist

ROWS_GATHERED = 512

Mend = Callable[[Tensor, Tensor, Tensor], None]
"""Changes answers (N, w) in place, given the row and the specialist of each, (N,)."""


@dataclass(frozen=True)
class AskedSpecialists:
    """Specialists that answer about a few rows each, as quickly as these rows allow."""

    specialists: Sequence[Specialist]

    def log_probs(
        self,
        features: Inputs,
        active: Tensor,
        rows: Tensor | None = None,
        mend: Mend | None = None,
    ) -> list[Tensor]:
        """Log-probabilities (n, k_m + 1) of each specialist where it is active.

        Other rows are uninitialised memory. All lies on one device.

        Parameters
        ----------
        features : Tensor or Ragged
        active : bool Tensor of shape (n, M)
        rows : int64 Tensor of shape (n,), optional
            Where the n rows lie in ``features``; None: they are its rows.
        mend : Mend, optional
            Called with answers of k_m + 1 columns, or more that are -inf.
        """
        counts = active.sum(0).tolist()
        places = active.T.nonzero()[:, 1]  # rows of the first specialist, then of the second ...
        each = places.split(counts)
        stacked = self._current_stack()
        limit = 0 if stacked is None else stacked.limit(counts)
        alone = [m for m, count in enumerate(counts) if count > limit]
        memory: dict[int, Tensor] = {}
        if stacked is not None and limit:
            few = [0 if count > limit else count for count in counts]
            row = torch.cat([each[m] for m, count in enumerate(few) if count])
            inputs = features[row if rows is None else rows[row]]
            blocks = self._together(stacked, inputs, few, row, len(active), mend)
            memory |= {m: block for m, block in enumerate(blocks) if few[m]}
        for members in _runs(alone, counts, max(len(active), ROWS_GATHERED)):
            row = torch.cat([each[m] for m in members])
            gathered = features[row if rows is None else rows[row]]
            parts = gathered.split([counts[m] for m in members])
            answers = [self._answer(m, part) for m, part in zip(members, parts, strict=True)]
            if mend is not None:
                answers = _mended(mend, answers, members, row)
            for m, answer in zip(members, answers, strict=True):
                memory[m] = self._empty(m, active).index_copy_(0, each[m], answer)
        every = range(len(counts))
        return [memory[m] if m in memory else self._empty(m, active) for m in every]

    def _empty(self, m: int, active: Tensor) -> Tensor:
        n_columns = len(self.specialists[m].subset) + 1
        return torch.empty((len(active), n_columns), device=active.device)

    def _answer(self, m: int, inputs: Inputs) -> Tensor:
        specialist = self.specialists[m]
        if specialist.network.training:
            specialist.network.eval()
        logits = outputs_of(specialist.network, inputs).float()
        return specialist.calibration.log_probs(logits)

    def _together(
        self,
        stacked: StackedSpecialists,
        inputs: Inputs,
        counts: list[int],
        row: Tensor,
        n: int,
        mend: Mend | None,
    ) -> list[Tensor]:
        """The same by one network; ``row`` is the row of each of the inputs."""
        device, r = row.device, max(counts)
        starts = itertools.accumulate(counts[:-1], initial=0)
        shifts = torch.tensor(
            [(m * r - start, m * n) for m, start in enumerate(starts)], device=device
        )
        sizes = torch.tensor(counts, device=device)
        padding, block = shifts.repeat_interleave(sizes, 0, output_size=len(row)).unbind(1)
        at = torch.arange(len(row), device=device) + padding
        log_probs = stacked.log_probs(inputs, counts, at)
        if mend is not None:
            mend(log_probs, row, block // n)
        memory = log_probs.new_empty(len(counts) * n, log_probs.shape[1])
        memory.index_copy_(0, block + row, log_probs)
        blocks = zip(memory.split(n), self.specialists, strict=True)
        return [block[:, : len(each.subset) + 1] for block, each in blocks]

    def _current_stack(self) -> StackedSpecialists | None:
        stacked = self._stacked
        if stacked is not None and not stacked.is_current:
            del self.__dict__["_stacked"]
            stacked = self._stacked
        return stacked

    @cached_property
    def _stacked(self) -> StackedSpecialists | None:
        return StackedSpecialists.of(self.specialists)


def _mended(
    mend: Mend, answers: Sequence[Tensor], members: Sequence[int], row: Tensor
) -> list[Tensor]:
    """Answers one below the other, filled up with -inf, are mended in one call."""
    widths = [answer.shape[1] for answer in answers]
    filled = [
        F.pad(answer, (0, max(widths) - answer.shape[1]), value=-torch.inf) for answer in answers
    ]
    counts = [len(answer) for answer in answers]
    sizes, which = (torch.tensor(given, device=row.device) for given in (counts, members))
    together = torch.cat(filled)
    mend(together, row, which.repeat_interleave(sizes, output_size=len(row)))
    blocks = zip(together.split(counts), widths, strict=True)
    return [block[:, :width] for block, width in blocks]


def _runs(members: Sequence[int], counts: Sequence[int], limit: int) -> Iterator[list[int]]:
    """So many of the members at a time that they have at most ``limit`` rows, one at least."""
    run: list[int] = []
    for m in members:
        if run and sum(counts[k] for k in run) + counts[m] > limit:
            yield run
            run = []
        run.append(m)
    if run:
        yield run
