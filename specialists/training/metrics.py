"""What came of a training: in memory, in ``metrics.jsonl``, and its times in ``timing.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from specialists.files import write_text
from specialists.training.training_cost import TrainingCost

TIMING = "timing.jsonl"


@dataclass(frozen=True)
class EpochMetrics:
    """Losses of one epoch, and how many epochs, steps and examples there were up to its end.

    ``train_loss`` is the mean over its steps, ``learning_rate`` that of its first step. The loss
    (nats) and top-1 (fraction) on validation data are measured at its end.
    """

    epoch: int
    step: int
    examples: int
    train_loss: float
    validation_loss: float
    validation_top1: float
    learning_rate: float


@dataclass(frozen=True)
class FitResult:
    """What came of a training.

    Attributes
    ----------
    best_epoch : int
        0 is the state before training, counted only where the start may win.
    loss, top1 : float
        On validation data at the best epoch; nats, fraction.
    cost : TrainingCost
        Of all that the network was trained on, the epochs after the best one included.
    history : tuple of EpochMetrics
        Of every epoch.
    """

    best_epoch: int
    loss: float
    top1: float
    cost: TrainingCost
    history: tuple[EpochMetrics, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, float]:
        """For JSON; the history stands in ``metrics.jsonl``."""
        best = {"best_epoch": self.best_epoch, "loss": self.loss, "top1": self.top1}
        return best | self.cost.to_dict()

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> FitResult:
        """The result in a JSON object that holds what :meth:`to_dict` gives, among other things."""
        best = int(values["best_epoch"]), values["loss"], values["top1"]
        return cls(*best, TrainingCost.from_dict(values))


def write_metrics(
    folder: Path,
    history: Sequence[EpochMetrics],
    seconds: float,
    loading: float,
    share: float = 1.0,
) -> None:
    """Write every epoch's metrics, and add a line on the time of the last one.

    ``seconds`` is the time of all of that epoch, ``loading`` that of waiting for batches, and
    ``share`` the part of the machine that this training had.
    """
    write_text(folder / "metrics.jsonl", "".join(_json_line(asdict(epoch)) for epoch in history))
    seen = [0, *(epoch.examples for epoch in history)]
    timing = {
        "epoch": history[-1].epoch,
        "seconds": round(seconds, 3),
        "examples_per_second": round((seen[-1] - seen[-2]) / seconds, 1),
        "loading_share": round(loading / seconds, 4),
        "machine_share": round(share, 4),
    }
    times = folder / TIMING
    before = times.read_text("utf-8", "replace") if times.is_file() else ""
    write_text(times, before + _json_line(timing))


def logged_seconds(folder: Path) -> float:
    """Seconds of the whole machine for all epochs: those with a part of its cores count in part.

    A line that a killed process left half written does not count.
    """
    file, total = folder / TIMING, 0.0
    for line in file.read_bytes().splitlines() if file.is_file() else []:
        with suppress(ValueError, TypeError, KeyError):
            record = json.loads(line)
            total += float(record["seconds"]) * float(record.get("machine_share", 1.0))
    return total


def _json_line(record: Mapping[str, object]) -> str:
    return json.dumps(record) + "\n"
