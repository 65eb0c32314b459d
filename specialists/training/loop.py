"""The one training loop, of generalists, specialists, students and baselines.

After every epoch the validation loss is measured. The weights of the best epoch are kept (best by
that loss or, if the recipe says so, by top-1), and the loop stops after ``patience`` epochs without
a better one (None: at the end of its schedule). A training that was interrupted goes on from its
last checkpoint with the same result: an epoch's order, augmentation and dropout follow from the
seed and the epoch's number alone. Checkpoints take a twentieth of the time at most: the next one
waits until 20 times what it and those before it take is over. Without a folder none is written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from specialists.config import Recipe
from specialists.errors import ConfigError, DivergedError, InputError
from specialists.files import write_tensors
from specialists.networks import HashedEmbedding, outputs_of
from specialists.runtime import (
    Hardware,
    Progress,
    autocast,
    derive_seed,
    keep_freed_memory,
    progress,
    share_of_cores,
)
from specialists.training.checkpoints import discard_checkpoint, load_checkpoint, save_checkpoint
from specialists.training.examples import Examples, ordering
from specialists.training.loading import Loader, batch_sizes, without_single
from specialists.training.metrics import EpochMetrics, FitResult, write_metrics
from specialists.training.optimisers import Optimisers
from specialists.training.training_cost import TrainingCost, flops_per_example

CHECKPOINT_SECONDS = 20.0  # between two, at least; and of training for each second they take
CHECKPOINT_BYTES_PER_SECOND = 5e8  # to guess what the first one takes
FINITE_CHECK_STEPS = 50

Loss = Callable[..., Tensor]
Validation = Callable[[nn.Module], tuple[float, float]]


@dataclass
class _Progress:
    """What a checkpoint holds beside weights and optimisers."""

    epoch: int = 0
    step: int = 0
    examples: int = 0
    best_epoch: int = -1
    best_loss: float = math.inf
    best_top1: float = 0.0
    history: list[EpochMetrics] = field(default_factory=list)


class Trainer:
    """One training, from the given weights to the best ones, which ``fit`` leaves in the network.

    Parameters
    ----------
    loss : callable
        Maps (outputs, *targets) to a scalar.
    validate : callable
        Maps a network in evaluation mode to (loss in nats, top-1).
    recipe : Recipe
        Resolved: epochs, batch size and rates are set.
    folder : Path, optional
        Receives ``metrics.jsonl``, ``timing.jsonl`` and, meanwhile, ``checkpoint.pt``.
    n_examples : int, optional
        Examples to train on instead of ``recipe.epochs`` epochs.
    flops : float, optional
        Floating-point operations to train for instead.
    keep_start : bool
        Whether the state before training may be the best one.

    Raises
    ------
    InputError
        If there are no examples.
    ConfigError
        If the recipe leaves epochs, batch size or learning rate open.
    """

    def __init__(
        self,
        network: nn.Module,
        examples: Examples,
        loss: Loss,
        validate: Validation,
        recipe: Recipe,
        *,
        seed: int,
        hardware: Hardware,
        folder: Path | None = None,
        n_examples: int | None = None,
        flops: float | None = None,
        keep_start: bool = False,
        description: str = "training",
    ) -> None:
        if len(examples) == 0:
            raise InputError("there is nothing to train on", where=description)
        if recipe.epochs is None or recipe.batch_size is None or recipe.learning_rate is None:
            raise ConfigError(
                "a training needs epochs, a batch size and a learning rate",
                where=description,
                got=f"epochs={recipe.epochs}, batch_size={recipe.batch_size}, "
                f"learning_rate={recipe.learning_rate}",
            )
        self.device, self.precision = hardware.torch_device, hardware.precision
        self.network = network.to(self.device)
        self.examples, self.loss, self.validate = examples, loss, validate
        self.batch_size = recipe.batch_size
        self.seed, self.folder, self.description = seed, folder, description
        self.keep_start, self.select_by = keep_start, recipe.select_by
        self.flops_per_example = self._measure()
        self.n_examples = n_examples or recipe.epochs * len(examples)
        if flops is not None:
            self.n_examples = without_single(flops / self.flops_per_example, len(examples))
        self.n_epochs = math.ceil(self.n_examples / len(examples))
        self.patience = recipe.patience or self.n_epochs
        self.recipe = recipe
        self._begin()
        self.began, self.saving = time.monotonic(), 0.0
        n_bytes = sum(value.nbytes for value in self.network.state_dict().values())
        self._postpone(3 * n_bytes / CHECKPOINT_BYTES_PER_SECOND)  # with the best, and the sums

    def _begin(self) -> None:
        self.optimisers = Optimisers(self.network, self.recipe, self._n_steps())
        self.state = _Progress()
        self.best: dict[str, Tensor] = {}

    def fit(self) -> FitResult:
        """Train to the end or until validation stops improving.

        Raises
        ------
        DivergedError
            If the loss is no longer finite. The best weights so far are written first, or are left
            in the network where there is no folder.
        """
        keep_freed_memory()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._restore(self.folder)
        if self.state.epoch == 0 and self.keep_start:
            self._judge(0)
        with progress(self.description, self.n_examples) as bar:
            bar.advance(self.state.examples)
            while not self._finished():
                self._epoch(bar)
                self._save()
        self.network.load_state_dict(self.best)
        _round_tables(self.network.eval())
        if self.folder is not None:
            discard_checkpoint(self.folder)
        s = self.state
        cost = TrainingCost(s.examples, s.examples * self.flops_per_example)
        return FitResult(s.best_epoch, s.best_loss, s.best_top1, cost, tuple(s.history))

    def _measure(self) -> float:
        """Operations of a step over its examples, by a first batch that trains nothing."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "cost"))
        n_rows = batch_sizes(len(self.examples), self.batch_size)[0]
        batch = self.examples.batch(self.examples.order(generator)[:n_rows], generator)
        _train_mode(self.network)
        with autocast(self.device, self.precision):
            return flops_per_example(self.network, batch.to(self.device), self.loss)

    def _n_steps(self) -> int:
        whole, rest = divmod(self.n_examples, len(self.examples))
        steps = len(batch_sizes(len(self.examples), self.batch_size))
        return whole * steps + len(batch_sizes(rest, self.batch_size))

    def _finished(self) -> bool:
        state = self.state
        waited = state.epoch - max(state.best_epoch, 0)
        return state.epoch >= self.n_epochs or (state.epoch > 0 and waited >= self.patience)

    def _epoch(self, bar: Progress) -> None:
        state, start = self.state, time.perf_counter()
        bar.note = f"epoch {state.epoch + 1}/{self.n_epochs}"
        torch.manual_seed(derive_seed(self.seed, "epoch", state.epoch))
        generator = ordering(self.seed, state.epoch)
        order = self.examples.order(generator)[: self.n_examples - state.examples]
        loader = Loader(self.examples, order, self.batch_size, generator, self.device)
        rate = self.optimisers.learning_rate
        train_loss = self._steps(loader, bar)
        seconds = time.perf_counter() - start
        state.epoch += 1
        judged = self._judge(state.epoch)
        now = state.epoch, state.step, state.examples
        state.history.append(EpochMetrics(*now, train_loss, *judged, rate))
        if self.folder is not None:
            share = share_of_cores() if self.device.type == "cpu" else 1.0
            write_metrics(self.folder, state.history, seconds, loader.seconds, share)

    def _steps(self, loader: Loader, bar: Progress) -> float:
        _train_mode(self.network)
        total = torch.zeros((), device=self.device)
        n_steps = 0
        for batch in loader:
            with autocast(self.device, self.precision):
                outputs = outputs_of(self.network, batch.inputs)
            loss = self.loss(outputs.float(), *batch.targets)
            loss.backward()
            self.optimisers.step()
            total += loss.detach()
            n_steps += 1
            self.state.step += 1
            self.state.examples += len(batch)
            bar.advance(len(batch))
            last = n_steps == len(loader.chunks)
            if (last or n_steps % FINITE_CHECK_STEPS == 0) and not torch.isfinite(total):
                self._stop("the training loss is not finite")
        return float(total) / n_steps

    def _judge(self, epoch: int) -> tuple[float, float]:
        loss, top1 = self.validate(self.network.eval())
        if not math.isfinite(loss):
            self._stop(f"the validation loss is {loss}")
        state = self.state
        better = loss < state.best_loss
        if self.select_by == "top1" and state.best_epoch >= 0:
            better = top1 > state.best_top1
        if better:
            state.best_epoch, state.best_loss, state.best_top1 = epoch, loss, top1
            self.best = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        return loss, top1

    def _stop(self, reason: str) -> None:
        kept = "there were none"
        if self.best:
            where = "in the network"
            if self.folder is None:
                self.network.load_state_dict(self.best)
            else:
                where = self.folder / "last_good.safetensors"
                write_tensors(where, self.best)
            kept = f"{where} (epoch {self.state.best_epoch})"
        raise DivergedError(
            f"{self.description}: {reason} at step {self.state.step}\n  last good weights: {kept}\n"
            "  to mend it: a lower learning_rate or clip, or look for extreme inputs",
            *(self.state.examples, self.state.examples * self.flops_per_example),
        )

    def _save(self) -> None:
        start = time.monotonic()
        if self.folder is None or start < self.next_checkpoint or self._finished():
            return
        network = self.network.state_dict()
        is_best = self.state.best_epoch == self.state.epoch  # what is shared is written once
        parts = {"network": network, "best": network if is_best else self.best}
        rest = {"optimisers": self.optimisers.state_dict(), "progress": asdict(self.state)}
        save_checkpoint(self.folder, {**parts, **rest})
        seconds = time.monotonic() - start
        self.saving += seconds
        self._postpone(seconds)

    def _postpone(self, seconds: float) -> None:
        """Set the time of the next checkpoint, which will take so many seconds."""
        paid = self.began + CHECKPOINT_SECONDS * (self.saving + seconds)
        self.next_checkpoint = max(time.monotonic() + CHECKPOINT_SECONDS, paid)

    def _restore(self, folder: Path) -> None:
        saved = load_checkpoint(folder, self.device, like=self.network.state_dict())
        if saved is None:
            return
        try:
            self.optimisers.load_state_dict(saved["optimisers"])
            history = [EpochMetrics(**epoch) for epoch in saved["progress"]["history"]]
            self.state = _Progress(**{**saved["progress"], "history": history})
            self.best = saved["best"]
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            discard_checkpoint(folder, f"it is of another training: {error}")
            self._begin()
        else:
            self.network.load_state_dict(saved["network"])


def _round_tables(network: nn.Module) -> None:
    """Round trained n-gram tables to half precision: as they are stored they are evaluated."""
    for module in network.modules():
        if isinstance(module, HashedEmbedding) and module.weight.requires_grad:
            module.round()


def _train_mode(network: nn.Module) -> None:
    """Training mode, except for modules whose own parameters are all frozen (their statistics)."""
    network.train()
    for module in network.modules():
        trained = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
        if trained and not any(trained):
            module.eval()
