"""Speed and memory of the package beside the loops that the field uses; see docs/benchmarks.md."""
