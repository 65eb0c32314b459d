"""Which methods of distillation are compared, and at which weights?

Every term of the registry beside cross-entropy, every scheme, several teachers, who is asked and
when, and what is kept of the answers. Weights are usual ones, which a method's ``setting`` tells;
around them each method is tuned alike (:mod:`pipelines.benchmarks.distillation_trials`). The
weights of terms of layers are those of Tian et al. 2020 ("Contrastive Representation
Distillation"), whose program compares many methods. Our terms have another scale: 100 times the
mean square is 200 times half of it, and 1,000 times the mean over the places of a map is
2,000 / places times half the sum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..reproduce.lessons import Mean

HARD, SMOOTHED = "hard labels", "label smoothing"
N_TEACHERS, N_VIEWS = 3, 4
TOP, DRAWS = 8, 20
HOTTER, STORED = 4.0, 1.0  # T of usual soft targets, and of what stores keep
SOFT_SHARE = 0.9
Teaching = Literal["none", "network", "cached", "online", "views", "dense", "top", "sampled"]
Table = Mapping[str, object]


@dataclass(frozen=True)
class Method:
    """One way to teach a student.

    Parameters
    ----------
    family : str
    setting : str
        Its weights, in words.
    terms : tuple of tables
        As ``[[student.terms]]``; (): soft targets at ``temperature`` with the weight ``alpha``,
        and labels with the rest, or labels alone if nobody teaches.
    teaching : str
        Who is asked, and when: a teacher's network about every batch, for its layers; predictions
        of the training inputs, in memory (cached) or of one of the stores; a teacher about every
        batch (online), or about some views of every input.
    n_teachers : int
    mean : {"arithmetic", "geometric"}
        Of several teachers.
    scheme : str
        See :mod:`specialists.distillation.schemes`.
    exits : tuple of str
    """

    family: str
    setting: str
    terms: tuple[Table, ...] = ()
    teaching: Teaching = "none"
    n_teachers: int = 0
    temperature: float = HOTTER
    alpha: float = SOFT_SHARE
    mean: Mean = "arithmetic"
    scheme: str = "offline"
    exits: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is labels alone, as they are."""
        return not self.terms and self.teaching == "none"

    @property
    def is_hot(self) -> bool:
        """Whether it has a temperature above 1."""
        if self.terms:
            return any(float(str(table.get("temperature", 1))) > 1 for table in self.terms)
        return not self.is_plain and self.temperature > 1

    def scaled(self, strength: float, heat: float, setting: str = "") -> Method:
        """With so many times its temperatures and its weights, but for those of labels.

        Of smoothed labels the fraction is multiplied. Without terms, alpha / (1 - alpha) is.
        """
        if self.is_plain:
            return dataclasses.replace(self, setting=setting)
        odds = strength * self.alpha / (1 - self.alpha)
        return dataclasses.replace(
            self,
            setting=setting,
            terms=tuple(_scaled(table, strength, heat) for table in self.terms),
            alpha=round(odds / (1 + odds), 6),
            temperature=heat * self.temperature,
        )

    def to_dict(self) -> dict[str, object]:
        """For JSON: all that its students depend on."""
        values = dataclasses.asdict(self)
        del values["family"], values["setting"]
        return values


@dataclass(frozen=True)
class Layers:
    """Paths of layers that terms look at, in the student and in the teacher.

    ``maps`` are the layers of which attention is compared, with their numbers of places.
    """

    last: tuple[str, str]
    hint: tuple[str, str]
    exits: tuple[str, ...]
    maps: Mapping[str, int]


def layers_of_kind(kind: str, side: int = 28) -> Layers:
    """Of the networks for features, and of those for images with ``side`` pixels along a side."""
    if kind == "features":
        return Layers(("relu2", "relu1"), ("relu2", "relu1"), ("relu1",), {})
    sides = {f"stage{i}": -(-side // 2**i) for i in (1, 2, 3)}
    maps = {path: pixels**2 for path, pixels in sides.items()}
    return Layers(("pool", "pool"), ("stage2", "stage2"), ("stage1", "stage2"), maps)


def distillation_methods(layers: Layers) -> dict[str, Method]:
    """All methods by their names, hard labels first."""
    labels = Method("labels", "")
    return {
        HARD: labels,
        SMOOTHED: _term("labels", "0.1", {"kind": "labels", "smoothing": 0.1}),
        **_responses(),
        **_of_layers(layers),
        **_schemes(layers),
        **_teachers(),
        **_stores(),
    }


def _responses() -> dict[str, Method]:
    soft = {"kind": "soft_targets", "temperature": HOTTER, "weight": SOFT_SHARE}
    standard = {"kind": "standardised", "temperature": 2.0, "weight": 9.0}
    binary = {"kind": "binary_targets", "exclusive": True, "weight": 10.0}
    rest = _labels(1 - SOFT_SHARE)
    return {
        "soft targets": _cached("T = 4, 0.9, labels 0.1", soft, rest),
        "logit matching": _cached(
            "0.9, labels 0.1", {"kind": "logit_matching", "weight": SOFT_SHARE}, rest
        ),
        "decoupled": _cached(
            "T = 4, alpha 1, beta 8, labels 1",
            {"kind": "decoupled", "temperature": HOTTER, "weight": 1.0},
            _labels(1.0),
        ),
        "standardised": _cached("T = 2, 9, labels 0.1", standard, rest),
        "binary targets": _cached("10, labels 1", binary, _labels(1.0)),
        "binary labels": _term(
            "labels", "1, labels 1", {"kind": "binary_labels", "weight": 1.0}, _labels(1.0)
        ),
    }


def _of_layers(layers: Layers) -> dict[str, Method]:
    """Terms that look at the teacher's network; attention where there are maps."""
    student, teacher = layers.last
    last = {"layer": student, "teacher_layer": teacher}
    hint = {"layer": layers.hint[0], "teacher_layer": layers.hint[1]}
    methods = {"hint": _watching("200, labels 1", {"kind": "hint", "weight": 200.0, **hint})}
    if layers.maps:
        maps = [
            {"kind": "attention", "weight": round(2000.0 / places, 6), "layer": path}
            for path, places in layers.maps.items()
        ]
        methods["attention"] = _watching("2,000 / places, labels 1", *maps)
    for kind, weight in (("similarity", 3000.0), ("distances", 25.0), ("angles", 50.0)):
        table = {"kind": kind, "weight": weight, **last}
        methods[kind] = _watching(f"{weight:,.0f}, labels 1", table)
    return methods


def _schemes(layers: Layers) -> dict[str, Method]:
    both = ({"kind": "soft_targets", "weight": 1.0}, _labels(1.0))
    third = ({"kind": "soft_targets", "temperature": 3.0, "weight": 0.3}, _labels(0.7))
    one = Method("schemes", "T = 1, 1, labels 1", both)
    return {
        "mutual": dataclasses.replace(one, setting=f"2 peers, {one.setting}", scheme="mutual"),
        "born again": dataclasses.replace(
            one, setting=f"2 generations, {one.setting}", scheme="born_again"
        ),
        "exits": Method(
            "schemes", "T = 3, 0.3, labels 0.7", third, scheme="exits", exits=layers.exits
        ),
    }


def _teachers() -> dict[str, Method]:
    """The usual soft targets, of other teachers or asked at another time."""
    usual = "T = 4, 0.9, labels 0.1"
    three = Method("teachers", usual, teaching="cached", n_teachers=N_TEACHERS)
    online = Method("teachers", usual, teaching="online", n_teachers=1)
    return {
        "three teachers, arithmetic": three,
        "three teachers, geometric": dataclasses.replace(three, mean="geometric"),
        "online teacher": online,
        f"{N_VIEWS} views, cached": dataclasses.replace(online, teaching="views"),
    }


def _stores() -> dict[str, Method]:
    """Of one temperature, at which draws are not too noisy."""
    dense = Method(
        "stores", "T = 1, 0.9, labels 0.1", teaching="dense", n_teachers=1, temperature=STORED
    )
    return {
        "dense store": dense,
        f"top-{TOP} store": dataclasses.replace(dense, teaching="top"),
        f"store of {DRAWS} draws": dataclasses.replace(dense, teaching="sampled"),
    }


def _scaled(table: Table, strength: float, heat: float) -> Table:
    factors = {"temperature": heat, "weight": strength}
    if table["kind"] == "labels":
        factors = {"smoothing": strength}
    return {
        key: round(factors[key] * float(str(value)), 6) if key in factors else value
        for key, value in table.items()
    }


def _labels(weight: float) -> Table:
    return {"kind": "labels", "weight": round(weight, 6)}


def _term(family: str, setting: str, *terms: Table) -> Method:
    return Method(family, setting, terms)


def _cached(setting: str, *terms: Table) -> Method:
    return Method("response terms", setting, terms, "cached", 1)


def _watching(setting: str, *terms: Table) -> Method:
    return Method("layer terms", setting, (*terms, _labels(1.0)), "network", 1)
