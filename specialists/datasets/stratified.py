"""How are groups of rows drawn so that each has the same chance and every class gives its share?

Systematic sampling: groups stand in a row, and one of every 1 / fraction is drawn, from a random
start. Each group, whatever its size and however many labels it has, is drawn with probability
``fraction``, exactly. The order makes what is drawn resemble the whole: groups of one class stand
together, by size. Groups of several labels, or large beside what their class has to give, stand
apart from the classes, by size alone. Only the repairs that keep every class on both sides depart
from equal chances; they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FEW_LABELS = 2


@dataclass(frozen=True)
class Draw:
    """Which rows are drawn, and how many of them repairs moved to the drawn side, and back."""

    held: np.ndarray  # bool (n,)
    added: int
    returned: int

    def notes(self, name: str) -> list[str]:
        """What the repairs moved to and from the drawn side, which is called ``name``."""
        moved = {f"added to {name}": self.added, f"drawn for {name} but put back": self.returned}
        why = "so that no class is left without rows"
        return [f"rows {what}, {why}: {n}" for what, n in moved.items() if n]


def draw_groups(
    labels: np.ndarray,
    groups: np.ndarray,
    fraction: float,
    needed: int,
    left: int,
    generator: np.random.Generator,
) -> Draw:
    """Draw whole groups of rows, each with the same probability, stratified by label.

    ``labels`` and ``groups`` are int (n,). ``fraction``, in [0, 1), is the probability of each
    group. Of each class at least ``needed`` groups are drawn and ``left`` are not, if it has as
    many.
    """
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    drawing = _Drawing(which, labels, generator)
    order = drawing.order(sizes, fraction)
    marks = np.floor(generator.random() + fraction * np.arange(len(sizes) + 1))
    held = np.zeros(len(sizes), dtype=bool)
    held[order] = np.diff(marks) > 0
    drawn = held.copy()
    drawing.cover(held, False, left, 0)
    drawing.cover(held, True, needed, left)
    added, returned = (int(sizes[moved].sum()) for moved in (held & ~drawn, drawn & ~held))
    return Draw(held[which], added, returned)


class _Drawing:
    """The labels of each group and the groups of each label."""

    def __init__(
        self, which: np.ndarray, labels: np.ndarray, generator: np.random.Generator
    ) -> None:
        self.which, self.labels, self.generator = which, labels, generator
        pairs = np.unique(np.stack([which, labels], axis=1), axis=0)
        self.group_of, self.label_of = pairs[:, 0], pairs[:, 1]
        self.starts = np.searchsorted(self.group_of, np.arange(which.max(initial=-1) + 2))
        self.n_labels = int(labels.max(initial=-1)) + 1

    def order(self, sizes: np.ndarray, fraction: float) -> np.ndarray:
        """Groups in the order in which they stand.

        Sizes that differ by less than a factor of about 1.4 count as equal: were all large groups
        in one strict order, few draws would be possible. Classes stand in random order, and in each
        the small or the large groups stand first, by chance: otherwise classes of equal make-up
        would all give their small groups, or all their large ones.
        """
        labels, which, generator = self.labels, self.which, self.generator
        counts = np.bincount(labels)
        # The label of each group that has fewest rows.
        by_group = np.lexsort((labels, counts[labels], which))
        primary = labels[by_group][np.searchsorted(which[by_group], np.arange(len(sizes)))]
        share = np.bincount(primary, weights=sizes, minlength=len(counts))
        apart = np.diff(self.starts) > _FEW_LABELS
        apart |= sizes > np.maximum(fraction * share, 1)[primary]
        place = generator.permutation(len(counts))[primary]
        upwards = generator.choice([-1, 1], len(counts))[primary]
        size = np.round(2 * np.log2(sizes))
        by_size, by_class = (
            np.where(apart, size, upwards * size),
            np.where(apart, len(counts), place),
        )
        return np.lexsort((generator.random(len(sizes)), place, by_size, by_class))

    def cover(self, held: np.ndarray, side: bool, wanted: int, kept: int) -> None:
        """Move random groups to ``side``, in place, for classes with fewer than ``wanted`` there.

        Every class keeps ``kept`` groups (or as many as it has) on the other side.
        """
        here = np.bincount(self.label_of[held[self.group_of] == side], minlength=self.n_labels)
        there = np.bincount(self.label_of, minlength=self.n_labels) - here
        by_label = np.argsort(self.label_of, kind="stable")
        bounds = np.searchsorted(self.label_of[by_label], np.arange(self.n_labels + 1))
        for label in np.flatnonzero((here < wanted) & (here + there > 0)):
            groups = self.group_of[by_label[bounds[label] : bounds[label + 1]]]
            for group in self.generator.permutation(groups[held[groups] != side]):
                touched = self.label_of[self.starts[group] : self.starts[group + 1]]
                if here[label] < wanted and (there[touched] > kept).all():
                    held[group] = side
                    here[touched] += 1
                    there[touched] -= 1
