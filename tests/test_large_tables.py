"""Large tables are zeros with memory of their own, or none on the meta device."""

import pytest
import torch
from torch import nn

from specialists.large_tables import zero_table


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, None])
@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (2**20, 4)])
def test_a_table_is_of_zeros_and_has_its_memory_for_itself(shape, dtype):
    first, second = zero_table(shape, dtype), zero_table(shape, dtype)
    first.fill_(1.0)
    assert first.shape == second.shape == shape
    assert first.dtype == (dtype or torch.get_default_dtype())
    assert first.is_contiguous()
    assert not second.any()
    assert nn.Parameter(first).requires_grad


def test_a_table_without_memory_is_on_the_meta_device():
    with torch.device("meta"):
        assert zero_table((2**40, 2**20)).is_meta


def test_a_table_that_does_not_fit_is_told():
    with pytest.raises(ValueError, match=r"a table of 1,099,511,627,776 rows does not fit"):
        zero_table((2**40, 2**20))
