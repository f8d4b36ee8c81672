"""``dir-report``: one page of HTML about many runs, without a request to any other file.

Reading order: ``series`` (aggregates of saved predictions), ``run_state`` (what else a run folder holds), ``svg``,
``figures`` and ``drawings`` (the figures), ``cautions`` (warnings in words), ``page`` (the page's content),
``page.html.j2`` (its form), ``cli``.
"""
