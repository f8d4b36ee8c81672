"""Monitoring of a trained model: do new rows look like those of the run, and how large is the error on them?

Reading order: ``density`` (PSI and Kolmogorov-Smirnov), ``columns``, ``errors``, ``label_shift`` (the error without
labels), ``reference`` (what a run keeps), ``report``.
"""

from dir.monitor.label_shift import Confusion, LabelShift, estimate, make_confusion
from dir.monitor.reference import MONITORING, Reference, make_reference, read_reference
from dir.monitor.report import NewRows, monitor
from dir.monitor.settings import Settings

__all__ = [
    "MONITORING",
    "Confusion",
    "LabelShift",
    "NewRows",
    "Reference",
    "Settings",
    "estimate",
    "make_confusion",
    "make_reference",
    "monitor",
    "read_reference",
]
