"""Which recipes does a student's search try? Each is a section [student] of its own."""

from __future__ import annotations

import difflib
import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from specialists.config.network_sections import Recipe
from specialists.errors import own_words

if TYPE_CHECKING:
    from specialists.config.student import StudentConfig

SIZES = ("size", "width", "embedding_dim", "n_buckets")
TUNABLE = (*Recipe.model_fields, *SIZES, "teacher")
GRID = {"temperature": "temperatures", "alpha": "alphas"}
MOST_COMBINATIONS = 1000
MOST_CANDIDATES = 243
TERM_SETTING = re.compile(r"terms\.(\d+)\.(\w+)")


def student_candidates(settings: StudentConfig, seed: int) -> list[StudentConfig]:
    """Every candidate, with one temperature and one alpha; ``seed`` draws where not all are tried.

    Without a search these are the pairs of ``temperatures`` and ``alphas``; terms have their own.
    """
    axes = _axes(settings)
    combinations = list(itertools.product(*axes.values()))
    n = settings.tuning and settings.tuning.candidates
    if n and n < len(combinations):
        drawn = random.Random(seed).sample(range(len(combinations)), n)
        combinations = [combinations[i] for i in sorted(drawn)]
    return [_changed(settings, dict(zip(axes, values, strict=True))) for values in combinations]


def network_sizes(candidate: StudentConfig) -> tuple[object, ...]:
    """What of a candidate decides the size of its network."""
    return tuple(getattr(candidate, key) for key in SIZES)


def distinct_networks(candidates: Sequence[StudentConfig]) -> list[StudentConfig]:
    """One candidate for each size of a network that they ask for."""
    networks: dict[tuple[object, ...], StudentConfig] = {}
    for candidate in candidates:
        networks.setdefault(network_sizes(candidate), candidate)
    return list(networks.values())


def searched_values(settings: StudentConfig, candidate: StudentConfig) -> dict[str, object]:
    """What a candidate has of the keys that ``settings.tuning.search`` names."""
    keys = settings.tuning.search if settings.tuning else {}
    return {key: _value(candidate, key) for key in keys}


def asks_online(settings: StudentConfig) -> bool:
    """Whether a teacher is asked about every batch, by any candidate."""
    return "online" in (settings.teacher, *_searched(settings, "teacher"))


def search_mistakes(settings: StudentConfig) -> Iterator[str]:
    """What is wrong with ``settings.tuning``, a line each."""
    assert settings.tuning is not None
    for key, values in settings.tuning.search.items():
        where = f"student.tuning.search.{key}"
        if told := _not_tunable(settings, key):
            yield f"{where}: {told}"
            continue
        for value in values:
            try:
                _changed(settings, {key: value})
            except ValidationError as error:
                told = own_words(error.errors()[0]["msg"])
                yield f"{where} = {value!r}: {told}"
    if settings.views and _searched(settings, "teacher"):
        yield "student.tuning.search.teacher: student.views stores what an online teacher is asked"
    n = math.prod(map(len, _axes(settings).values()))
    if n > MOST_COMBINATIONS:
        yield f"student.tuning.search has {n:,} combinations, at most {MOST_COMBINATIONS:,} can be"
    elif min(n, settings.tuning.candidates or n) > MOST_CANDIDATES:
        yield f"{n} candidates, at most {MOST_CANDIDATES} are tried: set student.tuning.candidates"


def _axes(settings: StudentConfig) -> dict[str, tuple[object, ...]]:
    grid = {} if settings.terms else {key: getattr(settings, key) for key in GRID.values()}
    search: Mapping[str, tuple[object, ...]] = settings.tuning.search if settings.tuning else {}
    return {**grid, **search}


def _searched(settings: StudentConfig, key: str) -> tuple[object, ...]:
    return settings.tuning.search.get(key, ()) if settings.tuning else ()


def _changed(settings: StudentConfig, values: Mapping[str, object]) -> StudentConfig:
    changed = {**settings.model_dump(), "tuning": None}
    changed["terms"] = [dict(term) for term in settings.terms]
    for key, value in values.items():
        if of_term := TERM_SETTING.fullmatch(key):
            changed["terms"][int(of_term[1])][of_term[2]] = value
        else:
            changed[key] = (value,) if key in GRID.values() else value
    return type(settings).model_validate(changed)


def _value(candidate: StudentConfig, key: str) -> object:
    of_term = TERM_SETTING.fullmatch(key)
    return candidate.terms[int(of_term[1])][of_term[2]] if of_term else getattr(candidate, key)


def _not_tunable(settings: StudentConfig, key: str) -> str:
    """Why a key cannot be searched; "" if it can."""
    if key in (*GRID, *GRID.values()):
        plural = GRID.get(key, key)
        return f"its candidates are student.{plural}, for instance student.{plural} = [0.5, 1.0]"
    if of_term := TERM_SETTING.fullmatch(key):
        n, is_there = len(settings.terms), int(of_term[1]) < len(settings.terms)
        return "" if is_there else f"student.terms has {n} term{'s' * (n != 1)}, counted from 0"
    if key in TUNABLE:
        return ""
    near = difflib.get_close_matches(key, TUNABLE, n=1, cutoff=0.6)
    known = f"{', '.join(TUNABLE)}, and settings of terms as terms.0.weight"
    return f"did you mean `{near[0]}`?" if near else f"can be searched: {known}"
