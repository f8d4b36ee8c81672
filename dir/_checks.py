"""Error messages in one grammar, and the checks of arguments that raise them.

Every message reads ``path: problem, got value. What to do.``:

* ``num_bins: expected an integer >= 1, got 0.``
* ``method.lds.sigma is set, but method=vanilla has no LDS. Choose method=lds.``
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the resamplers and the preparation of csv files run without PyTorch
    from torch import Tensor

_NOT_GIVEN = object()


def message(path: str, problem: str, got: Any = _NOT_GIVEN, advice: str = "") -> str:
    """Return an error message ``path: problem, got value. Advice.``

    Args:
        path: argument, config key or file that the message is about.
        problem: statement of the problem, such as ``"expected an integer >= 1"``.
        got: value that was found, shown by ``repr``. Default: no value is shown.
        advice: sentences that tell the user what to do, each with its full stop.

    Example:
        >>> message("num_bins", "expected an integer >= 1", 0)
        'num_bins: expected an integer >= 1, got 0.'
        >>> message("data.csv", "file not found", advice="Set data.csv=FILE.")
        'data.csv: file not found. Set data.csv=FILE.'
    """
    found = "" if got is _NOT_GIVEN else f", got {got!r}"
    return f"{path}: {problem}{found}." + (f" {advice}" if advice else "")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``"Did you mean x?"`` for the closest known name, or an empty string.

    Example:
        >>> suggestion("methd", ["method", "model"])
        'Did you mean method?'
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {close[0]}?" if close else ""


def check_choice(path: str, value: Any, choices: Iterable[Any], advice: str = "") -> None:
    """Raise a ValueError unless ``value`` is one of ``choices``.

    Example:
        >>> check_choice("kind", "spline", ["affine", "isotonic"])
        Traceback (most recent call last):
        ValueError: kind: expected one of 'affine', 'isotonic', got 'spline'.
    """
    choices = list(choices)
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise ValueError(message(path, f"expected one of {', '.join(map(repr, choices))}", value, advice))


def check_figure_file(path: str, file: Path) -> None:
    """Raise a ValueError unless the name of a figure's file ends in .png, .svg or .pdf, in small or capital letters.

    Example:
        >>> check_figure_file("--picture", Path("ranks.gif"))
        Traceback (most recent call last):
        ValueError: --picture: expected a file that ends in .png, .svg or .pdf, got 'ranks.gif'.
    """
    if file.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(message(path, "expected a file that ends in .png, .svg or .pdf", str(file)))


def check_integer(path: str, value: Any, minimum: int = 1, advice: str = "") -> None:
    """Raise a ValueError unless ``value`` is an integer of at least ``minimum``.

    Example:
        >>> check_integer("num_bins", 0)
        Traceback (most recent call last):
        ValueError: num_bins: expected an integer >= 1, got 0.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(message(path, f"expected an integer >= {minimum}", value, advice))


def as_integer(path: str, value: Any, minimum: int = 1, advice: str = "") -> int:
    """Return a whole number such as 10, 10.0 or ``numpy.int64(10)`` as an int; raise a ValueError for other values.

    Example:
        >>> as_integer("num_bins", 10.0)
        10
    """
    whole = (
        int(value)
        if not isinstance(value, bool | str) and hasattr(value, "__int__") and value == value // 1
        else value
    )
    check_integer(path, whole, minimum, advice)
    return int(whole)


def check_positive(path: str, value: Any, advice: str = "") -> None:
    """Raise a ValueError unless ``value`` is a finite number above zero.

    Example:
        >>> check_positive("sigma", -1.0)
        Traceback (most recent call last):
        ValueError: sigma: expected a finite number > 0, got -1.0.
    """
    if not _is_number(value) or value <= 0:
        raise ValueError(message(path, "expected a finite number > 0", value, advice))


def check_not_negative(path: str, value: Any, advice: str = "") -> None:
    """Raise a ValueError unless ``value`` is a finite number of at least zero.

    Example:
        >>> check_not_negative("weight", float("nan"))
        Traceback (most recent call last):
        ValueError: weight: expected a finite number >= 0, got nan.
    """
    if not _is_number(value) or value < 0:
        raise ValueError(message(path, "expected a finite number >= 0", value, advice))


def check_interval(path: str, value: Any, interval: str, advice: str = "") -> None:
    """Raise a ValueError unless ``value`` lies in an interval such as ``"[0, 1)"``.

    Example:
        >>> check_interval("dropout", 1.0, "[0, 1)")
        Traceback (most recent call last):
        ValueError: dropout: expected a number in [0, 1), got 1.0.
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    inside = _is_number(value) and low <= value <= high
    if not inside or (value == low and interval[0] == "(") or (value == high and interval[-1] == ")"):
        raise ValueError(message(path, f"expected a number in {interval}", value, advice))


def check_same_shape(first_name: str, first: Tensor, second_name: str, second: Tensor, advice: str = "") -> None:
    """Raise a ValueError if two tensors differ in shape: broadcasting ``[N]`` against ``[N, 1]`` gives ``[N, N]``.

    Example:
        >>> import torch
        >>> check_same_shape("pred", torch.zeros(3, 1), "target", torch.zeros(3))
        Traceback (most recent call last):
        ValueError: pred: expected the shape of target [3], got [3, 1].
    """
    if first.shape != second.shape:
        raise ValueError(
            message(
                first_name, f"expected the shape of {second_name} {list(second.shape)}", list(first.shape), advice
            )
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
