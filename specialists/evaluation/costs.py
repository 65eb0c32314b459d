"""What the trainings of each model took in seconds, and whether their FLOPs promise that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specialists.runs import Run, read_json
from specialists.training import logged_seconds

STAGE = "evaluate-models"
UNLIKE = 1.5  # a ratio of seconds and FLOPs from which they are said to differ


def training_seconds(run: Run) -> dict[str, float]:
    """Wall time of the trainings that made each model of ``evaluation.json``, summed.

    Only chosen candidates count: one width of the generalist, one trial of a student (without its
    teacher). Generalists that found the clusters, or that specialists started from, count with the
    ensembles. A generalist that was given took none.
    """
    trainings = read_json(run.path(STAGE, "trainings.json"))
    return {
        name: sum(logged_seconds(run.folder / folder) for folder in folders)
        for name, folders in trainings.items()
    }


def unlike_flops(
    models: Mapping[str, Mapping[str, Any]], seconds: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Models whose training seconds differ from their training FLOPs by more than 1.5 times.

    Both are ratios to `ensemble`, which its rivals are matched to by FLOPs.

    Parameters
    ----------
    models : mapping of model name to its entry in ``evaluation.json``
    seconds : mapping of model name to seconds

    Returns
    -------
    dict
        Model name -> (FLOPs, seconds), over those of `ensemble`.
    """
    flops = {name: model["training_flops"] for name, model in models.items()}
    if not (flops["ensemble"] and seconds.get("ensemble")):
        return {}
    ratios = {
        name: (flops[name] / flops["ensemble"], seconds[name] / seconds["ensemble"])
        for name in models
        if flops[name] and seconds.get(name)
    }
    return {name: (a, b) for name, (a, b) in ratios.items() if max(a / b, b / a) > UNLIKE}
