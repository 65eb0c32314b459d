"""Section 4: the gain of ten averaged models, and how much of it one network keeps.

Members differ by their seed alone, as in the paper. On digits each is regularised as the large
network is, and learns few labels. On pictures of many classes each is a residual network, and
learns the first classes alone. The student is one more such network. The average of the members is
asked about every batch as it is augmented, and hard labels have half the weight of soft targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from specialists.escaping import markdown_rows
from specialists.uncertainty import share_kept

from .kept_training import KeptModel
from .lessons import MEANS, Lesson, Mean
from .own_networks import is_like_mnist, network_in_words, own_lesson
from .paper_tables import PaperLine, PaperTable, share_line
from .reproduction import Reproduction

QUESTION = (
    "Section 4: ten models that differ by their seed alone are averaged. How much of the average's "
    "gain over one of them does one network keep that learns from it?"
)
SOFT_SHARE, TO_KEEP = 2 / 3, 0.86
ALONE = "one network of labels alone, trained as long"
SHARE = "share of the gain that the taught one keeps"


def reproduce_ensemble(work: Reproduction) -> PaperTable:
    """One model, the average of ten, and the student of that average."""
    plan, first = work.plan, work.seeds[0]
    if not is_like_mnist(work):
        work.data = replace(work.data, n_classes=plan.n_classes)
    lessons = {seed: _members(work, seed) for seed in work.seeds}
    kept = iter(work.train([lesson for each in lessons.values() for lesson in each]))
    members = [[next(kept) for _ in range(plan.n_members)] for _ in work.seeds]
    trials = work.train([_student(work, first, t) for t in plan.online_temperatures])
    errors = [trial.errors("validation") for trial in trials]
    t = plan.online_temperatures[int(np.argmin(errors))]
    students = work.train([_student(work, seed, t) for seed in work.seeds])
    alone = work.train([_alone(work, seed) for seed in work.seeds])
    name, n_test = work.data.dataset.name, len(work.test_labels)
    rows = [
        (f"{each:g}", f"{100 * trial.right().mean():.2f}%")
        for each, trial in zip(plan.online_temperatures, trials, strict=True)
    ]
    table = markdown_rows(("T", "test accuracy"), rows)
    lines = _lines(work, members, students, alone, _how(work))
    text = (
        f"T = {t:g} is chosen on validation rows, with seed {first}; its students:\n\n{table}",
        f"{n_test:,} test rows; {_about(work)}.{work.several_labels}{_left_open(lines, n_test)} "
        "The paper's members are acoustic models with 8 layers of 2,560 units, trained on 2,000 "
        "hours of speech.",
        _of_length(members, alone),
    )
    title = f"An ensemble into one network: {name}"
    return PaperTable(f"ensemble-{name}", title, lines, text, work.seconds, question=QUESTION)


def _left_open(lines: Sequence[PaperLine], n_test: int) -> str:
    """What so few test rows leave open."""
    (share,) = (line for line in lines if line.figure == SHARE)
    if share.reached is not False or share.interval is None or share.interval[1] < 100 * TO_KEEP:
        return ""
    return (
        f" {n_test:,} test rows are too few to tell the share from {TO_KEEP:.0%}, which its "
        "interval holds."
    )


def _of_length(members: Sequence[Sequence[KeptModel]], alone: Sequence[KeptModel]) -> str:
    """How much of the taught network's gain longer training gives by itself."""
    before = float(np.mean([member.right() for each in members for member in each]))
    after = float(np.mean([model.right() for model in alone]))
    lengths = members[0][0].lesson.length, alone[0].lesson.length
    both = f"A student learns for {lengths[1]}, a member for {lengths[0]}. By labels alone, longer "
    gain = f"{100 * (after - before):.2f} points over one model"
    if after <= before:
        return f"{both}training gains nothing ({gain})."
    return (
        f"{both}training gains {gain}: so much of what the taught network keeps needs no teacher."
    )


def _members(work: Reproduction, seed: int) -> tuple[Lesson, ...]:
    plan = work.plan
    names = [f"member-{i}-seed-{seed}" for i in range(plan.n_members)]
    return tuple(
        replace(
            _network(work, name, seed, plan.member_epochs, plan.picture_epochs),
            keep_outputs=True,
            keep_weights=True,
        )
        for name in names
    )


def _alone(work: Reproduction, seed: int, name: str = "alone") -> Lesson:
    """Of labels alone, and as long as a student."""
    plan = work.plan
    epochs = plan.member_student_epochs, plan.picture_student_epochs
    return _network(work, f"{name}-seed-{seed}", seed, *epochs)


def _student(work: Reproduction, seed: int, temperature: float) -> Lesson:
    return replace(
        _alone(work, seed, f"of-members-temperature-{temperature:g}"),
        teachers=_members(work, seed),
        online=True,
        temperature=temperature,
        alpha=SOFT_SHARE,
    )


def _network(
    work: Reproduction, name: str, seed: int, digit_epochs: int, picture_epochs: int
) -> Lesson:
    plan = work.plan
    if not is_like_mnist(work):
        return own_lesson(work, name, seed, picture_epochs, plan.picture_width)
    return Lesson(
        name,
        work.perceptron(plan.student_width, regularised=True),
        plan.recipe(digit_epochs, plan.batch_size // 2),
        seed,
        augment="shifts",
        share=plan.few,
    )


def averaged_rights(members: Sequence[KeptModel], mean: Mean) -> np.ndarray:
    """Which test rows the average has right, bool (n,)."""
    log_probs = [member.outputs("test").log_softmax(1) for member in members]
    labels = members[0].data.dataset.test.labels
    return (MEANS[mean](log_probs).argmax(1) == labels).numpy()


def _lines(
    work: Reproduction,
    members: Sequence[Sequence[KeptModel]],
    students: Sequence[KeptModel],
    alone: Sequence[KeptModel],
    how: tuple[str, str],
) -> tuple[PaperLine, ...]:
    n = work.plan.n_members
    one = [np.mean([member.right() for member in each], axis=0) for each in members]
    arithmetic, geometric = (
        [averaged_rights(each, mean) for each in members] for mean in ("arithmetic", "geometric")
    )
    taught = [student.right() for student in students]
    longer = [model.right() for model in alone]
    rights = (one, arithmetic, geometric, taught, longer)
    tops = [[100 * float(right.mean()) for right in each] for each in rights]
    of_one, of_all, of_taught, of_longer = work.drawn_means(one, arithmetic, taught, longer)
    gain = _gain(tops[0], tops[1], work.interval(of_all - of_one))
    kept = work.interval(share_kept(of_taught - of_one, of_all - of_one))
    return (
        PaperLine("one model: accuracy", "58.9%", tops[0], f"mean of the {n}; {how[0]}", 2, "%"),
        PaperLine(f"{n} averaged", "61.1%", tops[1], "arithmetic mean", 2, "%"),
        PaperLine(f"{n} averaged, geometric mean", "", tops[2], "of the same models", 2, "%"),
        PaperLine("one network taught by them", "60.8%", tops[3], how[1], 2, "%"),
        PaperLine(ALONE, "", tops[4], "the same network and epochs as the taught one", 2, "%"),
        gain,
        _kept(tops[0], tops[3], gain, kept),
        _over_labels(tops[4], tops[3], work.interval(of_taught - of_longer)),
    )


def _gain(
    one: Sequence[float], averaged: Sequence[float], interval: tuple[float, float]
) -> PaperLine:
    return PaperLine(
        "gain of the average",
        "2.2 points",
        [after - before for before, after in zip(one, averaged, strict=True)],
        "over one model, arithmetic mean",
        2,
        " points",
        "clear of 0",
        interval[0] > 0,
        (100 * interval[0], 100 * interval[1]),
    )


def _kept(
    one: Sequence[float], taught: Sequence[float], gain: PaperLine, interval: tuple[float, float]
) -> PaperLine:
    """The share of the gain that the taught network keeps, where there is a clear one."""
    return share_line(
        SHARE,
        (
            "86%",
            "(taught - one) / (averaged - one); the paper's 86% are of its three accuracies, its "
            "text says more than 80%",
        ),
        [after - before for before, after in zip(one, taught, strict=True)],
        gain.measured,
        TO_KEEP,
        interval if gain.reached else None,
    )


def _over_labels(
    alone: Sequence[float], taught: Sequence[float], interval: tuple[float, float]
) -> PaperLine:
    """What the average teaches beyond what longer training gives by itself."""
    low, high = (100 * end for end in interval)
    return PaperLine(
        "gain of the taught one over labels alone",
        "",
        [after - before for before, after in zip(alone, taught, strict=True)],
        "over the same network with labels alone, trained as long; a share above is the teachers' "
        "doing only where this is clear of 0",
        2,
        " points",
        "clear of 0",
        low > 0,
        (low, high),
    )


def _about(work: Reproduction) -> str:
    if is_like_mnist(work):
        return (
            f"every model has {work.plan.few:.0%} of the labels, since with all of them averaging "
            "gains next to nothing. On MNIST a design came before this one, and its results on "
            "these test rows were seen. Its members had half the epochs. A student kept 114% of "
            "the gain; but by training twice as long, labels alone gained more"
        )
    return (
        f"the first {work.data.dataset.n_classes:,} classes. On 120 characters of Omniglot two "
        "designs came before this one, and their results on these test rows were seen. Their "
        "members had 40 epochs. Students of 60 epochs kept 68% of the gain, students of 120 epochs "
        "65%; but by training that long, labels alone gained as much"
    )


def _how(work: Reproduction) -> tuple[str, str]:
    member, student = _members(work, 0)[0], _student(work, 0, 1.0)
    return (
        f"{network_in_words(member)}, augmented",
        f"{network_in_words(student)}, taught online by the average; soft targets have "
        f"{SOFT_SHARE:.0%} of the loss",
    )
