"""Tables 2, 3 and 4: example subsets, accuracy with specialists, and by how many cover a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from specialists.escaping import markdown_rows
from specialists.specialist import Specialist

from .overlapping_subsets import SpecialistGroup
from .own_networks import network_in_words, own_lesson, resolved
from .paper_tables import PaperLine, PaperTable
from .reproduction import Reproduction

QUESTION = (
    "Section 5: specialists of classes that are easily confused stand beside a generalist. What do "
    "they add, and is it more where more of them know the true class?"
)
MOST, N_EXAMPLES, N_NAMED = 10, 5, 6
# Table 4: by the number of specialists that cover the true class, from 0 to 10 or more, the test
# examples, how many more of them are right, and the relative change of accuracy in per cent.
PAPERS_TABLE_4 = (
    (350_037, 0, 0.0),
    (141_993, 1421, 3.4),
    (67_161, 1572, 7.4),
    (38_801, 1124, 8.8),
    (26_298, 835, 10.5),
    (16_474, 561, 11.1),
    (10_682, 362, 11.3),
    (7_376, 232, 12.8),
    (4_703, 182, 13.6),
    (4_706, 208, 16.6),
    (9_082, 324, 14.1),
)
PAPERS_TABLE_2 = (
    "Tea party; Easter; Bridal shower; Baby shower; Easter Bunny; ...",
    "Bridge; Cable-stayed bridge; Suspension bridge; Viaduct; Chimney; ...",
    "Toyota Corolla E100; Opel Signum; Opel Astra; Mazda Familia; ...",
)
Rights = tuple[np.ndarray, np.ndarray]  # of the test rows, without and with specialists


def reproduce_specialists(work: Reproduction) -> PaperTable:
    """Accuracy before and after, by coverage, and the subsets by name."""
    lessons = [own_lesson(work, f"generalist-seed-{seed}", seed) for seed in work.seeds]
    kept = [replace(lesson, keep_outputs=True, keep_weights=True) for lesson in lessons]
    models = work.train(kept)
    plan, settings = work.plan, resolved(work).specialists
    settings = settings.model_copy(
        update={"patience": None, "epochs": plan.specialist_epochs or settings.epochs}
    )
    groups = [SpecialistGroup(m, plan.n_specialists, plan.subset_size, settings) for m in models]
    work.make(groups, [folder for group in groups for folder in group.folders()])
    rights, conditional, coverage = [], [], []
    for group in groups:
        specialists = group.specialists()
        alone, joined = group.log_probs(specialists)
        labels = torch.from_numpy(work.test_labels)
        rights.append(tuple((q.argmax(1) == labels).numpy() for q in (alone, joined)))
        conditional.append([_conditional(q, labels, specialists) for q in (alone, joined)])
        coverage.append(_coverage(labels, specialists))
    text = (
        "Table 4, over all seeds, by the number of specialists whose subset holds the true class. "
        "Where none does, ours may still change a wrong answer: specialists of that answer hand "
        "its probability on.\n\n" + _by_coverage(rights, coverage),
        "Table 2, examples of subsets, the classes nearest to their centroid first:\n\n"
        + _examples(work, groups[0].subsets()),
        _differences(work),
    )
    lines = _lines(work, rights, conditional, coverage, _how(work, settings.epochs or 0))
    title = f"Specialists: {work.data.dataset.name}"
    name = f"specialists-{work.data.dataset.name}"
    return PaperTable(name, title, lines, text, work.seconds, question=QUESTION)


def _conditional(log_probs: Tensor, labels: Tensor, specialists: Sequence[Specialist]) -> float:
    """Accuracy among the classes of a specialist on the rows of these classes, over all of them."""
    n_right = n_rows = 0
    for specialist in specialists:
        rows = torch.isin(labels, specialist.subset)
        best = specialist.subset[log_probs[rows][:, specialist.subset].argmax(1)]
        n_right += int((best == labels[rows]).sum())
        n_rows += int(rows.sum())
    return n_right / max(1, n_rows)


def _coverage(labels: Tensor, specialists: Sequence[Specialist]) -> np.ndarray:
    """How many subsets hold each row's class, (n,)."""
    held = [torch.isin(labels, specialist.subset) for specialist in specialists]
    return torch.stack(held).sum(0).numpy()


def _relative(rights: Sequence[Rights], masks: Sequence[np.ndarray]) -> list[float | None]:
    """Relative change of accuracy in some rows of each seed, per cent; None where none is right."""
    pairs = [(a[rows].sum(), b[rows].sum()) for (a, b), rows in zip(rights, masks, strict=True)]
    return [100 * float(after / before - 1) if before else None for before, after in pairs]


def _lines(
    work: Reproduction,
    rights: Sequence[Rights],
    conditional: Sequence[Sequence[float]],
    coverage: Sequence[np.ndarray],
    how: Mapping[str, str],
) -> tuple[PaperLine, ...]:
    before, after = work.drawn_means(*([pair[i] for pair in rights] for i in (0, 1)))
    low, high = work.interval(after - before)
    tops = [[100 * float(pair[i].mean()) for pair in rights] for i in (0, 1)]
    inside = [[100 * pair[i] for pair in conditional] for i in (0, 1)]
    gains = [b - a for a, b in zip(*tops, strict=True)]
    whole = _relative(rights, [_of(c, 0, 10**6) for c in coverage])
    joined, inner = "with specialists", "conditional accuracy"
    return (
        PaperLine("generalist: test accuracy", "25.0%", tops[0], how["generalist"], 2, "%"),
        PaperLine(joined, "26.1%", tops[1], how["specialists"], 2, "%"),
        PaperLine(
            "gain",
            "1.1 points",
            gains,
            "paired over test rows and seeds",
            2,
            " points",
            "clear of 0",
            bool(low > 0),
            (100 * low, 100 * high),
        ),
        PaperLine("relative gain", "4.4%", whole, "of the rows that were right", 1, "%"),
        PaperLine(f"generalist: {inner}", "43.1%", inside[0], how["conditional"], 2, "%"),
        PaperLine(f"{joined}: {inner}", "45.9%", inside[1], how["conditional"], 2, "%"),
        *_by_few_and_many(work, rights, coverage),
    )


def _by_few_and_many(
    work: Reproduction, rights: Sequence[Rights], coverage: Sequence[np.ndarray]
) -> tuple[PaperLine, ...]:
    """Relative gains where 1 or 2 specialists cover the class, where more do, and between them."""
    masks = [[_of(c, *ends) for c in coverage] for ends in ((1, 2), (3, 10**6))]
    few, many = (_relative(rights, of) for of in masks)
    how = "of the rows that were right, as in Table 4 below"
    first = PaperLine("relative gain, 1 or 2 cover the class", "+3.4 to +7.4%", few, how, 1, "%")
    second = PaperLine("relative gain, 3 or more cover it", "+8.8 to +16.6%", many, how, 1, "%")
    between = [m - f for f, m in zip(few, many, strict=True) if m is not None and f is not None]
    if len(between) < len(few):
        return first, replace(second, goal="too few rows to tell")
    drawn = (_drawn_relative(work, rights, of) for of in masks)
    low, high = work.interval(-np.subtract(*drawn))
    third = PaperLine(
        "the latter minus the former",
        "more",
        between,
        "paired over test rows and seeds",
        1,
        " points",
        "clear of 0",
        low > 0,
        (low, high),
    )
    return first, second, third


def _drawn_relative(
    work: Reproduction, rights: Sequence[Rights], masks: Sequence[np.ndarray]
) -> np.ndarray:
    """As :func:`_relative` in resamples; one row counts as right where none is drawn that was."""
    before, after = work.drawn_means(
        *([pair[i] & rows for pair, rows in zip(rights, masks, strict=True)] for i in (0, 1))
    )
    return 100 * (after / np.maximum(before, 1 / len(masks[0])) - 1)


def _of(coverage: np.ndarray, low: int, high: int) -> np.ndarray:
    return (coverage >= low) & (coverage <= high)


def _by_coverage(rights: Sequence[Rights], coverage: Sequence[np.ndarray]) -> str:
    rows = []
    for n, (examples, more, relative) in enumerate(PAPERS_TABLE_4):
        masks = [_of(c, n, n if n < MOST else 10**6) for c in coverage]
        before, after = (
            sum(int(pair[i][m].sum()) for pair, m in zip(rights, masks, strict=True))
            for i in (0, 1)
        )
        count = sum(int(mask.sum()) for mask in masks)
        change = f"{100 * (after / before - 1):+.1f}%" if before else ""
        ours = f"{count:,}", f"{after - before:+,}" if count else "", change
        label = str(n) if n < MOST else f"{MOST} or more"
        rows.append((label, *ours, f"{examples:,}", f"{more:+,}", f"{relative:+.1f}%"))
    columns = ("test rows", "more right", "relative")
    header = ("specialists", *columns, *(f"paper: {column}" for column in columns))
    return markdown_rows(header, rows)


def _examples(work: Reproduction, subsets: Sequence[Sequence[int]]) -> str:
    labels = work.data.dataset.class_names
    lines = []
    for number, classes in enumerate(subsets[:N_EXAMPLES], start=1):
        named = [work.names.get(labels[c], labels[c]) for c in classes[:N_NAMED]]
        lines.append(f"- subset {number}: {'; '.join(named)}; ...")
    return "\n".join(lines + [f"- the paper's: {named}" for named in PAPERS_TABLE_2])


def _how(work: Reproduction, epochs: int) -> Mapping[str, str]:
    plan = work.plan
    return {
        "generalist": network_in_words(own_lesson(work, "", 0)),
        "specialists": f"{plan.n_specialists} specialists of {plan.subset_size} classes (paper: 61 "
        f"of 300), {epochs} epochs from the generalist's weights, n = 1, joined exactly",
        "conditional": "rows of a specialist's classes, the most probable of these classes; over "
        "all pairs of a row and a specialist",
    }


def _differences(work: Reproduction) -> str:
    n = work.data.dataset.n_classes
    return (
        f"{n:,} classes and {len(work.data.dataset.train):,} training rows, where the paper has "
        "15,000 classes and 100 million images. Specialists are calibrated on validation rows, "
        "their dustbin included; the paper corrects the dustbin by a formula. Columns of the "
        "correlation matrix are clustered, since on the covariance, which the paper takes, one "
        f"cluster holds most classes.{work.several_labels}"
    )
