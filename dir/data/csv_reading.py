"""Reading csv files: options, checks of the file's structure, proposals for wrong options, and row ids."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dir._checks import check_choice, message
from dir.data.identity import row_id
from dir.data.problems import Problems, show_lines, shown

SEPARATORS = (",", ";", "\t", "|")
LONGEST_NAME = 200
QUOTING: dict[str, Any] = {"minimal": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}


@dataclass(frozen=True)
class CsvOptions:
    """How a csv file is written.

    Args:
        sep: separator of the fields, one character.
        decimal: decimal point, one character.
        thousands: separator of thousands, one character, or None.
        encoding: encoding of the text.
        na_values: further texts that stand for a missing value.
        quoting: "minimal", if fields with a separator stand in quotation marks; "none", if a quotation mark is part
            of its field.
    """

    sep: str = ","
    decimal: str = "."
    thousands: str | None = None
    encoding: str = "utf-8"
    na_values: tuple[str, ...] = ()
    quoting: str = "minimal"

    def __post_init__(self) -> None:
        for name in ("sep", "decimal", "thousands"):
            value = getattr(self, name)
            if not (isinstance(value, str) and len(value) == 1) and not (name == "thousands" and value is None):
                raise ValueError(message(f"data.{name}", "expected one character", value))
        if len({self.sep, self.decimal, self.thousands}) < 3:
            found = [self.sep, self.decimal, self.thousands]
            raise ValueError(
                message("data.sep", "expected different characters for sep, decimal and thousands", found)
            )
        try:
            "".encode(self.encoding)
        except (LookupError, TypeError) as error:
            problem = "expected the name of an encoding"
            raise ValueError(message("data.encoding", problem, self.encoding)) from error
        check_choice("data.quoting", self.quoting, list(QUOTING))

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values. Usual quoting is left out: runs of former versions do not tell it."""
        values = asdict(self)
        return values if self.quoting == "none" else {key: values[key] for key in values if key != "quoting"}

    @property
    def codec(self) -> str:
        """Encoding without the byte order mark, with which files from spreadsheets often begin."""
        utf8 = self.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
        return "utf-8-sig" if utf8 else self.encoding


def read_table(
    path: Path,
    option: str,
    options: CsvOptions | None = None,
    text: Sequence[str] = (),
    verbatim: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the content of a csv file with a header.

    Args:
        path: the file.
        option: config key of the file, for error messages.
        options: how the file is written. Default: commas, decimal points, UTF-8.
        text: columns to read as text, even if all cells are numbers. Default: none.
        verbatim: columns whose cells are kept as they stand in the file; "NA" is the text "NA", and an empty cell is
            an empty text. Default: none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read, has no rows, repeats a column name, or has rows with more or fewer
            fields than the header. All problems are listed.
    """
    options = options or CsvOptions()
    if not path.is_file():
        raise FileNotFoundError(
            message(option, f"file {path} not found", advice="Give a csv file with a header line.")
        )
    header, lines, numbers = read_cells(path, options)
    problems = Problems(str(path))
    repeated = [name for name, count in Counter(header).items() if count > 1 and name.strip()]
    if repeated:
        problems.add(f"column names that occur more than once: {shown(repeated, 300)}", "Rename these columns.")
    long = [name for name in header if len(name) > LONGEST_NAME]
    if long:
        problems.add(f"column names with more than {LONGEST_NAME} characters: {', '.join(map(shown, long[:5]))}")
    wrong = [number for number, line in zip(numbers, lines, strict=True) if len(line) != len(header)]
    if wrong:
        problem = f"{len(wrong)} rows with more or fewer than {len(header)} fields, in lines {show_lines(wrong)}"
        problems.add(problem, sniff(path, options) or "Quote fields that contain the separator.")
    if not lines:
        problems.add("no rows below the header")
    problems.raise_all()
    try:
        table = pd.read_csv(
            path,
            low_memory=False,
            index_col=False,
            sep=options.sep,
            decimal=options.decimal,
            thousands=options.thousands,
            encoding=options.codec,
            na_values=list(options.na_values),
            dtype={name: str for name in text if name in header},
            quoting=QUOTING[options.quoting],
        )
    except ValueError as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise ValueError(message(str(path), f"not readable as a csv file ({error})")) from error
    if len(table) != len(lines):
        problem = f"expected {len(lines)} rows below the header, pandas reads {len(table)}"
        advice = "Check the quotation marks of the file, or set data.quoting=none if they are part of the text."
        raise ValueError(message(str(path), problem, advice=advice))
    cells = {name: [line[header.index(name)] for line in lines] for name in verbatim if name in header}
    return table.assign(**cells) if cells else table


def read_cells(path: Path, options: CsvOptions) -> tuple[list[str], list[list[str]], list[int]]:
    """Return the header, the cells of each row as text, and the last line of each row. Empty lines are skipped.

    Raises:
        ValueError: if the file is empty, cannot be decoded (the message proposes an encoding) or has zero bytes.
    """
    rows, numbers = [], []
    try:
        with path.open(newline="", encoding=options.codec) as stream:
            content = without_zero_bytes(stream, path)
            reader = csv.reader(content, delimiter=options.sep, quoting=QUOTING[options.quoting])
            for row in reader:
                if len(row) > 1 or any(cell.strip() for cell in row):
                    rows.append(row)
                    numbers.append(reader.line_num)
    except UnicodeDecodeError as error:
        advice = "Set data.encoding to the encoding of the file, such as utf-16 or cp1252."
        problem = f"expected text in {options.encoding} ({error.reason} at byte {error.start})"
        raise ValueError(message(str(path), problem, advice=advice)) from error
    except (csv.Error, UnicodeError) as error:
        raise ValueError(message(str(path), f"not readable as a csv file ({error})")) from error
    if not rows:
        raise ValueError(message(str(path), "not readable as a csv file: the file is empty"))
    return rows[0], rows[1:], numbers[1:]


def without_zero_bytes(lines: Iterable[str], path: Path) -> Iterator[str]:
    """Yield the lines of a text file.

    Raises:
        ValueError: at a line with a zero byte. A crash of the machine leaves such bytes in files, and pandas would
            read them as part of a text.
    """
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            advice = "Write or copy the file again, or set data.encoding if it is UTF-16."
            raise ValueError(message(str(path), f"zero bytes in line {number}, the file is damaged", advice=advice))
        yield line


def sniff(path: Path, options: CsvOptions) -> str:
    """Return advice if the first lines are split consistently by another separator, else an empty string."""
    with path.open(newline="", encoding=options.codec, errors="replace") as stream:
        lines = [line for line, _ in zip(stream, range(50), strict=False) if line.strip()]
    found: dict[str, int] = {}
    for sep in SEPARATORS:
        try:
            widths = {len(row) for row in csv.reader(lines, delimiter=sep, quoting=QUOTING[options.quoting])}
        except csv.Error:
            continue
        if len(widths) == 1 and max(widths) > 1:
            found[sep] = max(widths)
    if not found or options.sep in found:
        return ""
    best = max(found, key=lambda sep: found[sep])
    cells = [cell for row in csv.reader(lines[1:], delimiter=best) for cell in row]
    comma = best != "," and any("," in cell and cell.replace(",", "", 1).lstrip("-").isdigit() for cell in cells)
    written = {"\t": "'\\t'"}.get(best, f"'{best}'")
    decimal = " and data.decimal=','" if comma else ""
    return f"The file uses {written} as separator: set data.sep={written}{decimal}."


def csv_row_ids(path: Path, targets: Sequence[str], options: CsvOptions) -> list[str]:
    """Return the id of each row: a hash of its cells as text, whatever the order of the columns.

    Args:
        path: csv file that :func:`read_table` accepts.
        targets: columns of the labels.
        options: how the file is written.
    """
    header, lines, _ = read_cells(path, options)
    places = [header.index(target) for target in targets]
    order = sorted((name, column) for column, name in enumerate(header) if column not in places)
    ids = []
    for line in lines:
        cells = [(name, line[column]) for name, column in order]
        labels = [line[place] for place in places]
        label = labels[0] if len(labels) == 1 else json.dumps(labels)
        ids.append(row_id(json.dumps(cells).encode(), label.encode()))
    return ids


def as_options(
    sep: str, decimal: str, thousands: str | None, encoding: str, na_values: Sequence[Any], quoting: str = "minimal"
) -> CsvOptions:
    """Return the options of the config keys ``data.sep`` and so on."""
    values = [na_values] if isinstance(na_values, str) or not isinstance(na_values, Sequence) else na_values
    return CsvOptions(sep, decimal, thousands, encoding, tuple(str(value) for value in values), quoting)
