"""Can the settings of a run work with its prepared data? Every stage asks before it works."""

from __future__ import annotations

from specialists.feasibility import DataShape, check_settings
from specialists.runs import check_trusted, read_array, read_json

from .runs import Run


def check_run(run: Run, unlabelled: bool = True) -> None:
    """Check a run's configuration against its prepared data.

    ``unlabelled`` says whether ``student.unlabelled`` is still to be read.

    Raises
    ------
    ConfigError
        With every mistake, one a line.
    InputError
        If nobody vouches for the function of ``generalist.factory``.
    DataError
        If ``student.unlabelled`` cannot be read as the training data were.
    """
    settings = run.config.generalist
    if settings.factory is not None:
        check_trusted(settings.factory, settings.options, run.config_file)
    about = read_json(run.path("prepare-data", "dataset.json"))
    kind, rows, shape = about["kind"], about["rows"], ()
    if kind != "text":
        shape = tuple(read_array(run.path("prepare-data", "train.inputs.npy")).shape[1:])
    n_classes = len(about["class_names"])
    check_settings(run.config, DataShape(kind, n_classes, rows["train"], rows["test"], shape))
    more = run.config.student.unlabelled
    if unlabelled and more is not None:
        from specialists.datasets import read_unlabelled

        read_unlabelled(more, about["preprocessing"])
