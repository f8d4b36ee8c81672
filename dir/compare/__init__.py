"""Comparison of many runs: tables, intervals, ranks and figures.

Read ``runs`` (finding and collecting runs), ``statistics`` (means and paired differences), then ``report`` (tables).
"""
