"""The table of results says what the evaluation files say."""

import pytest

from pipelines.benchmarks.results import HEADER, table
from specialists.runs import write_json


@pytest.fixture
def run(tmp_path):
    model = {"top1": 0.4, "nll": 2.0, "inference_flops": 100.0}
    write_json(
        tmp_path / "evaluation.json",
        {
            "dataset": "titles",
            "n_classes": 1016,
            "models": {
                "generalist": model,
                "ensemble": {"top1": 0.45, "nll": 1.5, "inference_flops": 250.0},
                "student": {**model, "top1": 0.35, "inference_flops": 25.0},
                "student_hard_labels": {**model, "top1": 0.3},
            },
            "differences": [
                {
                    "a": "ensemble",
                    "b": "generalist",
                    "metric": "top1",
                    "value": 0.05,
                    "interval": [-0.01, 0.11],
                    "p": 0.1,
                }
            ],
        },
    )
    return tmp_path


def test_a_row_holds_scores_differences_with_intervals_and_costs(run):
    lines = table([run]).splitlines()
    assert [len(line.split(" | ")) for line in lines] == [len(HEADER)] * 3
    assert lines[2] == (
        "| titles | 1,016 | 40.0 | 45.0 (2.50x) | +5.00 [-1.00, +11.00] | not trained "
        "| not trained | not trained | 2.000 -> 1.500 | 35.0 (0.25x) | 30.0 |"
    )
