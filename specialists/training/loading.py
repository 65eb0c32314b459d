"""Batches on the device, ahead of the step that needs them, and the time spent waiting for them.

On a CPU a batch is gathered when it is asked for. On CUDA a thread gathers and pins the next
batches while the device works, and copies do not block.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Generator, Tensor

from specialists.training.examples import Batch, Examples

AHEAD = 3


def batch_sizes(n_examples: int, batch_size: int) -> list[int]:
    """Sizes of an epoch's batches; a last one of a single example joins the one before.

    Batch normalisation cannot be trained on one example.
    """
    whole, rest = divmod(n_examples, batch_size)
    sizes = [batch_size] * whole + [rest] * (rest > 0)
    if rest == 1 and whole:
        sizes[-2:] = [batch_size + 1]
    return sizes


def without_single(n_examples: float, n_epoch: int) -> int:
    """The number of examples, rounded so that no epoch (``n_epoch`` at most) has a single one."""
    rounded = max(2, round(n_examples))
    return rounded - (n_epoch > 1 and rounded % n_epoch == 1)


class Loader:
    """Iterates over the batches of one epoch, whose indices are ``order``, int64.

    The generator, for augmentation, is used in the order of the batches, whatever the device.
    ``seconds`` is the time that the consumer waited for batches so far.
    """

    def __init__(
        self,
        examples: Examples,
        order: Tensor,
        batch_size: int,
        generator: Generator,
        device: torch.device,
    ) -> None:
        self.examples = examples
        self.chunks = order.split(batch_sizes(len(order), batch_size))
        self.generator = generator
        self.device = device
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        gathered = (self.examples.batch(chunk, self.generator) for chunk in self.chunks)
        source = self._prefetched() if self.device.type == "cuda" else gathered
        while True:
            start = time.perf_counter()
            batch = next(source, None)
            if batch is not None:
                batch = batch.to(self.device)
            self.seconds += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def _prefetched(self) -> Iterator[Batch]:
        ahead: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(1)  # a single thread gathers the batches in their order
        try:
            for chunk in self.chunks:
                ahead.append(pool.submit(self._pinned, chunk))
                if len(ahead) > AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _pinned(self, chunk: Tensor) -> Batch:
        batch = self.examples.batch(chunk, self.generator)
        return batch.pin_memory() if torch.cuda.is_available() else batch
