"""The report's tables as plain rows; the template only draws them."""

from reports.page.tables.full import full_difference_table, full_parts_table, full_table
from reports.page.tables.gates import (
    decided_by,
    device_table,
    evidence_table,
    gate_table,
    payoff_table,
)
from reports.page.tables.paper import (
    cue_table,
    paper_difference_table,
    paper_parts_table,
    paper_table,
    staleness_table,
)
from reports.page.tables.system import (
    cloud_table,
    latency_table,
    system_difference_table,
    system_group_table,
    system_table,
)
from reports.page.tables.table import Cell, Row, Table

__all__ = [
    "Cell",
    "Row",
    "Table",
    "cloud_table",
    "cue_table",
    "decided_by",
    "device_table",
    "evidence_table",
    "full_difference_table",
    "full_parts_table",
    "full_table",
    "gate_table",
    "latency_table",
    "paper_difference_table",
    "paper_parts_table",
    "paper_table",
    "payoff_table",
    "staleness_table",
    "system_difference_table",
    "system_group_table",
    "system_table",
]
