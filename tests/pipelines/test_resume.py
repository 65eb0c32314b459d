"""The real pipeline, killed in several stages, ends with the result of one that was left alone."""

import pytest
from readme_run import RUN, specialists, start

KILLED_IN = ("prepare-data", "train-generalist", "train-specialists", "evaluate-models")


def artifacts(folder):
    """Every file that holds no time, by path; the report shows times."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    kept = [file for file in files if not file.name.startswith(("timing", ".", "report.html"))]
    named = {file.relative_to(folder).as_posix(): file.read_bytes() for file in kept}
    return {name: held for name, held in named.items() if not name.startswith("write-report/")}


@pytest.mark.slow
@pytest.mark.xdist_group("readme")
def test_a_run_killed_in_four_stages_ends_with_the_same_artifacts(readme_run, tmp_path):
    command = [*RUN, "--jobs", "2"]
    for stage in KILLED_IN:
        with start(command, tmp_path) as process:
            assert process.stdout is not None
            assert any(line.startswith(f"{stage}: starts") for line in process.stdout)
            process.kill()
    told = specialists(command, tmp_path)
    assert "train-specialists: done already, skipped" in told
    assert "evaluate-models: done already, skipped" not in told
    expected, found = (
        artifacts(folder / "runs" / "languages") for folder in (readme_run, tmp_path)
    )
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []
