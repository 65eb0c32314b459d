"""The comparison as a page: what to pick, a table for each data set, and what is left out.

Methods stand in the order of their gain over hard labels. Whether one beats hard labels is tested
over seeds and groups of test rows, and corrected by Holm's procedure for all methods of a data set.
The ranks that a method may have come from the tests of all pairs, corrected likewise, METHOD.md
(45).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure

from specialists.figures import SignedGain, gains_in_columns
from specialists.uncertainty import holm, rank_ranges

from .distillation_costs import Times
from .distillation_methods import HARD
from .distillation_plan import DistillationBench
from .markdown_tables import Line, heading, markdown_table, mean_and_spread
from .measured import SeedResults

LEVEL = 0.05
WANTED = 0.5  # points, that intervals should resolve
SETTING = """Every method trains the same student for the same number of steps, from the same first
weights, on the same rows in the same order. Validation rows choose the epoch and the temperature;
test rows are asked once. A method starts from usual settings and has five short trials with the
first seed, which validation rows judge: usual settings, half and twice the rate, and two lower
temperatures (T) or two other weights; hard labels have two more rates instead. Intervals draw
seeds and groups of test rows. p is of the test that it is as good as hard labels, corrected for
all methods of the table (Holm); ranks are those that all pairs, so corrected, leave open. A step
is timed beside one with hard labels, seconds of one processor, best round; training FLOPs hold the
teachers' answers, and all networks that a scheme trains, but not the teachers' own training."""
LEFT_OUT = """### What is left out

- **Contrastive distillation** (Tian et al. 2020) keeps the features of all training rows, of
  student and teacher, and draws 16,384 of them a row as negatives. A term here is a formula of one
  batch, without a memory that goes on from step to step.
- **Adversarial distillation** (such as Wang et al. 2018, KDGAN) trains a discriminator against the
  student. That is no sum of terms which one optimiser minimises, and no validation score says when
  the two are in balance."""


@dataclass(frozen=True)
class DistillationTable:
    """What the students of a data set did.

    Parameters
    ----------
    name : str
        Of the data.
    about : str
        Networks, budget and teachers, in a paragraph.
    families : dict of str
        By method.
    results : SeedResults
    seconds : dict of float
        Of a step, by method.
    cpu_minutes : float
    """

    name: str
    about: str
    families: dict[str, str]
    results: SeedResults
    seconds: Times
    cpu_minutes: float

    @classmethod
    def from_bench(cls, bench: DistillationBench, seconds: Times) -> DistillationTable:
        """From the files of trainings that stand."""
        students, name = bench.students(), bench.work.data.dataset.name
        models = [
            {method: students[method, seed].measured() for method in bench.methods}
            for seed in bench.work.seeds
        ]
        families = {method: each.family for method, each in bench.methods.items()}
        minutes = sum(bench.work.seconds.values()) / 60
        return cls(name, _about(bench), families, SeedResults(models), seconds, minutes)

    @cached_property
    def order(self) -> list[str]:
        """All methods, the best first."""
        return sorted(self.results.names, key=self.gain, reverse=True)

    def gain(self, name: str) -> float:
        """Mean over seeds of top-1 less that of hard labels."""
        pairs = zip(self.results[name], self.results[HARD], strict=True)
        return float(np.mean([a.right.mean() - b.right.mean() for a, b in pairs]))

    @cached_property
    def corrected(self) -> dict[str, float]:
        """P of each method against hard labels, by Holm's procedure."""
        others = [name for name in self.order if name != HARD]
        p_values = [self.results.p_value("right", name, HARD) for name in others]
        return dict(zip(others, holm(p_values), strict=True))

    @cached_property
    def ranks(self) -> dict[str, tuple[int, int]]:
        """The ranks that each method may have."""
        p_values = np.ones((len(self.order), len(self.order)))
        for i, a in enumerate(self.order):
            for j, b in enumerate(self.order[:i]):
                p_values[i, j] = p_values[j, i] = self.results.p_value("right", a, b)
        means = [self.gain(name) for name in self.order]
        return dict(zip(self.order, rank_ranges(means, p_values, LEVEL), strict=True))

    def verdict(self, name: str) -> str:
        """Whether a method beats hard labels."""
        if name == HARD:
            return ""
        if self.corrected[name] > LEVEL:
            return "no better"
        return "better" if self.gain(name) > 0 else "worse"

    def signed_gain(self, name: str) -> SignedGain | None:
        """What a method gains over hard labels, for the figure; None of one not compared here."""
        if name not in self.corrected:
            return None
        sign = {"better": 1, "worse": -1}.get(self.verdict(name), 0)
        interval = self.results.estimate("right", name, HARD).interval
        return SignedGain(self.gain(name), interval, sign)

    def step_ratio(self, name: str) -> float:
        """Time of a step over that of one with hard labels."""
        return self.seconds[name] / self.seconds[HARD] if self.seconds[HARD] else float("nan")

    @property
    def no_better(self) -> list[str]:
        """Methods that do not beat hard labels."""
        return [name for name in self.order if self.verdict(name) in ("no better", "worse")]

    @property
    def pick(self) -> str:
        """Of the methods that may be the best, and beat hard labels, the one of the least step."""
        leading = [n for n in self.order if self.ranks[n][0] == 1 and self.verdict(n) == "better"]
        return min(leading, key=self.step_ratio, default=HARD)

    @property
    def half_width(self) -> float:
        """Median over methods of half the interval's width, in points."""
        intervals = [self.results.estimate("right", name, HARD).interval for name in self.corrected]
        return 100 * float(np.median([(high - low) / 2 for low, high in intervals]))

    def short_line(self) -> Line:
        """Its line in the short form."""
        best, pick = self.order[0], self.pick
        return {
            "data": self.name,
            HARD: f"{self.results.top1(HARD)}%",
            "best": "hard labels" if best == HARD else self._in_short(best),
            "pick": "hard labels" if pick == HARD else self._in_short(pick),
            "no better than hard labels": "; ".join(self.no_better) or "none",
        }

    def _in_short(self, name: str) -> str:
        gain = self.results.points(name, HARD)
        return f"{name}: {gain} at {self.step_ratio(name):.2f}x a step"

    def line(self, name: str) -> Line:
        """A method in the table."""
        results, is_base = self.results, name == HARD
        flops = [results.mean("training_flops", each) for each in (name, HARD)]
        low, high = self.ranks[name]
        return {
            "method": name,
            "family": self.families[name],
            "weights": results.about(name, "; "),
            "top-1": results.top1(name),
            "- hard labels": "" if is_base else results.points(name, HARD),
            "p": "" if is_base else _p_in_words(self.corrected[name]),
            "rank": str(low) if low == high else f"{low} to {high}",
            "NLL, - hard labels": "" if is_base else results.nats(name, HARD),
            "a step, x": f"{self.step_ratio(name):.2f}",
            "training FLOPs, x": f"{flops[0] / flops[1]:.2f}",
            "verdict": self.verdict(name),
        }

    def section(self) -> str:
        """Its part of the page."""
        failing = "; ".join(self.no_better)
        verdict = f"These do not beat hard labels: {failing}." if failing else "All beat them."
        reached = "narrow" if self.half_width <= WANTED else "not narrow"
        width = (
            f"Half an interval is {self.half_width:.2f} points (median over methods): {reached} "
            f"enough to resolve {WANTED:g}. A step with hard labels takes "
            f"{1e3 * self.seconds[HARD]:.1f} ms. Trainings: {self.cpu_minutes / 60:,.1f} CPU hours."
        )
        table = markdown_table([self.line(name) for name in self.order])
        return "\n\n".join([f"### {self.name}", self.about, table, f"{verdict} {width}"])

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        methods = {}
        for name, values in self.results.to_dict().items():
            gains = {} if name == HARD else self.results.gains(name, HARD)
            methods[name] = {**values, "gains": gains, "p": self.corrected.get(name)}
            methods[name] |= {"ranks": self.ranks[name], "step_seconds": self.seconds[name]}
        return {"methods": methods, "pick": self.pick, "short": dict(self.short_line())}


def distillation_page(tables: Sequence[DistillationTable]) -> str:
    """Markdown, the short form first."""
    n_seeds = [len(table.results.seeds) for table in tables]
    names = " and ".join(table.name for table in tables)
    n_methods = max(len(table.order) for table in tables)
    title = f"Distillation, {n_methods} methods: {names}"
    short = markdown_table([table.short_line() for table in tables])
    picked = (
        "The pick has the cheapest step of those methods that beat hard labels and may be the best."
    )
    sections = [f"{picked}\n\n{short}", *(table.section() for table in tables), LEFT_OUT]
    return heading(title, n_seeds, SETTING.replace("\n", " ")) + "\n\n".join(sections)


def gains_figure(tables: Sequence[DistillationTable]) -> Figure:
    """What each method gains over hard labels, a panel for each data set, the best first.

    The order is that of the mean over the data sets that a method was compared on. Blue beat hard
    labels by the corrected test, red are worse by it.
    """
    gains: dict[str, list[float]] = {}
    for table in tables:
        for name in table.corrected:
            gains.setdefault(name, []).append(table.gain(name))
    methods = sorted(gains, key=lambda name: float(np.mean(gains[name])), reverse=True)
    columns = {table.name: [table.signed_gain(name) for name in methods] for table in tables}
    return gains_in_columns(methods, columns, "points of top-1 over hard labels")


def _p_in_words(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _about(bench: DistillationBench) -> str:
    """What is trained on what, and how good the teachers are."""
    data, plan, seeds = bench.work.data.dataset, bench.plan, bench.work.seeds
    student, n_seeds = bench.student(HARD, seeds[0]), len(seeds)
    n_rows, lesson = len(student.training_rows()), student.lesson
    return (
        f"{data.n_classes:,} classes, {len(data.test):,} test rows, {n_seeds} "
        f"seed{'s' * (n_seeds > 1)}. Student: "
        f"`{lesson.spec.model}` of width {plan.student_width}, {lesson.length} "
        f"({n_rows:,} of {len(data.train):,} training rows), batches of {plan.batch_size}, "
        f"augmented ({plan.augment}). {_of_teachers(bench)}"
    )


def _of_teachers(bench: DistillationBench) -> str:
    models = bench.teacher_models()
    if not models:
        return "No method has a teacher."
    firsts = [model for model in models if model.lesson.name.endswith("teacher-0")]
    top1 = mean_and_spread([model.right().mean() for model in firsts], 100)
    return (
        f"Teacher: width {bench.plan.teacher_width}, {bench.plan.teacher_epochs} epochs of all "
        f"training rows, top-1 {top1}%."
    )
