"""Specialist-ensemble distillation of classifiers with many classes.

A generalist's predictions show which classes it confuses; specialists with a dustbin class learn
those subsets; an exact KL-minimising combination joins them; one compact student learns from the
joined predictions. Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network"
(2015). ``load(RUN).predict_proba(x)`` uses a trained model.

On a machine with other work, set ``OMP_WAIT_POLICY=PASSIVE`` before Python starts: threads that
wait then sleep, and leave the cores alone. The command does so; an import changes no environment.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from specialists.version import __version__

if TYPE_CHECKING:
    from specialists.predictor import Predictor

__all__ = ["__version__", "load"]


def load(path: str | Path, model: str = "student", trust_code: bool = False) -> Predictor:
    """A trained model of a run, or of a model's folder that was copied elsewhere.

    Parameters
    ----------
    path : path
        A run folder, or the folder of a student or generalist.
    model : {"student", "ensemble", "generalist", "student_hard_labels"}, or a baseline's name
        Of a run folder. Baselines such as "generalist_wide" have weights if
        ``evaluation.keep_rivals`` is set.
    trust_code : bool
        Call the function that a network of a factory names, wherever the folder comes from. Else
        it is called only in a run that this user made here.

    Raises
    ------
    InputError
        If there is no such model, its files are damaged or do not belong together, or it names a
        function that nobody vouches for.

    Examples
    --------
    >>> predictor = load("runs/emoji")  # doctest: +SKIP
    >>> predictor.predict_proba(["winkende Hand", "drapeau : Canada"]).shape  # doctest: +SKIP
    (2, 1081)
    """
    models = import_module("specialists.pipelines.trained_models")
    return models.load(path, model, trust_code)
