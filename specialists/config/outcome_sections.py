"""What can be set of the evaluation and the report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from specialists.catalogue import AVERAGED, TRAINED
from specialists.config.fields import Distinct, Positive, Resamples, Section, Switch


def _named_baselines(value: object) -> object:
    """A word is "all", or the only one."""
    words = (value,) if isinstance(value, str) else value
    if isinstance(words, list | tuple) and (wrong := [w for w in words if w not in TRAINED]):
        if tuple(words) == ("all",):
            return TRAINED
        raise ValueError(f'{wrong[0]!r} is none of {", ".join(TRAINED)}, nor is all of it "all"')
    return words


Baselines = Annotated[
    tuple[Literal["generalist_continued", "generalist_wide", "generalist_ensemble"], ...],
    Distinct,
    BeforeValidator(_named_baselines),
]


class EvaluationConfig(Section):
    """What is measured on the test set."""

    n_bootstrap: Resamples = 1000
    """Bootstrap resamples of each confidence interval."""
    baselines: Baselines | None = None
    """Baselines to train, matched to the ensemble by FLOPs, or "all". None: generalist_ensemble,
    the strongest for its price; `specialists compare` trains all. generalist_ensemble gives three
    averages: of all members; of as many as the ensemble's inference pays for
    (generalist_ensemble_same_inference); of members of which the later ones are asked about some
    rows only (generalist_ensemble_deferred)."""
    keep_rivals: Switch = False
    """Whether baselines (the ensemble's rivals) keep their weights. False: their predictions of
    validation and test rows alone, where these take less room."""

    @property
    def trained_baselines(self) -> tuple[str, ...]:
        """What ``baselines`` stands for."""
        return (AVERAGED,) if self.baselines is None else self.baselines


class ReportConfig(Section):
    """What the report shows."""

    title: str | None = None
    """Heading. None: the data set's name."""
    n_examples: Positive = 12
    """Number of rows shown of those that the ensemble mends, and of those that it breaks."""
