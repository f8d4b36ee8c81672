"""How the csv of a run was written, read from its bundle."""

from __future__ import annotations

from dir._checks import message
from dir.bundle.fields import BundleError, Fields
from dir.data.csv_reading import CsvOptions


def read_csv_options(fields: Fields) -> CsvOptions:
    """Return the options that :meth:`dir.data.csv_reading.CsvOptions.to_dict` described."""
    thousands = None if fields.values.get("thousands") is None else fields.text("thousands")
    missing = tuple(fields.texts("na_values"))
    quoting = fields.text("quoting") if "quoting" in fields.values else "minimal"
    try:
        return CsvOptions(
            fields.text("sep"), fields.text("decimal"), thousands, fields.text("encoding"), missing, quoting
        )
    except ValueError as error:
        raise BundleError(message(fields.path, str(error).rstrip("."))) from error
