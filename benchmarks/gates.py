"""The rows of the table of docs/benchmarks.md, in its order, and what each has to reach."""

from __future__ import annotations

from typing import Any, NamedTuple


class Gate(NamedTuple):
    """``ratio`` names one measured value ("ours") or the ratio of two ("naive / ours")."""

    ratio: str
    sign: str
    bound: float

    def met(self, value: float) -> bool:
        return value >= self.bound if self.sign == ">=" else value <= self.bound


class Row(NamedTuple):
    """``unit`` of the measured values: "s", "MiB", "GB/s" or "calls"; ``ratios`` are shown without being gates."""

    title: str
    gates: tuple[Gate, ...] = ()
    ratios: tuple[str, ...] = ()
    unit: str = "s"
    gpu: bool = False


def at_least(ratio: str, bound: float) -> Gate:
    return Gate(ratio, ">=", bound)


def at_most(ratio: str, bound: float) -> Gate:
    return Gate(ratio, "<=", bound)


NAIVE, FLOOR = "naive / ours", "ours / floor"
LOSS_NAMES = ("mse", "l1", "huber", "focal_l1")

ROWS: dict[str, Row] = {
    "calibrate-256x2048": Row(
        "FDS calibrate, forward + backward, 256 x 2048, 100 bins (floor: clone + backward)",
        (at_least(NAIVE, 30), at_most(FLOOR, 4)),
    ),
    "calibrate-1024x2048": Row("the same, 1024 x 2048, 121 bins", (at_least(NAIVE, 25),), (FLOOR,)),
    "calibrate-4096x128": Row("the same, 4096 x 128, 50 bins", (at_least(NAIVE, 35),), (FLOOR,)),
    "calibrate-skewed": Row("the same, 256 x 2048, 100 bins, labels skewed like ages", (), (NAIVE, FLOOR)),
    "accumulate-256x2048": Row(
        "FDS accumulate one batch, 256 x 2048, float64 sums (floor: copy_ of the batch)",
        (at_least(NAIVE, 45), at_most(FLOOR, 10)),
    ),
    "step-256x2048": Row(
        "FDS in a training step (binning, accumulate, calibrate, backward), 256 x 2048", (), (FLOOR,)
    ),
    "epoch-statistics-12208x2048": Row(
        "statistics of a whole epoch, 12,208 x 2048 (naive: collect, stack, loop)", (at_least(NAIVE, 8),)
    ),
    "memory-12208x512": Row(
        "peak extra memory of an epoch's statistics, 12,208 x 512", (at_most("ours", 32),), (), "MiB"
    ),
    "memory-191509x512": Row("the same, 191,509 x 512", (at_most("ours", 32),), (), "MiB"),
    "memory-191509x2048": Row("the same, 191,509 x 2048", (at_most("ours", 32),), (), "MiB"),
    "lds-191509": Row("LDS weights of 191,509 float labels: fit and look-up", (at_least(NAIVE, 200),)),
    "lds-1000000": Row("the same, 1,000,000", (at_least(NAIVE, 200),)),
    "lds-10000000": Row("the same, 10,000,000 (naive: 1,000,000 timed, times ten)", (at_least(NAIVE, 200),)),
    "shots-1000000": Row(
        "MSE, MAE and GM by shot of 1,000,000 predictions (naive: errors pooled one by one, as published; "
        "arrays: the same loop, pooling arrays)",
        (at_least(NAIVE, 40), at_least("arrays / ours", 40)),
    ),
    "share-resnet50": Row(
        "FDS forward + accumulate, share of a ResNet-50 step, batch 64, 64 px", (at_most("ours / step", 0.001),)
    ),
    "epoch-resnet18": Row(
        "training epoch with FDS, ResNet-18, 64 px (naive: second pass)", (at_most("ours / naive", 0.80),)
    ),
    "operators-calibrate": Row(
        "non-view operators: bin the labels and calibrate", (at_most("ours", 8),), (), "calls"
    ),
    "operators-accumulate": Row(
        "non-view operators: accumulate, given the bins", (at_most("ours", 12),), (), "calls"
    ),
    "operators-sync": Row(
        "operators that make the host wait: forward + backward + LDS look-up", (at_most("ours", 0),), (), "calls"
    ),
    **{
        f"loss-{name}-{n}": Row(
            f"weighted {name}, {n:,} values, forward + backward (naive: torch.nn.functional)", (), (NAIVE,)
        )
        for name in LOSS_NAMES
        for n in (256, 1_000_000)
    },
    "gpu-calibrate-bandwidth": Row(
        "FDS calibrate forward, 1,048,576 x 128: bandwidth (floor: copy_)",
        (at_least(FLOOR, 0.70),),
        (),
        "GB/s",
        gpu=True,
    ),
    "gpu-calibrate-256x2048": Row(
        "FDS calibrate, forward + backward, 256 x 2048, 100 bins", (at_least(NAIVE, 100),), (FLOOR,), gpu=True
    ),
    "gpu-accumulate-skew": Row(
        "FDS accumulate 256 x 2048, half of the rows in one bin, against labels spread evenly",
        (at_most("ours / uniform", 2.0),),
        gpu=True,
    ),
    "gpu-share-resnet50": Row(
        "FDS + LDS, share of a ResNet-50 step, batch 256, 224 px, bf16", (at_most("ours / step", 0.01),), gpu=True
    ),
}


def ratio_of(name: str, values: dict[str, float]) -> float:
    """``"ours"`` is a value itself, ``"naive / ours"`` a ratio of two; NaN where one was not measured."""
    parts = [values.get(part, float("nan")) for part in name.split(" / ")]
    return parts[0] if len(parts) == 1 else parts[0] / parts[1]


def judged(row: Row, values: dict[str, float]) -> list[dict[str, Any]]:
    """Ratios and gates of a row with the values they got; a ratio that is no gate has ``met`` None."""
    wanted = [*row.gates, *(Gate(name, "", float("nan")) for name in row.ratios)]
    result: list[dict[str, Any]] = []
    for gate in wanted:
        value = ratio_of(gate.ratio, values)
        entry: dict[str, Any] = {"ratio": gate.ratio, "value": value, "gate": None, "met": None}
        if gate.sign:
            entry |= {"gate": f"{gate.sign} {gate.bound:g}", "met": gate.met(value)}
        result.append(entry)
    return result
