"""How to look through the rows of a matrix with hundreds of millions of confused pairs?

A sparse matrix in rows (CSR) is read in blocks of rows with a bounded number of entries, so that
what is computed of each entry never exists for all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sparse

BLOCK_ENTRIES = 4_000_000
BLOCK_ROWS = 65_536


def n_rows(matrix: Any) -> int:
    """Number of rows of an array or sparse matrix."""
    return int(matrix.shape[0])


def row_blocks(starts: np.ndarray) -> Iterator[slice]:
    """Slices of at most 65,536 rows and four million entries, or of one longer row.

    ``starts`` (rows + 1,) is the first entry of each row, and the end: ``indptr`` of a CSR matrix.
    """
    row, n = 0, len(starts) - 1
    while row < n:
        full = int(np.searchsorted(starts, int(starts[row]) + BLOCK_ENTRIES, side="right")) - 1
        end = min(max(full, row + 1), row + BLOCK_ROWS, n)
        yield slice(row, end)
        row = end


def product_blocks(left: Any, right: Any) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Blocks of rows, and those of the product of two sparse matrices, of bounded work each."""
    work = np.concatenate([[0], np.cumsum(np.diff(right.indptr)[left.indices])])
    for rows in row_blocks(work[left.indptr]):
        yield rows, sparse.csr_matrix(left[rows] @ right)


def entries(matrix: sparse.csr_matrix, rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of each entry in a block of rows, in the order of rows."""
    starts = matrix.indptr[rows.start : rows.stop + 1]
    part = slice(starts[0], starts[-1])
    row = np.repeat(np.arange(rows.start, rows.stop), np.diff(starts))
    return row, matrix.indices[part], matrix.data[part]


def strongest(matrix: sparse.csr_matrix, n_entries: int) -> sparse.csr_matrix:
    """The ``n_entries`` largest entries of every row; of equal ones those that come first."""
    columns, values, counts = [], [], [np.zeros(1, dtype=int)]
    for rows in row_blocks(matrix.indptr):
        row, column, value = entries(matrix, rows)
        local = (row - rows.start).astype(np.uint16)
        order = np.argsort(-value, kind="stable")
        order = order[np.argsort(local[order], kind="stable")]
        first = matrix.indptr[rows.start : rows.stop] - matrix.indptr[rows.start]
        kept = np.sort(order[np.arange(len(order)) - first[local] < n_entries])
        columns.append(column[kept])
        values.append(value[kept])
        counts.append(np.bincount(local[kept], minlength=rows.stop - rows.start))
    starts = np.concatenate(counts).cumsum()
    parts = (np.concatenate(values), np.concatenate(columns), starts)
    return sparse.csr_matrix(parts, shape=matrix.shape)


def unit_rows(rows: Any) -> Any:
    """Rows of an array or sparse matrix divided by their length; rows of zeros stay."""
    if sparse.issparse(rows):
        length = np.sqrt(squares(rows))
        scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
        return sparse.csr_matrix(sparse.diags(scale) @ rows)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def squares(matrix: sparse.csr_matrix) -> np.ndarray:
    """Squared length of each row of a sparse matrix."""
    row = np.repeat(np.arange(n_rows(matrix)), np.diff(matrix.indptr))
    return np.bincount(row, weights=matrix.data**2, minlength=n_rows(matrix))
