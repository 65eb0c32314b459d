"""The benchmark of the n-gram table's optimisers runs, and its exact way is torch's Adagrad."""

import pytest

from pipelines.benchmarks.table_optimisers import table_optimisers


def test_every_optimiser_is_timed_and_the_exact_one_ends_where_torchs_does():
    sparse, exact, row_wise = table_optimisers(quick=True)
    assert [line["optimiser"] for line in (sparse, exact, row_wise)] == [
        "sparse",
        "exact",
        "row-wise",
    ]
    assert float(exact["NLL"]) == pytest.approx(float(sparse["NLL"]), abs=1e-3)
    assert float(row_wise["ratio"]) > 0
