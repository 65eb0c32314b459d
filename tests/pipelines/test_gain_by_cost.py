"""The best rule of each kind at every limit of inference, on a small run with both kinds."""

import pytest
import small_run

from pipelines.benchmarks.gain_by_cost import LIMITS, gain_by_cost
from specialists.files import read_json

pytestmark = pytest.mark.xdist_group("small_run")


def test_each_kind_has_a_row_at_each_limit_that_changes_it(tmp_path):
    config = str(small_run.make_run(tmp_path / "source").folder / "config.toml")
    settings = ["specialists.kind=both", "specialists.shortlist=3", "combination.admission=off"]
    text = gain_by_cost(tmp_path / "out", config, settings, 1)
    models = read_json(tmp_path / "out" / "gain_by_cost.json")
    base = models["generalist"]["inference_flops"][0]
    families = {name.partition(", ")[0] for name in models}
    assert {"generalist_continued", "specialists of clusters", "shared specialists"} <= families
    for name, model in models.items():
        _family, _, mark = name.partition(", ")
        if mark:
            limit = float(mark.removesuffix("x"))
            assert limit in LIMITS
            assert model["inference_flops"][0] < 1.5 * limit * base
            assert model["training_flops"][0] > models["generalist"]["training_flops"][0]
        assert len(model["top1"]) == 1
    assert "| shared specialists, " in text
    assert "| `generalist_wide` |" in text
    assert (tmp_path / "out" / "gain_by_cost.svg").is_file()
    again = gain_by_cost(tmp_path / "out", config, settings, 1)
    assert again == text
