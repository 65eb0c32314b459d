"""The benchmark of stored soft targets has a line a store; times are not tested."""

from pipelines.benchmarks.speed_soft_targets import HARD, soft_target_steps


def test_each_store_is_measured_beside_hard_labels():
    lines = soft_target_steps(quick=True)
    bytes_of = {line["targets"]: line["bytes an example"] for line in lines}
    assert len(lines) == len(bytes_of) == 1 + 3 * 4
    assert lines[0]["targets"] == HARD
    assert lines[0]["over hard labels"] == "1.00"
    assert bytes_of["dense, T = 1, alpha = 0.7"] == "100"
    assert bytes_of["top, T = 2, alpha = 1.0"] == "130"
    assert bytes_of["sampled, T = 2, alpha = 0.7"] == "39"
    assert all(float(line["over hard labels"]) > 0 for line in lines)
