"""Figures of a deployment as text, JSON and HTML."""

from loihi_deploy.report.cost_tables import energy_page
from loihi_deploy.report.pages import boards_page, counters_page, demo_page, layers_page
from loihi_deploy.report.sheets import report_page, reports_page, stage_table
from loihi_deploy.report.values import counters_values, encoder_values, layer_values, summary
from loihi_deploy.report.writing import check_report, write_reports

__all__ = [
    "boards_page",
    "check_report",
    "counters_page",
    "counters_values",
    "demo_page",
    "encoder_values",
    "energy_page",
    "layer_values",
    "layers_page",
    "report_page",
    "reports_page",
    "stage_table",
    "summary",
    "write_reports",
]
