"""The best rule of each kind at every limit of inference, on a small run with both kinds."""

import pytest
import small_run

from pipelines.benchmarks import gain_models, measured_pieces
from pipelines.benchmarks.gain_by_cost import gain_by_cost
from pipelines.benchmarks.gain_models import CLUSTERS, LIMITS, SHARED, SMALL
from pipelines.benchmarks.same_limits import at_same_limits
from specialists.files import read_json

pytestmark = pytest.mark.xdist_group("small_run")


def test_each_kind_has_a_row_at_each_limit_that_changes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(measured_pieces, "PIECE", 25)
    monkeypatch.setattr(gain_models, "RANKS", (2, 3, 9))
    config = str(small_run.make_run(tmp_path / "source").folder / "config.toml")
    settings = ["specialists.kind=both", "specialists.shortlist=3", "combination.admission=off"]
    text = gain_by_cost(tmp_path / "out", config, settings, 1, ["8", "all"])
    files = sorted(path.name for path in (tmp_path / "out").glob("gain*.json"))
    assert files == ["gain_by_cost-12.json", "gain_by_cost-8.json"]
    models = read_json(tmp_path / "out" / "gain_by_cost-12.json")
    base = models["generalist"]["inference_flops"][0]
    families = {name.partition(", ")[0] for name in models}
    wanted = {"generalist_continued", CLUSTERS, SHARED, SMALL, "generalist_ensemble"}
    assert wanted <= families
    for name, model in models.items():
        family, _, mark = name.partition(", ")
        if mark and family != "generalist_wide":
            limit = float(mark.removesuffix("x"))
            assert limit in LIMITS
            assert model["inference_flops"][0] < 1.5 * limit * base
        if name != "generalist":
            assert model["training_flops"][0] > models["generalist"]["training_flops"][0]
            assert model["training_seconds"][0] > 0
        assert len(model["top1"]) == 1
    assert "| shared specialists, " in text
    assert "| `generalist_wide`, 2x |" in text
    drawn = (tmp_path / "out" / "gain_by_cost.svg").read_text()
    assert "8 classes" in drawn
    assert "12 classes" in drawn
    assert all(model["milliseconds"][0] > 0 for model in models.values())


def test_a_seed_is_measured_once_for_what_it_is_made_of(tmp_path, monkeypatch):
    config = str(small_run.make_run(tmp_path / "source").folder / "config.toml")
    settings = ["specialists.kind=both", "specialists.shortlist=3", "combination.admission=off"]

    def measured(*more: str) -> dict:
        gain_by_cost(tmp_path / "out", config, [*settings, *more], 1)
        return read_json(tmp_path / "out" / "gain_by_cost-12.json")

    models = measured()
    with monkeypatch.context() as patch:
        patch.setattr(gain_models, "measure_times", None)
        assert measured() == models
    times = [model["milliseconds"] for model in models.values()]
    changed = measured("combination.n=[1]")
    assert [model["milliseconds"] for model in changed.values()] != times


def test_a_limit_that_changes_a_rule_in_one_seed_alone_stands_for_all_seeds():
    seeds = [
        {"generalist": 0, "averaged, 1.1x": 1, "shared, 1.02x": 2, "shared, 3x": 3},
        {"generalist": 4, "shared, 1.02x": 5, "shared, 1.5x": 6, "averaged, 1.02x": 7},
    ]
    assert at_same_limits(seeds) == [
        {
            "generalist": 0,
            "averaged, 1.1x": 1,
            "shared, 1.02x": 2,
            "shared, 1.5x": 2,
            "shared, 3x": 3,
        },
        {
            "generalist": 4,
            "averaged, 1.1x": 7,
            "shared, 1.02x": 5,
            "shared, 1.5x": 6,
            "shared, 3x": 6,
        },
    ]
    names = list(at_same_limits(seeds)[0])
    assert names == ["generalist", "averaged, 1.1x", "shared, 1.02x", "shared, 1.5x", "shared, 3x"]
