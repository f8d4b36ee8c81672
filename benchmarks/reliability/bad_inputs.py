"""Rows: bad tables and bad settings are refused with a message, and nothing is written."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.reliability import commands
from benchmarks.reliability.fixtures import houses
from benchmarks.reliability.rows import Case, Row, listing, some


class Table(NamedTuple):
    """Content of a csv file, arguments of the command, and a pattern of the expected message."""

    content: bytes
    named: str
    arguments: tuple[str, ...] = ()


def _csv(frame: pd.DataFrame, **options: Any) -> bytes:
    return frame.to_csv(index=False, **options).encode()


def _lines(change: Mapping[int, str] | None = None, every: str = "") -> bytes:
    """Return the table with text added to the ends of single lines, or to every line below the header."""
    lines = _csv(houses()).decode().splitlines()
    added = dict.fromkeys(range(1, len(lines)), every) | dict(change or {})
    return "\n".join(line + added.get(number, "") for number, line in enumerate(lines)).encode()


def _cell(column: str, value: Any, row: int = 7) -> bytes:
    frame = houses().astype({column: object})
    frame.loc[row, column] = value
    return _csv(frame)


def _excel() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=houses()["price"].to_numpy())  # a zip archive, as an Excel file is
    return stream.getvalue()


def tables() -> dict[str, Table]:
    """Return bad tables by kind."""
    frame, count = houses(), len(houses())
    price, header = frame["price"], _csv(houses()).decode().splitlines()[0]
    days = pd.date_range("2020-01-01", periods=count).astype(str)
    text = _csv(frame).decode()
    return {
        "an extra field in every row": Table(_lines(every=",9"), "120 rows with more or fewer"),
        "an extra field in one row": Table(_lines({5: ",9"}), r"1 rows with more or fewer.*lines 6\b"),
        "a field too few in one row": Table(re.sub(rb",[^,\n]*\n", b"\n", _csv(frame), count=2), "more or fewer"),
        "an extra empty field in every row": Table(_lines(every=","), "120 rows with more or fewer"),
        "a repeated column": Table(text.replace(header, "size,rooms,size,price").encode(), "'size'"),
        "the target repeated": Table(text.replace(header, "size,price,kind,price").encode(), "'price'"),
        "a saved index": Table(frame.to_csv().encode(), "Unnamed: 0"),
        "an empty column name": Table(text.replace(header, "size,,kind,price").encode(), "no name"),
        "a feature equal to the target": Table(_csv(frame.assign(total=price)), "'total'"),
        "a multiple of the target": Table(_csv(frame.assign(total=-3 * price)), "'total'"),
        "the logarithm of the target": Table(_csv(frame.assign(total=np.log(price))), "'total'"),
        "the ranks of the target": Table(_csv(frame.assign(total=price.rank())), "'total'"),
        "thousands separators": Table(_csv(frame.assign(size=["1,200", "950", "12,000"] * 40)), "'size'.*thousands"),
        "thousands separators in the target": Table(
            _csv(frame.assign(price=[f"{1000 + 10 * value:,.0f}" for value in range(count)])), "'price'.*thousands"
        ),
        "decimal commas": Table(_csv(frame.assign(size=["1,5", "2,25", "3"] * 40)), "'size'.*decimal"),
        "decimal commas in the target": Table(
            _csv(frame.assign(price=[f"{value:.2f}".replace(".", ",") for value in price])), "'price'"
        ),
        "two targets": Table(_csv(frame), r"data\.target", ("data.target=[price,size]",)),
        "a target that is no column": Table(_csv(frame), r"'cost'.*data\.target", ("data.target=cost",)),
        "a name of 300 letters": Table(text.replace("rooms", "r" * 300).encode(), "more than 200 characters"),
        "semicolons": Table(_csv(frame, sep=";"), r"data\.sep=';'"),
        "semicolons and decimal commas": Table(_csv(frame, sep=";", decimal=","), r"data\.sep=';' and data\.decimal"),
        "tabs": Table(_csv(frame, sep="\t"), r"data\.sep='\\t'"),
        "bars": Table(_csv(frame, sep="|"), r"data\.sep='\|'"),
        "another encoding": Table(_csv(frame.assign(kind="é")).decode().encode("cp1252"), r"data\.encoding"),
        "UTF-16": Table(text.encode("utf-16"), r"houses\.csv"),
        "a missing label": Table(_cell("price", np.nan), "'price'.*rows 8"),
        "an infinite label": Table(_cell("price", np.inf), "'price'.*rows 8"),
        "a label above float32": Table(_cell("price", 1e39), "'price'.*rows 8"),
        "a label of text": Table(_cell("price", "cheap"), "'price'.*cheap"),
        "labels of text": Table(_csv(frame.assign(price="cheap")), "'price'"),
        "labels that are all equal": Table(_csv(frame.assign(price=7.5)), "distinct"),
        "dates as labels": Table(_csv(frame.assign(price=days)), "'price'"),
        "a missing value": Table(_cell("size", np.nan), "'size'.*rows 8"),
        "an infinite value": Table(_cell("size", np.inf), "'size'.*rows 8"),
        "a value of text among numbers": Table(_cell("size", "unknown"), "'size'.*unknown"),
        "a column without values": Table(_csv(frame.assign(size=np.nan)), "'size'"),
        "undeclared dates": Table(_csv(frame.assign(day=days)), r"'day'.*data\.dates"),
        "wrong dates": Table(_csv(frame.assign(day=["soon", *days[1:]])), "'day'.*soon", ("data.dates=[day]",)),
        "free text": Table(_csv(frame.assign(note=[f"house {row}" for row in range(count)])), "'note'"),
        "no column but the target": Table(_csv(frame[["price"]]), "houses.csv|data"),
        "an unknown group": Table(_csv(frame), r"data\.group|'who'", ("data.group=who",)),
        "an unknown column to drop": Table(_csv(frame), r"data\.drop|'who'", ("data.drop=[who]",)),
        "no rows": Table((header + "\n").encode(), "houses.csv"),
        "two rows": Table(_csv(frame.head(2)), "houses.csv|split|distinct|rows"),
        "an empty file": Table(b"", "houses.csv"),
        "an open quotation mark": Table(text.replace("a,", '"a,', 1).encode(), "houses.csv"),
        "a compressed file": Table(gzip.compress(_csv(frame)), "houses.csv"),
        "an archive": Table(_excel(), "houses.csv"),
        "zero bytes": Table(text.replace("a,", "\0,", 1).encode(), "zero bytes in line"),
    }


def _tables(folder: Path, short: bool) -> Iterator[Case]:
    fixed = ("+experiment=tabular", "data.path=houses.csv", "data.target=price", "trainer.max_epochs=1")
    for number, (name, table) in enumerate(some(tables().items(), short, 4)):
        work = folder / f"table_{number}"
        work.mkdir()
        (work / "houses.csv").write_bytes(table.content)
        yield _refused(name, work, table.named, (*fixed, *table.arguments))


SETTINGS = {
    ("optimizer.lr=-1",): "optimizer",
    ("+optimizer.lrr=1",): r"optimizer\.lrr",
    ("optimizer.lr=high",): "optimizer",
    ("scheduler.max_lr=null",): "scheduler",
    ("trainer.max_epochs=0",): r"trainer\.max_epochs",
    ("+trainer.max_epoch=1",): r"trainer\.max_epoch",
    ("trainer.accelerator=abacus",): "trainer: .*abacus",
    ("trainer.precision=7",): "trainer: .*7",
    ("+trainer.limit_train_batches=0",): r"limit_train_batches",
    ("method=ldss",): "ldss",
    ("method=lds", "method.lds.kernel=cosine"): "kernel.*cosine",
    ("method=lds", "+method.lds.kernal=gaussian"): r"method\.lds\.kernal",
    ("method=lds", "method.lds.sigma=-2"): "sigma",
    ("method=fds", "method.fds.momentum=2"): "momentum",
    ("method=rrt", "method.retrain.checkpoint=nowhere.ckpt"): "nowhere.ckpt",
    ("method=bagging", "method.ensemble.n_estimators=0"): "n_estimators",
    ("model=nothing",): "nothing",
    ("model=resnet",): "model: .*ResNetEncoder",
    ("model.encoder.hidden=[-1]",): "hidden|encoder",
    ("model.encoder.dropout=3",): "dropout",
    ("+regularizer=nothing",): "nothing",
    ("+protocol=gaps",): r"protocol\.gaps",
    ("data.path=nowhere.csv",): "nowhere.csv",
    ("data.path=.",): "data.path",
    ("data.batch_size=0",): "batch_size",
    ("data.num_workers=-1",): "num_workers",
    ("data.share=0.9",): "share",
    ("data.split=temporal",): r"data\.split",
    ("data.missing=guess",): r"data\.missing",
    ("task.monitor=accuracy",): "monitor",
    ("task.unit=???",): r"task\.unit",
    ("task.shots.many=-1",): "many",
    ("early_stopping.patience=0",): "patience",
    ("seed=first",): "seed",
    ("resume=maybe",): "resume",
    ("resume=previous",): r"previous\.ckpt",
    ("best=newest",): "best",
    ("logger=nothing",): "nothing",
    ("logger=csv", "logger._target_=lightning.pytorch.loggers.CometLogger"): "logger: .*comet",
    ("logger=csv", "logger._target_=lightning.pytorch.loggers.WandbLogger"): "logger: .*wandb",
    ("++sed=1",): "sed",
    ("+task.fds.sigm=1",): r"task\.fds\.sigm",
}


def _settings(folder: Path, short: bool) -> Iterator[Case]:
    fixed = ("+experiment=tabular", "data.path=houses.csv", "data.target=price", "trainer.max_epochs=1")
    for number, (arguments, named) in enumerate(some(SETTINGS.items(), short, 4)):
        work = folder / f"setting_{number}"
        work.mkdir()
        houses().to_csv(work / "houses.csv", index=False)
        yield _refused(" ".join(arguments), work, named, (*fixed, *arguments))


def _refused(name: str, work: Path, named: str, arguments: tuple[str, ...], traceback_is_clear: bool = False) -> Case:
    """Run the command in a folder, and look at its exit status, its message and the folder."""
    before = listing(work)
    ended = commands.train(work, work.with_suffix(".log"), *arguments)
    if ended.code == 0:
        return Case(name, "accepted", ended.output)
    if listing(work) != before:
        return Case(name, "files left", ", ".join(sorted(set(listing(work)) - set(before))))
    if not ended.refused or not re.search(named, ended.output, re.DOTALL | re.IGNORECASE):
        return Case(name, "refused without a clear message", ended.output)
    return Case(name, "refused")


_ORACLE = "The working folder must be the same before and after, and the message must match a pattern per case."
ROWS = [
    Row(
        "bad_tables",
        "A table that would be misread is refused with the reason, before anything is written.",
        f"Bad csv files of {len(tables())} kinds, each given to train.py. {_ORACLE}",
        _tables,
    ),
    Row(
        "early_failures",
        "A run that fails before its first training step leaves nothing behind.",
        f"{len(SETTINGS)} wrong settings, missing files and missing packages, each given to train.py. {_ORACLE}",
        _settings,
    ),
]
