"""The benchmark of the combination runs, and its tables say what they should."""

import torch

from pipelines.benchmarks.combination import accuracy_line, sparse_line, speed_line
from pipelines.benchmarks.markdown_tables import markdown_table
from pipelines.benchmarks.random_predictions import QUICK_CASES
from pipelines.benchmarks.speed_combination import QUICK_CASES as QUICK
from pipelines.benchmarks.speed_combination import combination_calls


def test_every_case_is_measured_beside_its_baselines():
    lines = [speed_line(case, "cpu") for case in QUICK_CASES]
    assert [line["case"] for line in lines] == [case.name for case in QUICK_CASES]
    for line in lines:
        assert len(line) == 7
        assert all(float(cell.replace(",", "")) > 0 for cell in list(line.values())[1:])


def test_sparse_and_adversarial_rows_all_converge():
    assert sparse_line(64, 10_000, 900, 10, 8)["converged"] == "100.0%"
    for dtype in (torch.float64, torch.float32):
        line = accuracy_line(1600, dtype, "cpu")
        assert line["converged"] == "100.00%"
        assert float(line["largest residual"]) < 1e-10


def test_calls_are_measured_by_torch_and_fused():
    lines = combination_calls(quick=True)
    assert markdown_table(lines).count("\n") == len(QUICK) + 1
    for line, case in zip(lines, QUICK, strict=True):
        assert line["combination"] == case.name
        assert all(float(cell.replace(",", "")) >= 0 for cell in list(line.values())[1:])
