"""Several tensors a row, by name: what a network of several inputs takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specialists.errors import DataError


@dataclass(frozen=True)
class NamedTensors:
    """Tensors whose first axes are the same rows, for instance token ids and their mask.

    Parameters
    ----------
    tensors : mapping of str to Tensor of shape (n, ...)
        One at least, of any type. Whole numbers that an embedding reads are int64.

    Raises
    ------
    DataError
        If there is no tensor, or they differ in their numbers of rows.

    Examples
    --------
    >>> ids = torch.tensor([[5, 7, 0], [3, 0, 0]])
    >>> inputs = NamedTensors({"input_ids": ids, "attention_mask": ids > 0})
    >>> len(inputs), inputs[torch.tensor([1])].tensors["input_ids"]
    (2, tensor([[3, 0, 0]]))
    """

    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        sizes = {name: len(rows) if rows.ndim else None for name, rows in self.tensors.items()}
        if len(set(sizes.values())) != 1 or None in sizes.values():
            raise DataError(
                "tensors of one input need the same number of rows",
                got=", ".join(f"{name} of {n}" for name, n in sizes.items()) or "no tensor",
                expected="one tensor or more, each of shape (n, ...)",
            )

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: Tensor | np.ndarray | slice) -> NamedTensors:
        """Some rows, by indices, a mask or a slice."""
        return self._each(lambda tensor: tensor[index])

    def clone(self) -> NamedTensors:
        return self._each(Tensor.clone)

    def split(self, sizes: list[int]) -> list[NamedTensors]:
        """As ``Tensor.split``: so many rows in each part, which are not copied."""
        parts = {name: tensor.split(sizes) for name, tensor in self.tensors.items()}
        return [
            NamedTensors({name: part[i] for name, part in parts.items()}) for i in range(len(sizes))
        ]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> NamedTensors:
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> NamedTensors:
        return self._each(Tensor.pin_memory)

    @staticmethod
    def concatenated(parts: Sequence[NamedTensors]) -> NamedTensors:
        """The rows of all parts, which have the same names."""
        names = parts[0].tensors
        return NamedTensors({name: torch.cat([p.tensors[name] for p in parts]) for name in names})

    def records(self) -> np.ndarray:
        """A record a row, whose fields are the tensors; each lies where its type wants it."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in self.tensors.items()}
        fields = [(name, array.dtype, array.shape[1:]) for name, array in arrays.items()]
        rows = np.zeros(len(self), dtype=np.dtype(fields, align=True))
        for name, array in arrays.items():
            rows[name] = array
        return rows

    @classmethod
    def of_records(cls, rows: np.ndarray) -> NamedTensors:
        """What :meth:`records` gave, of which nothing is copied."""
        return cls({name: torch.from_numpy(rows[name]) for name in rows.dtype.names or ()})

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def _each(self, change: Callable[[Tensor], Tensor]) -> NamedTensors:
        return NamedTensors({name: change(tensor) for name, tensor in self.tensors.items()})
