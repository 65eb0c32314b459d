"""Which terms are there, and what do the tables of a configuration say of them?"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from specialists.config import ConfigMistakesError
from specialists.distillation.terms import binary, layers, relations, response
from specialists.distillation.terms.term import Term

KINDS: tuple[type[Term], ...] = (
    response.Labels,
    response.SoftTargets,
    response.LogitMatching,
    response.DecoupledTargets,
    response.StandardisedTargets,
    binary.BinaryLabels,
    binary.BinaryTargets,
    layers.Hint,
    layers.Attention,
    relations.Similarity,
    relations.Distances,
    relations.Angles,
)
TERMS = {term.kind: term for term in KINDS}


def read_terms(
    tables: Sequence[Mapping[str, object]], where: str = "student.terms"
) -> tuple[Term, ...]:
    """The terms of ``[[student.terms]]``: each table has a ``kind`` and settings of that term.

    Raises
    ------
    ConfigError
        With every mistake, one a line.
    """
    terms, mistakes = [], []
    for i, table in enumerate(tables):
        kind = table.get("kind")
        settings: Any = {key: value for key, value in table.items() if key != "kind"}
        if not isinstance(kind, str) or kind not in TERMS:
            mistakes.append(f"{where}.{i}: {_unknown(kind)}")
            continue
        try:
            terms.append(TERMS[kind](**settings))
        except ConfigMistakesError as error:
            mistakes += [f"{where}.{i} ({kind}): {line}" for line in error.lines]
    if mistakes:
        raise ConfigMistakesError(mistakes, where)
    return tuple(terms)


def _unknown(kind: object) -> str:
    if kind is None:
        return f"a term needs a kind: {', '.join(TERMS)}"
    near = difflib.get_close_matches(str(kind), TERMS, n=1, cutoff=0.5)
    return f"no term of the kind {kind!r}; " + (
        f"did you mean `{near[0]}`?" if near else f"known: {', '.join(TERMS)}"
    )
