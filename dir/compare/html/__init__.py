"""``dir-report``: one page of HTML about many runs, without a request to any other file.

Reading order: ``series`` (aggregates of saved predictions), ``figures`` (SVG), ``page`` (the page's content),
``page.html.j2`` (its form), ``cli``.
"""
