"""Named tensors on disk: safetensors, without what a large table can do without.

No training string reads some rows of an n-gram table, which are zero then. They are left out, and
the rows that are written lie beside their indices, under the table's name and `ROWS`. Numbers that
are those of half precision are written in half precision. The file's metadata say what a table was.
What is read is what was written, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specialists.files.artifacts import atomic_write, damaged
from specialists.large_tables import zero_table

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ROWS = ":rows"
TABLES = "tables"  # in the metadata: {name: number of rows} in JSON
LEAST_NUMBERS = 4096  # of a table; smaller ones are written as they are
LEAST_SHARE = 1 / 16  # of rows of zeros, from which they are left out
ROWS_AT_A_TIME = 1 << 16


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors, byte for byte the same for the same values.

    Tensors that share memory are written apart.
    """
    from safetensors.torch import save

    stored: dict[str, Tensor] = {}
    heights: dict[str, int] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        rows = _kept_rows(tensor) if _is_table(tensor) and name + ROWS not in tensors else None
        kept = tensor if rows is None else tensor[rows]
        short = _in_half(kept) if _is_table(tensor) else None
        if rows is not None:
            stored[name + ROWS] = rows.int()
        if rows is not None or short is not None:
            heights[name] = len(tensor)
        stored[name] = kept.clone() if short is None else short
    metadata = {TABLES: json.dumps(heights, sort_keys=True)} if heights else None
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(stored, metadata))


def read_tensors(path: str | Path, device: str = "cpu", whole: bool = True) -> dict[str, Tensor]:
    """The named tensors of a safetensors file; a DamagedError if it is no longer one.

    Unless they are wanted ``whole``, tables take no more memory than in the file: they are sparse,
    or in half precision, and :func:`dense` makes of them what was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device=device) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            heights = json.loads((file.metadata() or {}).get(TABLES, "{}"))
        for name, height in heights.items():
            if name + ROWS in tensors:
                tensors[name] = _sparse(tensors.pop(name + ROWS), tensors[name], height)
            tensors[name] = dense(tensors[name]) if whole else tensors[name]
        return tensors
    except SafetensorError as error:
        raise damaged(path, str(error)) from None
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(path, str(error).partition("\n")[0]) from None


def dense(table: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """All rows of a table that :func:`read_tensors` did not give whole, float32 if not told else.

    Any other tensor is converted alone.
    """
    import torch

    if dtype is None:
        dtype = torch.float32 if table.dtype == torch.float16 else table.dtype
    if not table.is_sparse:
        return table.to(dtype)
    # Not to_dense(), which adds to zeros and so loses the sign of a zero.
    whole = zero_table(table.shape, dtype).to(table.device)
    rows, values = table._indices()[0], table._values()
    if values.dtype == dtype:
        return whole.index_copy_(0, rows, values)
    converted = torch.empty((ROWS_AT_A_TIME, values.shape[1]), dtype=dtype, device=table.device)
    for some, kept in zip(rows.split(ROWS_AT_A_TIME), values.split(ROWS_AT_A_TIME), strict=True):
        whole.index_copy_(0, some, converted[: len(some)].copy_(kept))
    return whole


def _is_table(tensor: Tensor) -> bool:
    import torch

    return tensor.dim() == 2 and tensor.numel() >= LEAST_NUMBERS and tensor.dtype == torch.float32


def _kept_rows(table: Tensor) -> Tensor | None:
    """Indices of the rows that are not zero in every bit; None where most of them are kept."""
    import torch

    bits = table.view(torch.int32)
    first = (bits[:, 0] == 0).nonzero().squeeze(1)
    if len(first) < LEAST_SHARE * len(table):
        return None
    kept = torch.ones(len(table), dtype=torch.bool)
    kept[first] = (bits[first] != 0).any(1)
    rows = kept.nonzero().squeeze(1)
    return rows if len(table) - len(rows) >= LEAST_SHARE * len(table) else None


def _in_half(table: Tensor) -> Tensor | None:
    """The same numbers in half precision; None if one of them has none there."""
    import torch

    halves = torch.empty(table.shape, dtype=torch.float16)
    for part, half in zip(table.split(ROWS_AT_A_TIME), halves.split(ROWS_AT_A_TIME), strict=True):
        half.copy_(part)
        if not torch.equal(half.float().view(torch.int32), part.view(torch.int32)):
            return None
    return halves


def _sparse(rows: Tensor, values: Tensor, height: object) -> Tensor:
    """The table of ``height`` rows of which all but these are zero."""
    import torch

    numbers = rows.long()
    if not isinstance(height, int) or values.dim() != 2 or numbers.shape != values.shape[:1]:
        raise ValueError("the rows of a table do not fit their indices")
    if len(numbers) and not 0 <= int(numbers[0]) <= int(numbers[-1]) < height:
        raise ValueError("a table has rows beyond its end")
    if not bool((numbers.diff() > 0).all()):
        raise ValueError("the rows of a table are not in order")
    shape: Any = (height, values.shape[1])
    return torch.sparse_coo_tensor(
        numbers[None], values, shape, is_coalesced=True, check_invariants=False
    )
