"""The table that settles which method to use when: many data sets, one tuning budget for every row.

    python -m benchmarks.settle work --data FOLDER     # train what is missing; start it once per core
    python -m benchmarks.settle status                 # what is done
    python -m benchmarks.settle report                 # docs/settle.md and its pictures, from the committed results

Reading order: ``plan`` (data sets, rows, trials), ``queue`` (what to train next), ``training`` (one training),
``measures`` (rows and metrics of a training), ``report``.
"""
