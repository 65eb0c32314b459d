"""What must be known before a baseline is compared: its worth, and its training time."""

from __future__ import annotations

from collections.abc import Mapping

from specialists.catalogue import ENSEMBLE, GENERALIST
from specialists.evaluation.costs import Models, unlike_flops
from specialists.report.numbers import enumerated, percent


def time_sentence(models: Models, seconds: Mapping[str, float]) -> str:
    """Where training seconds are not what training FLOPs promise; empty where they are."""
    unlike = [
        f"{name} took {flops:.2f} times the FLOPs and {time:.2f} times the seconds"
        for name, (flops, time) in unlike_flops(models, seconds).items()
    ]
    if not unlike:
        return ""
    return (
        f"Training FLOPs do not tell training time here: relative to {ENSEMBLE}, "
        f"{'; '.join(unlike)}."
    )


def worse(models: Models, name: str) -> str:
    """What a baseline is if it is worse than the generalist, so that beating it means little."""
    (top1, base), (nll, base_nll) = (
        [models[each].mean(metric) for each in (name, GENERALIST)] for metric in ("top1", "nll")
    )
    flaws = []
    if top1 < base:
        flaws.append(f"in top-1 ({percent(top1, 2)} against {percent(base, 2)})")
    if nll > base_nll:
        flaws.append(f"in NLL ({nll:.3f} against {base_nll:.3f} nats)")
    return f"worse than the generalist {enumerated(flaws)}" if flaws else ""
