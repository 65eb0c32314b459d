"""The benchmark of the combination runs, and its tables say what they should."""

from pipelines.benchmarks.combination import accuracy_table, sparse_table, speed_table
from pipelines.benchmarks.predictions import QUICK_CASES


def cells(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def test_every_case_is_measured_beside_its_rivals():
    header, _, *rows = cells(speed_table(QUICK_CASES, "cpu"))
    assert [row[0] for row in rows] == [case.name for case in QUICK_CASES]
    for row in rows:
        assert len(row) == len(header)
        assert all(float(cell.replace(",", "")) > 0 for cell in row[1:])


def test_sparse_and_adversarial_rows_all_converge():
    assert cells(sparse_table(64, 10_000, ((20, 10, 4), (900, 10, 8))))[-1][2] == "100.0%"
    for row in cells(accuracy_table(1600, "cpu"))[2:]:
        assert row[2] == "100.00%"
        assert float(row[3]) < 1e-10
