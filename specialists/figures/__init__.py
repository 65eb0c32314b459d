"""The report's figures: plain data in, a matplotlib Figure out, ``to_svg`` into the page."""

from specialists.figures.cluster_pictures import picture_of_confusions, picture_of_shares
from specialists.figures.clusters import (
    cluster_overview,
    correlation_from_covariance,
    correlation_matrix,
    gain_by_coverage,
    gain_per_cluster,
)
from specialists.figures.compute import (
    ComputePoint,
    Gain,
    accuracy_against_compute,
    gain_along_axis,
)
from specialists.figures.gain_curves import PricedGain, gain_against_cost
from specialists.figures.gain_intervals import (
    SignedGain,
    gains_in_columns,
    gains_with_intervals,
)
from specialists.figures.hover import HoverArea, Picture
from specialists.figures.models import (
    CostPoint,
    accuracy_against_cost,
    class_changes,
    reliability_diagrams,
    training_curves,
)
from specialists.figures.panel_curves import Curve, curves_in_panels
from specialists.figures.style import to_svg, to_svg_file
from specialists.figures.transfer_panels import transfer_figure

__all__ = [
    "ComputePoint",
    "CostPoint",
    "Curve",
    "Gain",
    "HoverArea",
    "Picture",
    "PricedGain",
    "SignedGain",
    "accuracy_against_compute",
    "accuracy_against_cost",
    "class_changes",
    "cluster_overview",
    "correlation_from_covariance",
    "correlation_matrix",
    "curves_in_panels",
    "gain_against_cost",
    "gain_along_axis",
    "gain_by_coverage",
    "gain_per_cluster",
    "gains_in_columns",
    "gains_with_intervals",
    "picture_of_confusions",
    "picture_of_shares",
    "reliability_diagrams",
    "to_svg",
    "to_svg_file",
    "training_curves",
    "transfer_figure",
]
