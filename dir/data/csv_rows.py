"""The rows of a csv file as the text of its cells, for row identities."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from dir._checks import message
from dir.data.identity import row_id


def csv_row_ids(path: Path, target: str, rows: int) -> list[str]:
    """Return the id of each row of a csv file: a hash of its cells, whatever the order of the columns.

    Args:
        path: csv file with a header.
        target: column of the label.
        rows: number of rows that pandas read.

    Raises:
        ValueError: if the file has another number of rows.
    """
    with path.open(newline="", encoding="utf-8-sig") as stream:
        try:
            header, *lines = (row for row in csv.reader(stream) if any(cell.strip() for cell in row) or len(row) > 1)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(message(str(path), f"not readable as a csv file ({error})")) from error
    if len(lines) != rows:
        raise ValueError(message(str(path), f"expected {rows} rows below the header", len(lines)))
    label = header.index(target) if target in header else None
    order = sorted((name, column) for column, name in enumerate(header) if column != label)
    ids = []
    for line in lines:
        cells = [(name, line[column] if column < len(line) else "") for name, column in order]
        value = line[label] if label is not None and label < len(line) else ""
        ids.append(row_id(json.dumps(cells).encode(), value.encode()))
    return ids
