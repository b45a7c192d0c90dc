"""Figures of a deployment as text, JSON and HTML."""

from loihi_deploy.report.mapping_tables import mapping_report, mapping_tables
from loihi_deploy.report.tables import (
    boards_table,
    counters_table,
    demo_table,
    layers_table,
    verification_tables,
)
from loihi_deploy.report.values import counters_values, encoder_values, layer_values, summary
from loihi_deploy.report.writing import write_report

__all__ = [
    "boards_table",
    "counters_table",
    "counters_values",
    "demo_table",
    "encoder_values",
    "layer_values",
    "layers_table",
    "mapping_report",
    "mapping_tables",
    "summary",
    "verification_tables",
    "write_report",
]
