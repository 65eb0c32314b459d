"""Half-precision rows in memory-mapped files, of which some rows or some columns are read.

``shards.json`` beside them names the files. ``sums.npy`` holds what the exponentials of each row
sum to, in double precision, so that a part of a row tells how much the rest of it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from specialists.files import read_array, read_json, write_array, write_json

ABOUT, SUMS = "shards.json", "sums.npy"
MOST_OF_A_ROW = 0.9  # a difference of float32 sums keeps six digits of the rest, which has a tenth
ROWS_AT_A_TIME = 4096


def write_rows(folder: Path, blocks: Iterable[Tensor], n_columns: int, n_rows: int) -> None:
    """Write blocks of rows (n, n_columns) to files of ``n_rows`` at least, all but the last."""
    files: list[str] = []
    pending: list[np.ndarray] = []
    sums = [torch.zeros(0, dtype=torch.float64)]

    def flush() -> None:
        files.append(f"rows-{len(files):04d}.npy")
        write_array(folder / files[-1], np.concatenate(pending))
        pending.clear()

    for block in blocks:
        half = block.to(torch.float16)
        pending.append(half.numpy())
        sums.append(half.float().exp().sum(1, dtype=torch.float64))
        if sum(map(len, pending)) >= n_rows:
            flush()
    if pending:
        flush()
    write_array(folder / SUMS, torch.cat(sums).numpy())
    write_json(folder / ABOUT, {"files": files, "n_columns": n_columns})


class Shards:
    """Rows of ``n_columns`` logarithms, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        about = read_json(folder / ABOUT)
        self._files = [read_array(folder / name) for name in about["files"]]
        self._starts = np.cumsum([0, *(len(file) for file in self._files)])
        self.n_columns: int = about["n_columns"]
        sums = folder / SUMS
        self._sums = torch.from_numpy(read_array(sums, mmap=False)) if sums.is_file() else None

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._files)

    def read(self, index: Tensor, columns: Tensor | None = None) -> Tensor:
        """The rows of ``index``, float16 (n, C), or k columns of them, (n, k)."""
        n_columns = self.n_columns if columns is None else len(columns)
        values = np.empty((len(index), n_columns), dtype=np.float16)
        rows = np.argsort(index.numpy(), kind="stable")  # the files are read from front to back
        sought = index.numpy()[rows]
        if len(sought) and not 0 <= sought[0] <= sought[-1] < len(self):
            raise IndexError(f"rows {sought[0]} to {sought[-1]} of {len(self)}")
        bounds = np.searchsorted(sought, self._starts)
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            part = slice(bounds[number], bounds[number + 1])
            file, inner = np.asarray(self._files[number]), sought[part] - self._starts[number]
            if columns is not None:
                values[rows[part]] = file[inner[:, None], columns.numpy()]
                continue
            for row, at in zip(rows[part].tolist(), inner.tolist(), strict=True):
                values[row] = file[at]  # copied once
        return torch.from_numpy(values)

    def with_rest(self, index: Tensor, columns: Tensor) -> Tensor:
        """Some columns, and the log of the sum of exponentials of all others, float32 (n, k + 1).

        The others are read only where they hold less than a tenth of their row.
        """
        named = self.read(index, columns).double()
        mass = named.exp().sum(1)
        total = torch.zeros(len(index)) if self._sums is None else self._sums[index]
        rest = (total - mass).log()
        most = (~(mass <= MOST_OF_A_ROW * total)).nonzero().squeeze(1)
        for some in most.split(ROWS_AT_A_TIME) if len(most) else ():
            others = self.read(index[some]).float()
            others[:, columns] = -torch.inf
            rest[some] = others.logsumexp(1).to(rest.dtype)
        return torch.cat([named, rest[:, None]], dim=1).float()
