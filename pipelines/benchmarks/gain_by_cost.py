"""What does a gain cost? The best rule of each kind at every limit of inference.

    python -m pipelines.benchmarks.gain_by_cost FOLDER CONFIG [--seeds 3] [key=value ...]

Validation chooses, for each limit of mean inference FLOPs over the generalist's, the best rule of
specialists of clusters, of shared specialists, of both, and of averaged generalists of which the
later ones may be asked less; test rows measure it. Beside them stand the generalist trained on and
a wider one, at what `ensemble` costs. No admission test keeps a rule out here. Training counts the
generalist, what clusters and shortlists were found by, and the members that a rule asks; of
clusters all specialists.

FOLDER/seed-S are runs as ``specialists compare --out FOLDER`` makes them: what stands is used, and
an interrupted benchmark goes on. The result is FOLDER/gain_by_cost.{json,md,svg}.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from specialists.baselines import (
    AveragingRule,
    averaged,
    head_share,
    judge_averages,
)
from specialists.baselines.averages import deferring_rules
from specialists.catalogue import AVERAGED, CONTINUED, ENSEMBLE, GENERALIST, PAPER, STUDENT, WIDE
from specialists.ensemble import Choice, CombinationRule, Ensemble, choose
from specialists.figures import accuracy_against_compute, to_svg_file
from specialists.files import read_json
from specialists.training import TrainingCost

from ..baselines import budget_of
from ..classifiers import Member, train_classifiers
from ..combine_predictions import ensemble_outputs, open_ensemble
from ..compare import seed_folder
from ..messages import told_in_one_message
from ..train_generalist import initial_generalists
from .equal_compute import figure_points, model_line
from .markdown_tables import heading, markdown_table
from .measured import Measured, MeasuredRun, SeedResults
from .study import Cell, command_line, configs_by_seed, run_study, write_results

LIMITS = (1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0)
CLUSTERS, SHARED, BOTH = "specialists of clusters", "shared specialists", "both kinds of them"
COLOURS = {CLUSTERS: PAPER, SHARED: ENSEMBLE, BOTH: STUDENT}  # of models that are not drawn here
LEGEND = {
    **{name: name for name in COLOURS},
    **{colour: name for name, colour in COLOURS.items()},
    AVERAGED: "generalists averaged",
}
FIGURE = "Top-1 accuracy against FLOPs of training and of inference, mean and range over seeds"


def gain_by_cost(folder: Path, config: str, overrides: Sequence[str], seeds: int) -> str:
    """Run and measure every seed; writes and returns the table."""
    cells = [
        Cell("gain by cost", seed_folder(folder, settings.seed), settings)
        for settings in configs_by_seed(config, overrides, seeds)
    ]
    (models,) = run_study(folder, cells, lambda run: measured_models(MeasuredRun(run))).values()
    results = SeedResults(models)
    record = results.to_dict()
    for name, values in record.items():
        values["top1_gain"], values["nll_gain"] = results.gains(name, GENERALIST).values()
    figure = to_svg_file(accuracy_against_compute(figure_points(results, COLOURS), LEGEND), FIGURE)
    about = read_json(cells[0].folder / "prepare-data" / "dataset.json")
    title = f"{about['name']}: {len(about['class_names']):,} classes"
    lines = [model_line(results, name, LEGEND) for name in results.names]
    text = heading(title, seeds, "x: over the generalist's.") + markdown_table(lines)
    return write_results(folder, "gain_by_cost", text, record, figure)


def measured_models(seed: MeasuredRun) -> dict[str, Measured]:
    """One seed's models on the test set, by family and limit."""
    budget = budget_of(seed.context)
    tasks = seed.baselines(budget, (CONTINUED, WIDE, AVERAGED))
    for name, group in tasks.items():
        train_classifiers(group, seed.run.jobs, name)
    generalist = seed.stored(GENERALIST)
    continued = [task.folder for task in tasks[CONTINUED]]
    models = {GENERALIST: generalist, CONTINUED: seed.averaged(continued)[0]}
    if WIDE in tasks:
        models[WIDE] = seed.wide(tasks[WIDE])
    members = [seed.context.path("train-generalist"), *(t.folder for t in tasks[AVERAGED])]
    models.update(_specialists(seed, generalist))
    models.update(_averages(seed, [Member(seed.context, folder) for folder in members]))
    return models


def _specialists(seed: MeasuredRun, generalist: Measured) -> Iterator[tuple[str, Measured]]:
    """The best rule of each kind within each limit, where a higher limit changes it."""
    ensemble, settings = open_ensemble(seed.context), seed.context.config.combination
    choice = read_json(seed.context.path("combine-predictions", "choice.json"))
    candidates = Choice.from_dict(choice).candidates
    stored = ensemble_outputs(seed.run, "test")[ENSEMBLE]
    test = ensemble.member_predictions(seed.context.split("test").inputs)
    for family in (CLUSTERS, SHARED, BOTH):
        best = None
        for limit in LIMITS:
            within = [c for c in candidates if _family(c) == family and c.relative_cost <= limit]
            if not within or (chosen := choose(within, settings).rule) == best:
                continue
            best = chosen
            outputs = dataclasses.replace(
                stored,
                predictions=test.joined(best),
                inference_flops=test.flops(best),
                training_flops=(generalist.training + _further(seed, ensemble, chosen)).flops,
            )
            yield f"{family}, {limit:g}x", seed.measured(outputs, best.in_short())


def _family(rule: CombinationRule) -> str:
    if rule.shared is None:
        return CLUSTERS
    return SHARED if rule.members == () else BOTH


def _further(seed: MeasuredRun, ensemble: Ensemble, rule: CombinationRule) -> TrainingCost:
    """What a rule needs beside its generalist: members, their starts, clusters and soft targets."""
    context = seed.context
    cost = TrainingCost(flops=len(context.dataset.train) * budget_of(context).generalist_flops)
    cost += TrainingCost.from_dict(read_json(context.path("cluster-classes", "costs.json")))
    if rule.members != ():
        starts = [Member(context, task.folder).cost for task in initial_generalists(context)]
        cost = sum((*starts, *(member.cost for member in ensemble.specialists)), cost)
    if ensemble.shared is not None:
        cost = sum((one.cost for one in ensemble.shared.specialists[: rule.n_shared]), cost)
    return cost


def _averages(seed: MeasuredRun, members: Sequence[Member]) -> Iterator[tuple[str, Measured]]:
    """The best average within each limit, where a higher limit changes it."""
    context, best = seed.context, None
    share = head_share(members[0].network(), context.dataset.n_classes, members[0].sample("test"))
    known, test = ([m.predictions(split) for m in members] for split in ("validation", "test"))
    for limit in LIMITS:
        rules = deferring_rules(known[0], len(members), limit, share)
        candidates = judge_averages(rules, known, context.dataset.validation.labels, share)
        chosen = choose(candidates, context.config.combination).rule
        if chosen == best or chosen.n_members == 1:
            continue
        best = chosen
        some = members[: best.n_members]
        cost = sum((member.cost for member in some), TrainingCost())
        first = members[0].outputs(AVERAGED, "test")
        outputs = dataclasses.replace(
            first,
            predictions=averaged(test, best),
            inference_flops=first.inference_flops * best.relative_cost(test[0], share),
            **cost.to_dict(),
        )
        yield f"{AVERAGED}, {limit:g}x", seed.measured(outputs, _in_short(best))


def _in_short(rule: AveragingRule) -> str:
    words = [f"{rule.n_members} {rule.mean}"]
    words += [f"the {rule.shortlist} most probable"] if rule.shortlist else []
    words += [] if rule.confidence is None else [f"all up to {rule.confidence:.1%}"]
    return ", ".join(words)


def main() -> None:
    """The command above."""
    with told_in_one_message():
        print(gain_by_cost(**command_line("gain_by_cost")))


if __name__ == "__main__":
    main()
