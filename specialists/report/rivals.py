"""What is to be known of a rival before it is compared: its worth, and its training time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specialists.evaluation.costs import unlike_flops
from specialists.report.numbers import enumerated, percent


def time_sentence(models: Mapping[str, Any], seconds: Mapping[str, float]) -> str:
    """Where training seconds are not what training FLOPs promise; empty where they are."""
    unlike = unlike_flops(models, seconds)
    said = [
        f"{name} {flops:.2f} times its FLOPs in {time:.2f} times its seconds"
        for name, (flops, time) in unlike.items()
    ]
    if not said:
        return ""
    return f"Training FLOPs are not training time here; over those of ensemble: {enumerated(said)}."


def worse(models: Mapping[str, Any], rival: str) -> str:
    """What a rival is where it is worse than the generalist, so that beating it means little."""
    top1, nll = (
        [_mean(models[name][metric]) for name in (rival, "generalist")]
        for metric in ("top1", "nll")
    )
    found = []
    if top1[0] < top1[1]:
        found.append(f"top-1 {percent(top1[0])} against {percent(top1[1])}")
    if nll[0] > nll[1]:
        found.append(f"NLL {nll[0]:.3f} against {nll[1]:.3f} nats")
    return f"worse than the generalist ({enumerated(found)})" if found else ""


def _mean(value: float | Mapping[str, float]) -> float:
    """Of a run, or of a comparison of several seeds."""
    return value["mean"] if isinstance(value, Mapping) else value
