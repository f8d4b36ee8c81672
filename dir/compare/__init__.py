"""Read many runs: tables, intervals, ranks and figures."""
