"""Architectures by name; heads, freezing, widening, cost, weights on disk."""

from specialists.networks.adapters import (
    Adapters,
    adapted,
    adapters_of,
    cut_below,
    merged,
    own_parameters,
)
from specialists.networks.adoption import (
    adopt_weights,
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
    own_spec,
    with_allowed_rank,
)
from specialists.networks.calls import outputs_of
from specialists.networks.factories import check_outputs
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
    head_of,
    merge_bottleneck,
    specialise_head,
)
from specialists.networks.output_names import files_beside, output_order
from specialists.networks.prediction_files import column_of_each, read_prediction_file
from specialists.networks.prediction_rows import (
    attach_predictions,
    flattery,
    hardness,
    predictions_of_new,
)
from specialists.networks.resized_heads import check_resizable, n_outputs_of
from specialists.networks.save_pretrained import (
    TRANSFORMER,
    check_pretrained,
    check_tokens,
    pretrained_options,
)
from specialists.networks.surgery import (
    belongs,
    frozen_table,
    largest_width,
    split_frozen,
    widen,
    without_shared,
)
from specialists.networks.table_gradients import sum_by_row
from specialists.networks.text_transformer import TextTransformer, TransformerTrunk
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
    "TRANSFORMER",
    "Adapters",
    "Beside",
    "GivenGeneralist",
    "GivenInputs",
    "HashedEmbedding",
    "NetworkSpec",
    "TextTransformer",
    "TransformerTrunk",
    "adapted",
    "adapters_of",
    "adopt_weights",
    "attach_predictions",
    "belongs",
    "blank",
    "build",
    "build_for",
    "check_head_is_last",
    "check_outputs",
    "check_pretrained",
    "check_resizable",
    "check_tokens",
    "column_of_each",
    "counted_flops",
    "cut_below",
    "files_beside",
    "fill",
    "find_head",
    "fitting",
    "flattery",
    "frozen_table",
    "generalist_spec",
    "given_log_probs",
    "hardness",
    "head_and_trunk",
    "head_of",
    "inference_flops",
    "largest_width",
    "load_network",
    "merge_bottleneck",
    "merged",
    "n_outputs_of",
    "n_parameters",
    "outline",
    "output_order",
    "outputs_of",
    "own_parameters",
    "own_spec",
    "plain_inputs",
    "predictions_of_new",
    "pretrained_options",
    "read_foreign",
    "read_model",
    "read_prediction_file",
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
