"""Command lines of ``dir-predict`` and ``dir-export``, and of scripts/predict.py and scripts/export.py.

PyTorch and pandas take seconds to import. The module refuses wrong arguments before it imports them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dir._atomic import write_atomic
from dir._checks import check_choice, message
from dir._program import answer_help, program
from dir.bundle.arguments import DIALECT, FOLDER, FORMATS, check_input, find_bundle

PREDICT = (
    "usage: {program} model=RUN input=new.csv output=predictions.csv\n"
    "       [on_error=raise|skip] [unknown=refuse|zeros] [batch_size=N] [device=cpu|cuda] [text_encoder=FOLDER]\n"
    "       [data.sep=C] [data.decimal=C] [data.thousands=C] [data.encoding=NAME] [data.quoting=minimal|none]:\n"
    "       how the csv is written\n"
    "       [data.path=FOLDER: folder of the pictures that the csv names; default: the folder of the csv]\n"
    "       [power=P: power of the label prior, in place of the power that the model keeps]\n"
    "       [under=U over=O: predict the lowest expected cost, at U and O per unit below and above the label]"
)
EXPORT = "usage: {program} model=RUN format=onnx|torch_export output=FILE"


def predict_main(arguments: Sequence[str] | None = None) -> None:
    """Predict the rows of a file: see :data:`PREDICT`.

    Raises:
        SystemExit: wrong arguments, or rows that cannot be predicted, with the reason for each.
    """
    needed = ("model", "input", "output")
    optional = ("on_error", "unknown", "batch_size", "device", "text_encoder", "power", "under", "over", FOLDER)
    given = _parse(arguments, needed, (*optional, *DIALECT), PREDICT.format(program=program("predict")))
    try:
        _predict(given)
    except (ValueError, TypeError, OSError, ImportError) as error:
        sys.exit(str(error))


def export_main(arguments: Sequence[str] | None = None) -> None:
    """Export a model: see :data:`EXPORT`.

    Raises:
        SystemExit: wrong arguments, or a model that cannot be exported.
    """
    given = _parse(arguments, ("model", "format", "output"), (), EXPORT.format(program=program("export")))
    try:
        check_choice("format", given["format"], FORMATS)
        find_bundle(Path(given["model"]))

        from dir.bundle.exporting import export
        from dir.bundle.loading import load

        kind: Any = given["format"]
        inputs = export(load(given["model"]), given["output"], format=kind)
    except (ValueError, TypeError, OSError, ImportError) as error:
        sys.exit(str(error))
    print(f"written to {given['output']}; inputs: {', '.join(inputs)}; output: prediction")


def _predict(given: dict[str, str]) -> None:
    on_error = given.get("on_error", "raise")
    check_choice("on_error", on_error, ["raise", "skip"])
    source, target = Path(given["input"]), Path(given["output"])
    if target.resolve() == source.resolve() or target.is_dir():
        raise ValueError(message("output", "expected a file other than the input", str(target)))
    size = given.get("batch_size")
    if size is not None and not size.isdigit():
        raise ValueError(message("batch_size", "expected an integer >= 1", size))
    power = None if "power" not in given else _number("power", given["power"])
    prices = {name: _number(name, given[name]) for name in ("under", "over") if name in given}
    find_bundle(Path(given["model"]))
    check_input(source)

    import pandas as pd
    import torch

    from dir.bundle.files import read_inputs, set_dialect
    from dir.bundle.inputs.rows import RowsError
    from dir.bundle.loading import load
    from dir.costs import LinearCost

    device = given.get("device", "cuda" if torch.cuda.is_available() else "cpu")
    model = load(given["model"], device, text_encoder=given.get("text_encoder"))
    set_dialect(model, given)
    if model.map_size is not None:
        from dir.bundle.map_output import check_map_output, write_maps

        check_map_output(target)
    file = read_inputs(model, source, Path(given[FOLDER]) if FOLDER in given else None)
    options: dict[str, Any] = {"unknown": given["unknown"]} if "unknown" in given else {}
    predicted = model.predict_rows(
        file.inputs,
        batch_size=None if size is None else int(size),
        progress=sys.stderr.isatty(),
        on_error="raise" if on_error == "raise" else "nan",
        power=power,
        cost=LinearCost(**prices) if prices else None,
        **options,
    )
    keys = file.keys
    if model.map_size is not None:
        if len(predicted.problems) == len(keys):
            raise RowsError(predicted.problems, len(keys), predicted.rows)
        return write_maps(target, predicted, keys, model.description.target.get("unit"))
    numbers = list(range(len(keys))) if predicted.rows is None else predicted.rows
    if predicted.rows is not None:
        print(f"{len(keys) - len(numbers)} of {len(keys)} rows end no window of equal steps and have no prediction")
        keys = keys.iloc[numbers].reset_index(drop=True)
    columns: dict[str, Any] = {"input_row": [row + 1 for row in numbers]}
    if len(model.targets) == 1:
        columns["prediction"] = predicted.predictions
    else:
        names = [f"prediction_{name}" for name in model.targets]
        columns |= dict(zip(names, predicted.predictions.T, strict=True))
    if predicted.variances is not None:
        columns["variance"] = predicted.variances
    taken = [name for name in columns if name in keys]
    if taken:
        advice = "Rename the column: dir-predict writes a column of this name."
        raise ValueError(message(str(source), f"the file has a column {taken[0]!r}", advice=advice))
    results = pd.DataFrame(columns)
    table = pd.concat([results[["input_row"]], keys, results.drop(columns="input_row")], axis=1)
    skipped = list(predicted.problems)
    if len(skipped) == len(table):
        raise RowsError(predicted.problems, len(table), predicted.rows)
    listing = target.with_name(f"{target.stem}.skipped.csv")
    if skipped:
        reasons = pd.DataFrame(
            {"input_row": [numbers[row] + 1 for row in skipped], "reason": list(predicted.problems.values())}
        )
        write_atomic(listing, reasons.to_csv(index=False).encode())
    else:
        listing.unlink(missing_ok=True)
    write_atomic(target, table.drop(index=skipped).to_csv(index=False).encode())
    unit = ", ".join(model.targets) if len(model.targets) > 1 else model.description.target.get("unit")
    used = model.power if power is None else power
    at = "" if used is None else f" at power {used:g} of the label prior"
    at += f", decisions of lowest expected cost ({prices})" if prices else ""
    print(f"{len(table) - len(skipped)} predictions in {unit}{at}, written to {target}")
    if skipped:
        shown = "\n".join(f"  row {numbers[row] + 1}: {predicted.problems[row]}" for row in skipped[:20])
        print(f"{len(skipped)} rows skipped, all listed in {listing}:\n{shown}", file=sys.stderr)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(message(name, "expected a number >= 0", text)) from None


def _parse(
    arguments: Sequence[str] | None, needed: tuple[str, ...], optional: tuple[str, ...], usage: str
) -> dict[str, str]:
    arguments = sys.argv[1:] if arguments is None else arguments
    answer_help(arguments, usage)
    given = dict(argument.partition("=")[::2] for argument in arguments if "=" in argument)
    unknown = [name for name in given if name not in (*needed, *optional)]
    if unknown:
        sys.exit(f"{message(unknown[0], 'no such argument')}\n{usage}")
    if len(given) < len(arguments) or any(not given.get(name) for name in needed):
        sys.exit(usage)
    return given
