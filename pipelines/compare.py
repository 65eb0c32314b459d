"""One configuration over several seeds: is it worth it?

Each seed is a run in FOLDER/seed-S. Finished stages are kept: what was interrupted goes on, and
seeds can be added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from specialists.catalogue import BASELINES, TRAINED
from specialists.config import Config
from specialists.evaluation import compare_seeds
from specialists.files import write_json, write_text
from specialists.report import comparison_figure, comparison_markdown, recommended

from . import stages
from .finished_run import read_seed
from .kept_weights import keeping_command, lacks_weights
from .run_settings import configured, source_and_folder
from .runs import (
    COMPARISON,
    RUN,
    check_claimable,
    claimed,
    missing_folders,
    withdrawn_if_refused,
)
from .terminal import log
from .write_report import disk_line


def source_and_comparison(
    config: str | None, out: Path | None, overrides: list[str]
) -> tuple[str | Path | None, Path]:
    """Settings and folder, runs/compare-NAME unless ``out`` names another.

    With --out and no CONFIG a comparison keeps its first seed's settings.
    """
    kept = _kept_configs(out) if config is None and out is not None else []
    source, folder = source_and_folder(config, None, overrides, "compare")
    if out is None:
        return source, folder.with_name(f"compare-{folder.name}")
    return (kept[0] if kept else source), out


def run_seeds(
    source: str | Path | None, overrides: list[str], folder: Path, n_seeds: int, jobs: int | None
) -> str:
    """Run every seed, write FOLDER/comparison.{json,md,svg}; returns the table and the verdict."""
    first = Config.from_toml(source, overrides).seed
    numbers = range(first, first + n_seeds)
    seeds = []
    with claimed_comparison(folder, numbers):
        for seed in numbers:
            place = seed_folder(folder, seed)
            log.info(f"compare: seed {seed} in {place}")
            settings = with_all_baselines(Config.from_toml(source, [*overrides, f"seed={seed}"]))
            with configured(place, settings, jobs) as run:
                stages.run_stages(run)
                seeds.append(read_seed(run))
        comparison = compare_seeds(seeds)
        text = comparison_markdown(comparison)
        write_json(folder / "comparison.json", comparison.to_dict())
        write_text(folder / "comparison.svg", comparison_figure(comparison))
        write_text(folder / "comparison.md", text)
        log.info(disk_line(folder))
    return text + weights_note(folder, n_seeds, recommended(comparison))


def weights_note(folder: Path, n_seeds: int, advised: str | None) -> str:
    """What makes the weights of an advised baseline, for the terminal; "" if they are there."""
    runs = [run for run in folder.glob("seed-*") if (run / "evaluation.json").is_file()]
    if advised not in BASELINES or not any(lacks_weights(run, advised) for run in runs):
        return ""
    command = keeping_command(folder, "compare").replace("--set", f"--seeds {n_seeds} --set")
    return f"\nits weights: `{command}`\n"


def with_all_baselines(settings: Config) -> Config:
    """The same with every baseline, unless the settings name some or none can be trained."""
    if settings.evaluation.baselines is not None or settings.generalist.predictions is not None:
        return settings
    evaluation = settings.evaluation.model_copy(update={"baselines": TRAINED})
    return settings.model_copy(update={"evaluation": evaluation})


def seed_folder(folder: Path, seed: int) -> Path:
    """The run of one seed in the folder of a comparison."""
    return folder / f"seed-{seed}"


@contextmanager
def claimed_comparison(folder: Path, seeds: Iterable[int]) -> Iterator[None]:
    """Write in the folder of a comparison.

    Raises
    ------
    InputError
        Before any work, if that folder, or one that a seed's run would have, is somebody else's.
    """
    check_claimable(folder, COMPARISON)
    for seed in seeds:
        check_claimable(seed_folder(folder, seed), RUN)
    with withdrawn_if_refused(folder, missing_folders(folder)), claimed(folder, COMPARISON):
        yield


def _kept_configs(folder: Path) -> list[Path]:
    """The seeds' own settings in the order of seeds, so that the first counts on as it did."""
    files = {
        int(number): file
        for file in folder.glob("seed-*/config.toml")
        if (number := file.parent.name.removeprefix("seed-")).isdecimal()
    }
    return [files[seed] for seed in sorted(files)]
