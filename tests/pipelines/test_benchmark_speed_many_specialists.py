"""The benchmark of many specialists gives a table of ratios; times are not tested."""

from pipelines.benchmarks.speed_many_specialists import many_specialists


def test_each_number_of_classes_has_a_line_with_before_and_after():
    (line,) = many_specialists(quick=True)
    assert line["classes"] == "60"
    assert float(str(line["ratio"])) > 0
    assert float(str(line["after, s"])) > 0
