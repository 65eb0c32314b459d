"""Data from any source -> ``RUN/prepare-data``: splits, class names, encoded inputs."""

from __future__ import annotations

from specialists.feasibility import check_settings
from specialists.files import check_trusted

from .runs import Run
from .stage import Stage
from .terminal import log

AS_THEY_ARE = (
    "features are not standardised, since generalist.weights was trained elsewhere on them "
    "(data.standardize = true asks for it)"
)


def execute(run: Run) -> None:
    """Load, split and encode the data set."""
    from specialists.datasets import load_dataset, save_dataset
    from specialists.uncertainty import rows_in_groups

    data = run.config.as_trained().data
    if data.factory:
        check_trusted(data.factory, data.options, run.config_file)
    dataset = load_dataset(data, run.config.seed)
    for note in dataset.notes:
        log.info(f"prepare-data: {note}")
    if dataset.kind == "features" and data != run.config.data:
        log.info(f"prepare-data: {AS_THEY_ARE}")
    if any(split.n_groups < len(split) for split in dataset.splits.values()):
        sizes = [
            f"{name} {rows_in_groups(len(split), split.n_groups)}"
            for name, split in dataset.splits.items()
        ]
        log.info(f"prepare-data: {', '.join(sizes)}")
    save_dataset(dataset, run.path("prepare-data"))


STAGE = Stage(
    name="prepare-data",
    sections=("seed", "data"),
    inputs=(),
    execute=execute,
    check=lambda run: check_settings(run.config),
    files=("data.table", "data.arrays", "data.images", "data.factory"),
)
