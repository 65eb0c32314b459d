"""Architectures by name; heads, freezing, widening, cost, weights on disk."""

from specialists.networks.adoption import (
    adopt_weights,
    check_outputs_are_the_heads,
    warn_if_near_chance,
    warn_of_other_inputs,
)
from specialists.networks.blocks import Beside, HashedEmbedding
from specialists.networks.build import (
    ARCHITECTURES,
    NetworkSpec,
    build,
    build_for,
    generalist_spec,
    outline,
    with_allowed_rank,
)
from specialists.networks.flops import counted_flops, inference_flops, n_parameters
from specialists.networks.foreign import read_foreign
from specialists.networks.given import (
    GivenGeneralist,
    GivenInputs,
    given_log_probs,
    plain_inputs,
)
from specialists.networks.heads import (
    check_head_is_last,
    find_head,
    head_and_trunk,
    merge_bottleneck,
    specialise_head,
)
from specialists.networks.output_names import files_beside, output_order
from specialists.networks.prediction_files import column_of_each, read_predictions
from specialists.networks.prediction_rows import attach_predictions, flattery, predictions_of_new
from specialists.networks.surgery import (
    belongs,
    frozen_table,
    largest_width,
    split_frozen,
    widen,
    without_shared,
)
from specialists.networks.table_gradients import sum_by_row
from specialists.networks.weights import (
    blank,
    fill,
    fitting,
    load_network,
    read_model,
    read_spec,
    save_network,
)

__all__ = [
    "ARCHITECTURES",
    "Beside",
    "GivenGeneralist",
    "GivenInputs",
    "HashedEmbedding",
    "NetworkSpec",
    "adopt_weights",
    "attach_predictions",
    "belongs",
    "blank",
    "build",
    "build_for",
    "check_head_is_last",
    "check_outputs_are_the_heads",
    "column_of_each",
    "counted_flops",
    "files_beside",
    "fill",
    "find_head",
    "fitting",
    "flattery",
    "frozen_table",
    "generalist_spec",
    "given_log_probs",
    "head_and_trunk",
    "inference_flops",
    "largest_width",
    "load_network",
    "merge_bottleneck",
    "n_parameters",
    "outline",
    "output_order",
    "plain_inputs",
    "predictions_of_new",
    "read_foreign",
    "read_model",
    "read_predictions",
    "read_spec",
    "save_network",
    "specialise_head",
    "split_frozen",
    "sum_by_row",
    "warn_if_near_chance",
    "warn_of_other_inputs",
    "widen",
    "with_allowed_rank",
    "without_shared",
]
