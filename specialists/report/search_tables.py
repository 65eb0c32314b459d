"""What the search for a student's recipe chose, among what, and for how much computing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from specialists.catalogue import WORDS
from specialists.escaping import markdown
from specialists.evaluation import Comparison, TunedCandidate
from specialists.report.numbers import capitalized, compact, duration, percent

COUNTED = "all trainings of its search included"


def ranked_candidates(candidates: Sequence[TunedCandidate]) -> list[TunedCandidate]:
    """Of each model those that came furthest first, then the better ones by validation top-1."""
    models = list(dict.fromkeys(each.model for each in candidates))
    ranked = sorted(candidates, key=lambda each: (not each.is_chosen, -each.rung, -each.top1))
    return sorted(ranked, key=lambda each: models.index(each.model))


def search_sentences(candidates: Sequence[TunedCandidate]) -> list[str]:
    """A sentence for each model that was searched for."""
    ranked = ranked_candidates(candidates)
    return [
        _sentence(model, list(group))
        for model, group in itertools.groupby(ranked, key=lambda each: each.model)
    ]


def searches_markdown(comparison: Comparison) -> str:
    """What the search of each seed chose, as a table; "" without a search."""
    if not comparison.candidates:
        return ""
    head = ("seed", "model", "chosen", "of", "rungs", "validation top-1", "search, FLOPs", "time")
    rows = [head, ("---:", "---", "---", *["---:"] * 5)]
    for seed, candidates in zip(comparison.seeds, comparison.candidates, strict=True):
        for chosen in (each for each in ranked_candidates(candidates) if each.is_chosen):
            tried = [each for each in candidates if each.model == chosen.model]
            score = f"{100 * chosen.top1:.2f}"
            counts = str(seed), f"`{chosen.model}`", markdown(chosen.settings), str(len(tried))
            rows.append((*counts, str(chosen.n_rungs), score, *_costs(tried)))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"The search for the student's recipe:\n\n{table}"


def _costs(candidates: Sequence[TunedCandidate]) -> tuple[str, str]:
    flops = sum(each.training_flops for each in candidates)
    return compact(flops), duration(sum(each.training_seconds for each in candidates))


def _sentence(model: str, candidates: Sequence[TunedCandidate]) -> str:
    chosen = candidates[0]
    flops, seconds = _costs(candidates)
    tried = f"{len(candidates)} candidate{'s' * (len(candidates) > 1)}"
    rungs = f"{chosen.n_rungs} rung{'s' * (chosen.n_rungs > 1)}"
    return (
        f"{capitalized(WORDS[model].noun or model)}: of {tried}, in {rungs}, "
        f"validation chose {chosen.settings} (top-1 {percent(chosen.top1)}). "
        f"The search took {flops} FLOPs and {seconds}."
    )
