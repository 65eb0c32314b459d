"""Did the specialists help? The answer in words, from the paired differences and their intervals.

A difference counts when its 95% interval leaves out 0; otherwise it is called no clear difference,
whichever way it points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specialists.ensemble import admitted_in_words
from specialists.report.catalogue import RIVALS, RIVALS_IN_SHORT
from specialists.report.numbers import enumerated, percent, points, points_interval, signed
from specialists.report.rivals import worse
from specialists.uncertainty import MIN_GROUPS, groups_in_words, no_test, rows_in_groups


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Parameters
    ----------
    headline : str
        One short sentence.
    tone : {"good", "bad", "unclear"}
    sentences : tuple of str
        What supports it, a sentence or two each.
    warnings : tuple of str
        What makes it doubtful.
    """

    headline: str
    tone: str
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]


def p_value(p: float | None, evaluation: Mapping[str, Any]) -> str:
    """Probability as "p < 0.001" or "p = 0.020"; None as "12 groups: no test"."""
    if p is None:
        return no_test(n_groups(evaluation))
    return "p\u00a0<\u00a00.001" if p < 0.001 else f"p\u00a0=\u00a0{p:.3f}"


def n_groups(evaluation: Mapping[str, Any]) -> int:
    """How many units of chance the test examples are."""
    return evaluation.get("n_groups", evaluation["n_test"])


def interval_in_words(evaluation: Mapping[str, Any]) -> str:
    """For instance "95% bootstrap interval over 1,738 test examples in 312 groups"."""
    n, k = evaluation["n_test"], n_groups(evaluation)
    if k < MIN_GROUPS:
        return f"95% interval, by Student's t, over {groups_in_words(k)} of test examples"
    return f"95% bootstrap interval over {rows_in_groups(n, k, 'test examples')}"


def direction(difference: Mapping[str, Any]) -> int:
    """1, -1 or 0: a is better, worse, or not clearly different."""
    low, high = difference["interval"]
    sign = 1 if low > 0 else -1 if high < 0 else 0
    return sign if difference["metric"] == "top1" else -sign


def find_difference(
    evaluation: Mapping[str, Any], a: str, b: str, metric: str = "top1"
) -> Mapping[str, Any] | None:
    """The comparison of ``a`` with ``b``, if it was made."""
    wanted = (a, b, metric)
    for difference in evaluation["differences"]:
        if (difference["a"], difference["b"], difference["metric"]) == wanted:
            return difference
    return None


def gate_sentence(gate: Mapping[str, Any]) -> str:
    """What the test on rows that were kept for it decided, and why."""
    reason = gate["reason"]
    if gate["outcome"] == "not tested":
        return f"Whether the specialists help was not tested before they entered: {reason}."
    if gate["outcome"] == "refused":
        return f"The ensemble answers exactly like its generalist: {reason}."
    admitted = [entry["admitted"] for entry in gate["specialists"]]
    return f"{admitted_in_words(gate['method'], admitted)}: {reason}."


def left_out_sentence(evaluation: Mapping[str, Any]) -> str:
    """How many specialists are in no table, since they may not answer; "" if every one may."""
    n = evaluation.get("n_specialists", 0)
    out = n - evaluation.get("n_answering", n)
    if not out:
        return ""
    if out == n:
        return (
            "No specialist may answer, so there is no gain by cluster or by coverage, and no "
            "conditional accuracy."
        )
    verb = "is" if out == 1 else "are"
    return f"{out} of {n} specialists may not answer and {verb} left out here."


def is_refused(choice: Mapping[str, Any] | None) -> bool:
    """Whether the specialists were kept out, so that the ensemble is its generalist."""
    return choice is not None and choice.get("gate", {}).get("outcome") == "refused"


def verdict(
    evaluation: Mapping[str, Any],
    details: Mapping[str, Any],
    choice: Mapping[str, Any] | None = None,
) -> Verdict:
    """The answer to "did the specialists help?", whichever way it falls.

    ``choice`` is the content of ``choice.json``, which tells whether they were asked at all.
    """
    if is_refused(choice):
        headline = "The specialists stay out: the ensemble answers like its generalist"
        sentences = [
            gate_sentence(choice["gate"]) if choice else "",
            *_control_sentences(evaluation),
        ]
        sentences += _student_sentences(evaluation, details)
        return Verdict(
            headline + ".", "unclear", tuple(filter(None, sentences)), _warnings(details)
        )
    top1 = find_difference(evaluation, "ensemble", "generalist")
    sign = 0 if top1 is None else direction(top1)
    beaten, unclear, ahead = _rivals(evaluation)
    headline = {
        1: "The specialists helped",
        -1: "The specialists made the predictions worse",
        0: "The specialists made no clear difference",
    }[sign]
    if sign == 1 and ahead:
        headline += f", but {_listed(ahead)} did better"
    elif sign == 1 and unclear:
        headline += f", but not clearly more than {_listed(unclear)}"
    elif sign == 1 and beaten:
        headline += " more than any control"
    tone = "bad" if sign < 0 else "good" if sign == 1 and not ahead + unclear else "unclear"
    sentences = [_main_sentence(evaluation), *_control_sentences(evaluation)]
    sentences += _student_sentences(evaluation, details)
    return Verdict(headline + ".", tone, tuple(filter(None, sentences)), _warnings(details))


def _rivals(evaluation: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    groups: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for rival in RIVALS:
        difference = find_difference(evaluation, "ensemble", rival)
        if difference is not None:
            groups[direction(difference)].append(rival)
    return groups[1], groups[0], groups[-1]


def _listed(names: list[str]) -> str:
    if len(names) == len(RIVALS):
        return "every control"
    return enumerated([RIVALS_IN_SHORT[name] for name in names])


def _main_sentence(evaluation: Mapping[str, Any]) -> str:
    top1 = find_difference(evaluation, "ensemble", "generalist")
    nll = find_difference(evaluation, "ensemble", "generalist", "nll")
    if top1 is None or nll is None:
        return ""
    base, better = (evaluation["models"][name]["top1"] for name in ("generalist", "ensemble"))
    k = n_groups(evaluation)
    of_them = f"of {evaluation['n_classes']:,} classes"
    of_them += "" if k == evaluation["n_test"] else f", in {groups_in_words(k)}"
    return (
        f"On {evaluation['n_test']:,} test examples {of_them}, top-1 goes from {percent(base)} "
        f"(generalist) to {percent(better)} (ensemble): "
        f"{points(top1['value'])} percentage points (95% interval "
        f"{points_interval(top1['interval'])}; {p_value(top1['p'], evaluation)}). The negative "
        f"log-likelihood changes by {signed(nll['value'])} nats "
        f"({signed(nll['interval'][0])} to {signed(nll['interval'][1])}; lower is better)."
    )


def _control_sentences(evaluation: Mapping[str, Any]) -> list[str]:
    sentences = []
    outcome = {1: "the ensemble is ahead", 0: "no clear difference", -1: "the ensemble is behind"}
    for rival, description in RIVALS.items():
        found = find_difference(evaluation, "ensemble", rival)
        if found is not None:
            top1 = evaluation["models"][rival]["top1"]
            sentences.append(
                f"Against {rival} ({description}; {percent(top1)}): {outcome[direction(found)]}, "
                f"{points(found['value'])} points ({points_interval(found['interval'])}; "
                f"{p_value(found['p'], evaluation)})."
            )
            flaw = worse(evaluation["models"], rival)
            sentences += [f"It is {flaw}."] if flaw else []
    return sentences


def _student_sentences(evaluation: Mapping[str, Any], details: Mapping[str, Any]) -> list[str]:
    models = evaluation["models"]
    if "student" not in models:
        return []
    student, generalist = models["student"], models["generalist"]
    size = student["parameters"] / max(generalist["parameters"], 1)
    cost = student["inference_flops"] / max(generalist["inference_flops"], 1)
    first = (
        f"The student, with {percent(size, 0)} of the generalist's parameters and "
        f"{percent(cost, 0)} of its inference cost, reaches {percent(student['top1'])}"
    )
    against = find_difference(evaluation, "student", "student_hard_labels")
    if against is not None:
        first += (
            f", {points(against['value'])} points against the same network trained on labels "
            f"alone ({points_interval(against['interval'])}; {p_value(against['p'], evaluation)})"
        )
    return [first + ".", retention_sentence(evaluation, details)]


def retention_sentence(evaluation: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    """What the student keeps of the ensemble's gain, or why that is not said."""
    if evaluation["retention"] is None:
        reason = details["retention"]["reason"]
        return f"How much of the ensemble's gain it keeps cannot be said: {reason}."
    low, high = details["retention"]["interval"]
    kept = evaluation["retention"]
    share = "none" if kept <= 0 else percent(kept, 0)
    return (
        f"It keeps {share} of the ensemble's advantage over that network "
        f"(95% interval {percent(low, 0)} to {percent(high, 0)})."
    )


def _warnings(details: Mapping[str, Any]) -> tuple[str, ...]:
    trained = details.get("under_trained")
    if not trained or not trained["flag"]:
        return ()
    gain = percent(trained["relative_gain"])
    return (
        f"The generalist was under-trained: training it on improves its top-1 by {gain} relative, "
        "so part of what looks like the specialists' gain is only more training. Raise "
        "generalist.epochs and judge the ensemble against generalist_continued.",
    )
