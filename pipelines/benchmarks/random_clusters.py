"""Are confusable clusters better than random ones of the same sizes, for the final ensemble?

    python -m pipelines.benchmarks.random_clusters runs/random-clusters languages [--seeds 3]
    python -m pipelines.benchmarks.random_clusters FOLDER onet data.arrays=PATH/onet_minilm.npz

For each seed one generalist is trained, and specialists twice: on the clusters of the
configuration, and on clusters with the same sizes whose classes are drawn at random. Each side's
rule is chosen on validation data by itself. There is no admission test, behind which both sides may
be their generalist. The table holds test figures in per cent, differences in points and nats, with
paired 95% bootstrap intervals over groups of examples, in the last row over seeds and groups.
Finished stages are kept, so that an interrupted comparison goes on. The result is
FOLDER/random_clusters.{json,md}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from specialists.catalogue import ENSEMBLE, GENERALIST
from specialists.files import read_json

from ..messages import told_in_one_message
from ..runs import Run
from .markdown_tables import Line, markdown_table
from .measured import Measured, MeasuredRun, SeedResults
from .study import Cell, command_line, configs_by_seed, run_study, write_results

SHARED_STAGES = ("prepare-data", "train-generalist")
KINDS = ("confusable", "random")


def compare_kinds(folder: Path, config: str, overrides: Sequence[str], seeds: int) -> str:
    """Run both kinds for every seed; a Markdown table."""
    overrides = ["combination.admission=off", *overrides]
    shuffled = configs_by_seed(config, [*overrides, "clusters.shuffled=true"], seeds)
    cells = []
    for settings, random in zip(configs_by_seed(config, overrides, seeds), shuffled, strict=True):
        place = folder / f"seed-{settings.seed}"
        cells.append(Cell("confusable", place / "confusable", settings))
        cells.append(Cell("random", place / "random", random, cells[-1], SHARED_STAGES))
    models = [
        {GENERALIST: generalist, "confusable": confusable, "random": random}
        for (generalist, confusable), (_, random) in zip(
            *run_study(folder, cells, _measure).values(), strict=True
        )
    ]
    results = {
        str(cell.config.seed): SeedResults([seed])
        for cell, seed in zip(cells[::2], models, strict=True)
    }
    results["mean"] = mean = SeedResults(models)
    record = {"models": mean.to_dict(), "gains": mean.gains(*KINDS)}
    text = markdown_table([_line(label, each) for label, each in results.items()])
    return write_results(folder, "random_clusters", text, record)


def _measure(run: Run) -> tuple[Measured, Measured]:
    """The generalist, and the ensemble with the share of confusions in its clusters."""
    clusters = read_json(run.path("cluster-classes", "clusters.json"))
    seed = MeasuredRun(run)
    return seed.stored(GENERALIST), seed.stored(ENSEMBLE, f"{clusters['share_of_confusions']:.0%}")


def _line(label: str, results: SeedResults) -> Line:
    shares = ", ".join(results.about(kind) for kind in KINDS) if label != "mean" else ""
    return {
        "seed": label,
        "confusions inside (confusable, random)": shares,
        "generalist": results.top1(GENERALIST),
        **{
            f"{kind} (cost)": f"{results.top1(kind)} ({results.relative_inference(kind)})"
            for kind in KINDS
        },
        "top-1, confusable - random": results.points(*KINDS),
        "NLL, confusable - random": results.nats(*KINDS),
    }


if __name__ == "__main__":
    with told_in_one_message():
        print(compare_kinds(**command_line("random_clusters")))
