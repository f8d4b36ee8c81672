"""Typed reading of values that come from a file: each accessor returns the value or raises a BundleError."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dir._checks import message


class BundleError(ValueError):
    """A model bundle that cannot be saved or loaded: damaged, malformed, of another version, or not allowed."""


class Fields:
    """One object of a JSON file, read field by field.

    Args:
        values: the object.
        file: file that the object comes from, for messages.
        path: path of the object in the file, for messages; "" for the whole file.
    """

    def __init__(self, values: dict[str, Any], file: str, path: str) -> None:
        self.values = values
        self.file = file
        self.path = f"{file}: {path}" if path else file
        self._prefix = path

    def name(self, key: str) -> str:
        """Return the path of a field for messages."""
        return f"{self.file}: {self._prefix}.{key}" if self._prefix else f"{self.file}: {key}"

    def section(self, key: str) -> Fields:
        """Return an object."""
        value = self._get(key, dict, "an object")
        return Fields(value, self.file, f"{self._prefix}.{key}" if self._prefix else key)

    def optional(self, key: str) -> Any:
        """Return an object as a dictionary, or None where the field is null or absent."""
        return None if self.values.get(key) is None else self.section(key).values

    def sections(self, key: str) -> list[Fields]:
        """Return a list of objects."""
        found = self._get(key, list, "a list of objects")
        for number, value in enumerate(found):
            if not isinstance(value, dict):
                raise BundleError(message(f"{self.name(key)}[{number}]", "expected an object", value))
        inner = f"{self._prefix}.{key}" if self._prefix else key
        return [Fields(value, self.file, f"{inner}[{number}]") for number, value in enumerate(found)]

    def text(self, key: str) -> str:
        """Return a text."""
        value: str = self._get(key, str, "a text")
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """Return a text that is one of ``choices``."""
        value = self.text(key)
        if value not in choices:
            raise BundleError(message(self.name(key), f"expected one of {', '.join(map(repr, choices))}", value))
        return value

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value: bool = self._get(key, bool, "true or false")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        value = self.values.get(key)
        if type(value) is not int or not low <= value <= high:
            raise BundleError(message(self.name(key), f"expected an integer in [{low}, {high}]", value))
        return value

    def number(self, key: str) -> float:
        """Return a finite number."""
        return _number(self.name(key), self.values.get(key))

    def positive(self, key: str) -> float:
        """Return a finite number above zero."""
        value = self.number(key)
        if value <= 0:
            raise BundleError(message(self.name(key), "expected a number > 0", value))
        return value

    def numbers(self, key: str) -> list[float]:
        """Return a list of finite numbers."""
        found = self._get(key, list, "a list of numbers")
        return [_number(f"{self.name(key)}[{index}]", value) for index, value in enumerate(found)]

    def integers(self, key: str) -> list[int]:
        """Return a list of integers >= 0."""
        found: list[int] = self._get(key, list, "a list of integers >= 0")
        for value in found:
            if type(value) is not int or not 0 <= value < 2**62:
                raise BundleError(message(self.name(key), "expected integers >= 0", value))
        return found

    def texts(self, key: str) -> list[str]:
        """Return a list of texts without repetition."""
        found: list[str] = self._get(key, list, "a list of texts")
        if not all(isinstance(value, str) for value in found) or len(set(found)) < len(found):
            raise BundleError(message(self.name(key), "expected different texts", found[:5]))
        return found

    def _get(self, key: str, kind: type, expected: str) -> Any:
        value = self.values.get(key)
        if not isinstance(value, kind):
            raise BundleError(message(self.name(key), f"expected {expected}", value))
        return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BundleError(message(name, "expected a finite number", value))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BundleError(message(name, "expected a finite number", value))
    return number
