"""The benchmark of the disk, on as little as shows that it works."""

from pipelines.benchmarks.markdown_tables import markdown_table
from pipelines.benchmarks.speed_disk import disk_and_loads


def test_it_prints_what_lies_on_the_disk_before_and_after():
    lines = disk_and_loads(quick=True)
    assert [line["network"] for line in lines] == ["generalist", "specialist", "rival"]
    assert [line["rows read"] for line in lines] == ["64%", "98%", "64%"]
    sizes = [(float(line["before, MB"]), float(line["after, MB"])) for line in lines]
    assert all(before > 1.2 * after > 0 for before, after in sizes)
    assert "before, s a load" in markdown_table(lines)
