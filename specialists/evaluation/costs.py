"""Do the training FLOPs of each model promise the seconds that its trainings took?"""

from __future__ import annotations

from collections.abc import Mapping

from specialists.catalogue import BASELINES, ENSEMBLE
from specialists.evaluation.findings import ModelScores
from specialists.evaluation.several_seeds import ModelSummary

UNLIKE = 1.5  # a ratio of seconds and FLOPs from which they are said to differ
Models = Mapping[str, ModelScores] | Mapping[str, ModelSummary]  # of a run, or of several seeds


def unlike_flops(models: Models, seconds: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Baselines whose training seconds differ from their training FLOPs by more than 1.5 times.

    Both are ratios to `ensemble`, which they are matched to by FLOPs.

    Parameters
    ----------
    models : mapping of model name to ModelScores or ModelSummary
    seconds : mapping of model name to seconds

    Returns
    -------
    dict
        Model name -> (FLOPs, seconds), over those of `ensemble`.
    """
    flops = {name: model.training_flops for name, model in models.items()}
    if not (flops[ENSEMBLE] and seconds.get(ENSEMBLE)):
        return {}
    ratios = {
        name: (flops[name] / flops[ENSEMBLE], seconds[name] / seconds[ENSEMBLE])
        for name in BASELINES
        if flops.get(name) and seconds.get(name)
    }
    return {name: (a, b) for name, (a, b) in ratios.items() if max(a / b, b / a) > UNLIKE}
