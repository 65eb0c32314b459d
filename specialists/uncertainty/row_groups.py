"""Units of chance: rows that share a concept, a writer or an input are one observation.

A new sample of data holds other concepts or writers, each with all of its rows. Therefore whole
groups of rows are drawn, or have their sign flipped, and a mean over rows is the ratio of two sums
over groups,

    mean = (sum over groups of its rows' values) / (sum over groups of its rows).

Groups of one row each give what rows give. Fewer than ``MIN_GROUPS`` groups are too few for a
test: there is no p-value then, and an interval is that of Student's t over groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specialists.errors import InputError

MIN_GROUPS = 20


def count_groups(groups: ArrayLike | None, n_rows: int) -> int:
    """How many units of chance the rows are; each row is one where ``groups`` is None."""
    return n_rows if groups is None else len(np.unique(_one_a_row(groups, n_rows)))


def group_sums(
    values: ArrayLike, groups: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of values over the rows of each group, and the number of these rows.

    Parameters
    ----------
    values : array of shape (n,) or (n, m)
    groups : int array of shape (n,), optional
        Rows of one group share a number; None: each row is a group.

    Returns
    -------
    sums : float64 array of shape (k,) or (k, m)
        In the order of the groups' numbers or, where each group has one row, of the rows.
    sizes : float64 array of shape (k,)

    Raises
    ------
    InputError
        If there is not one whole number for each row.

    Examples
    --------
    >>> group_sums([1.0, 2.0, 4.0], [7, 3, 7])
    (array([2., 5.]), array([1., 2.]))
    """
    table = np.asarray(values, dtype=np.float64)
    if groups is None:
        return table, np.ones(len(table))
    number = _one_a_row(groups, len(table))
    _, group, sizes = np.unique(number, return_inverse=True, return_counts=True)
    if len(sizes) == len(table):
        return table, np.ones(len(table))
    sums = np.zeros((len(sizes), *table.shape[1:]))
    np.add.at(sums, group, table)
    return sums, sizes.astype(np.float64)


def rows_in_groups(n_rows: int, n_groups: int, what: str = "rows") -> str:
    """For instance "1,738 rows in 312 groups"; only the rows where each is a group."""
    rows = f"{n_rows:,} {what}"
    return rows if n_groups == n_rows else f"{rows} in {groups_in_words(n_groups)}"


def groups_in_words(n_groups: int) -> str:
    """For instance "312 groups"."""
    return f"{n_groups:,} group{'s' * (n_groups != 1)}"


def no_test(n_groups: int) -> str:
    """What takes the place of a p-value, for instance "12 groups: no test"."""
    return f"{groups_in_words(n_groups)}: no test"


def _one_a_row(groups: ArrayLike, n_rows: int) -> NDArray[np.int64]:
    number = np.asarray(groups)
    if number.shape != (n_rows,) or not np.issubdtype(number.dtype, np.integer):
        raise InputError(
            "groups of rows are one whole number for each row",
            got=f"shape {number.shape}, {number.dtype}",
            expected=f"shape ({n_rows},), integers",
        )
    return number
