"""What a student's search tried, and what each candidate cost."""

from __future__ import annotations

from dataclasses import dataclass

from specialists.json_record import JsonRecord


@dataclass(frozen=True, kw_only=True)
class TunedCandidate(JsonRecord):
    """A candidate of a search, in the last rung that it came to.

    Parameters
    ----------
    model : str
        What it is a candidate for, for instance "student".
    settings : str
        In words, for instance "temperature 2, alpha 0.7".
    rung, n_rungs : int
        That rung, counted from 1, and how many there are.
    share : float
        Of its epochs that it was trained for there.
    top1 : float
        On validation data.
    loss : float, optional
        On validation data, in nats; None: it did not stay finite.
    training_flops, training_seconds : float
        Of all its trainings, those of earlier rungs included.
    is_chosen : bool
    """

    model: str
    settings: str
    rung: int
    n_rungs: int
    share: float
    top1: float
    loss: float | None
    training_flops: float
    training_seconds: float
    is_chosen: bool = False
