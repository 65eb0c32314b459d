"""What a run's numbers say in a sentence, and what makes them doubtful."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specialists.catalogue import ENSEMBLE, GENERALIST
from specialists.ensemble import admitted_in_words
from specialists.evaluation import Details, Evaluation
from specialists.report.numbers import percent, points, points_interval, signed
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
    of_them = f"of {evaluation.n_classes:,} classes"
    of_them += "" if k == n else f", in {groups_in_words(k)}"
    return (
        f"On {n:,} test examples {of_them}, top-1 goes from {percent(base)} "
        f"(generalist) to {percent(better)} (ensemble): "
        f"{points(top1.value)} percentage points (95% interval "
        f"{points_interval(top1.interval)}; {p_value(top1.p, k)}). The negative "
        f"log-likelihood changes by {signed(nll.value)} nats "
        f"({signed(nll.interval[0])} to {signed(nll.interval[1])}; lower is better)."
    )


def gate_sentence(gate: Mapping[str, Any]) -> str:
    """What the test on rows that were kept for it decided, and why."""
    reason = gate["reason"]
    if gate["outcome"] == "not tested":
        return f"Whether the specialists help was not tested before they entered: {reason}."
    if gate["outcome"] == "refused":
        return f"The ensemble answers exactly like its generalist: {reason}."
    admitted = [entry["admitted"] for entry in gate["specialists"]]
    return f"{admitted_in_words(gate['method'], admitted)}: {reason}."


def left_out_sentence(n_specialists: int, n_answering: int) -> str:
    """How many specialists are in no table, since they may not answer; "" if every one may."""
    out = n_specialists - n_answering
    if not out:
        return ""
    if not n_answering:
        return (
            "No specialist may answer, so there is no gain by cluster or by coverage, and no "
            "conditional accuracy."
        )
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
