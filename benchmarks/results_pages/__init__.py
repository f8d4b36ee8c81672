"""The pages of docs/results: one for each data set with committed results, and what follows from them.

    python -m benchmarks.settle report     # first: the pictures of the curves
    python -m benchmarks.results_pages     # docs/results/*.md, the overview of docs/results.md, menu in mkdocs.yml

Reading order: ``sets`` (the data sets in words), ``content`` (what a page shows), ``files`` (what is written).
"""
