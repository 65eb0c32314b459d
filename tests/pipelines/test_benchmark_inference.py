"""The table of an ensemble's time beside its operations; times are not tested."""

import pytest
import torch

from pipelines.benchmarks.markdown_tables import markdown_table
from pipelines.benchmarks.speed_inference import (
    image_models,
    inference_speed,
    predicted_before,
    text_models,
)


def test_every_shape_and_number_of_rows_has_a_line():
    lines = inference_speed(quick=True)
    assert [(line["shape"], line["rows"]) for line in lines] == [
        (shape, rows) for shape in ("languages", "omniglot") for rows in ("1", "32")
    ]
    assert markdown_table(lines).count("\n") == 5
    assert all(float(line["after, ms"]) > 0 for line in lines)


@pytest.mark.parametrize("models", [text_models, image_models])
def test_what_is_timed_before_and_after_says_the_same(models):
    measured = models(quick=True)
    inputs = measured.inputs[torch.arange(32)]
    found = measured.ensemble.predictions(inputs).dense()
    torch.testing.assert_close(
        found, predicted_before(measured.ensemble, inputs), rtol=1e-4, atol=1e-5
    )
