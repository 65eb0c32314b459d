"""What a run's numbers say in a sentence, and what makes them doubtful."""

from __future__ import annotations

from collections.abc import Mapping

from specialists.catalogue import BASELINES, ENSEMBLE, GENERALIST
from specialists.ensemble import AdmissionDecision, CombinationRule, admitted_in_words
from specialists.evaluation import Details, Evaluation, ModelScores, ModelSummary
from specialists.evaluation.shared_gains import SharedGains
from specialists.report.numbers import enumerated, percent, points, points_interval, signed
from specialists.uncertainty import MIN_GROUPS, groups_in_words, no_test, rows_in_groups


def p_value(p: float | None, n_groups: int) -> str:
    """Probability as "p < 0.001" or "p = 0.020"; None as "12 groups: no test"."""
    if p is None:
        return no_test(n_groups)
    return "p\u00a0<\u00a00.001" if p < 0.001 else f"p\u00a0=\u00a0{p:.3f}"


def interval_in_words(evaluation: Evaluation) -> str:
    """For instance "95% bootstrap interval over 1,738 test examples in 312 groups"."""
    n, k = evaluation.n_test, evaluation.n_groups
    if k < MIN_GROUPS:
        return f"95% interval, by Student's t, over {groups_in_words(k)} of test examples"
    return f"95% bootstrap interval over {rows_in_groups(n, k, 'test examples')}"


def gain_sentence(evaluation: Evaluation) -> str:
    """What top-1 and NLL of the ensemble are against the generalist's."""
    top1 = evaluation.find(ENSEMBLE, GENERALIST)
    nll = evaluation.find(ENSEMBLE, GENERALIST, "nll")
    if top1 is None or nll is None:
        return ""
    base, better = (evaluation.models[name].top1 for name in (GENERALIST, ENSEMBLE))
    n, k = evaluation.n_test, evaluation.n_groups
    groups = "" if k == n else f", in {groups_in_words(k)}"
    return (
        f"On {n:,} test examples of {evaluation.n_classes:,} classes{groups}, "
        f"top-1 goes from {percent(base)} (generalist) to {percent(better)} (ensemble): "
        f"{points(top1.value)} percentage points (95% interval "
        f"{points_interval(top1.interval)}; {p_value(top1.p, k)}). The negative "
        f"log-likelihood changes by {signed(nll.value)} nats "
        f"(95% interval {signed(nll.interval[0])} to {signed(nll.interval[1])}; lower is better)."
    )


def admission_sentence(admission: AdmissionDecision) -> str:
    """What the admission test decided on the rows that were kept for it, and why."""
    if admission.outcome == "refused":
        return (
            f"Specialists were refused: {admission.reason}. "
            "So the ensemble answers exactly like its generalist."
        )
    answer = "Whether the specialists help was not tested before they entered"
    if admission.outcome == "admitted":
        tests = [test.admitted for test in admission.specialists]
        answer = admitted_in_words(admission.method, tests, admission.n_shared)
    return f"{answer}: {admission.reason}."


def shared_sentences(shared: SharedGains, chosen: CombinationRule) -> list[str]:
    """What a run's shared specialists are, what they are asked about, and how often."""
    n, listed = shared.n_trained, f"{shared.n_listed:.3g}"
    who = "1 shared specialist was" if n == 1 else f"{n} shared specialists were"
    which = f"the {listed} classes that the generalist finds most probable in a row"
    if shared.of_clusters:
        which = f"the classes of the clusters of a row's most probable ones, {listed} on average"
    asked = (
        f"{who} trained, on all classes and for all rows. The question to "
        f"{'it' if n == 1 else 'them'} is a shortlist: {which}. The true class is on the "
        f"shortlist in {percent(shared.on_shortlist)} of the test rows."
    )
    if not shared.n_answering:
        return [asked, "None of them may answer."]
    fewer = "" if shared.n_answering == n else f"{shared.n_answering} of them answer. "
    sure = ", where the generalist is least sure," * (0 < shared.asked_whole < 1)
    whole = f"In {percent(shared.asked_whole)} of the test rows{sure} the question is every class."
    clusters = " The gains are those of the whole ensemble." * (chosen.members != ())
    return [asked, f"{fewer}{whole}{clusters}"]


def left_out_sentence(n_specialists: int, n_answering: int) -> str:
    """How many specialists are in no table, since they may not answer; "" if all may, or none."""
    out = n_specialists - n_answering
    if not (out and n_answering):
        return ""
    verb = "is" if out == 1 else "are"
    return f"{out} of {n_specialists} specialists may not answer and {verb} left out here."


def warnings(details: Details) -> list[str]:
    """What makes the comparison with the generalist doubtful."""
    trained = details.under_trained
    if trained is None or not trained.flag:
        return []
    return [
        "The generalist was under-trained: training it on improves its top-1 by "
        f"{percent(trained.relative_gain)} relative, so part of what looks like the specialists' "
        "gain is only more training. Raise generalist.epochs and judge the ensemble against "
        "generalist_continued."
    ]


UNLIKE = 1.5  # a ratio of seconds and FLOPs from which on they differ
Models = Mapping[str, ModelScores] | Mapping[str, ModelSummary]  # of a run, or of several seeds


def unlike_flops(models: Models, seconds: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Baselines whose training seconds differ from their training FLOPs by more than 1.5 times.

    The result is (FLOPs, seconds) by name, over those of `ensemble`, to whose FLOPs they are
    matched.
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


def time_sentence(models: Models, seconds: Mapping[str, float]) -> str:
    """Where training seconds are not what training FLOPs promise; empty where they are.

    Baselines of the same trainings, as averages often are, are told together.
    """
    told: dict[str, list[str]] = {}
    for name, (flops, time) in unlike_flops(models, seconds).items():
        costs = f"{flops:.2f} times the FLOPs and {time:.2f} times the seconds"
        told.setdefault(costs, []).append(name)
    unlike = "; ".join(f"{enumerated(names)} took {costs}" for costs, names in told.items())
    start = f"Training FLOPs do not tell training time here: relative to {ENSEMBLE}, "
    return f"{start}{unlike}." if unlike else ""


def no_better(models: Models, name: str) -> str:
    """In what a baseline is below the generalist, so that beating it means little; or ""."""
    top1, base = (models[each].mean("top1") for each in (name, GENERALIST))
    nll, base_nll = (models[each].mean("nll") for each in (name, GENERALIST))
    flaws = [f"in top-1 ({percent(top1, 2)} against {percent(base, 2)})"] * (top1 < base)
    flaws += [f"in NLL ({nll:.3f} against {base_nll:.3f} nats)"] * (nll > base_nll)
    return f"no better than the generalist {enumerated(flaws)}" if flaws else ""
