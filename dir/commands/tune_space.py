"""What ``dir-tune`` varies: the settings that the method has, and those that the command line gives as a sweep.

Needs the extra ``tune`` (Optuna).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from dir._checks import message
from dir.commands.advice import ADDED_GROUPS, key_of

Make = Callable[[Any], BaseDistribution]


@dataclass(frozen=True)
class Dimension:
    """A setting that the search varies.

    Args:
        key: its key on the command line of ``dir-train``.
        distribution: its values; a choice holds the texts of the values.
        start: value of the first trial; None where the search draws it.
    """

    key: str
    distribution: BaseDistribution
    start: Any = None

    def __str__(self) -> str:
        found = self.distribution
        if isinstance(found, CategoricalDistribution):
            return f"{self.key}: {', '.join(map(str, found.choices))}"
        assert isinstance(found, FloatDistribution | IntDistribution)
        step = f", step {found.step:g}" if found.step not in (None, 1) else ""
        return f"{self.key}: {found.low:.4g} to {found.high:.4g}{', log scale' if found.log else ''}{step}"


def override_of(key: str, value: Any) -> str:
    """Return ``key=value``, with numbers of four digits, so that a written config is readable.

    Example:
        >>> override_of("optimizer.lr", 0.00123456), override_of("task.lds.kernel_size", 5)
        ('optimizer.lr=0.001235', 'task.lds.kernel_size=5')
    """
    plus = "+" if key in ADDED_GROUPS else ""
    return f"{plus}{key}={value:.4g}" if isinstance(value, float) else f"{plus}{key}={value}"


def _near(factor: float) -> Make:
    """Return a maker of the range from value / factor to value * factor."""
    return lambda value: FloatDistribution(value / factor, value * factor, log=True)


def _between(low: float, high: float, log: bool = False) -> Make:
    """Return a maker of a range, extended where the value of the config lies outside."""
    return lambda value: FloatDistribution(min(low, value), max(high, value), log=log)


def _whole(low: int, high: int) -> Make:
    return lambda value: IntDistribution(min(low, value), max(high, value), log=True)


def _odd(value: int) -> BaseDistribution:
    return IntDistribution(3, max(31, value), step=2)


def _one_of(*choices: str) -> Make:
    return lambda value: CategoricalDistribution(tuple(dict.fromkeys((*choices, str(value)))))


_KERNEL = _one_of("gaussian", "triangular", "laplace")
# The settings that a search varies, by their place in the config. A place that the method lacks is left out.
_SETTINGS: tuple[tuple[str, Make], ...] = (
    ("method.weights", _one_of("none", "sqinv", "lds", "denseweight")),
    ("method.lds.kernel", _KERNEL),
    ("method.lds.kernel_size", _odd),
    ("method.lds.sigma", _between(0.5, 10, log=True)),
    ("method.lds.reweight", _one_of("inverse", "sqrt_inverse")),
    ("method.lds.alpha", _between(0.1, 2)),
    ("method.power", _between(0, 1)),
    ("method.loss_power", _between(0, 1)),
    ("method.cells.sigma", _between(1.5, 12, log=True)),
    *(
        (f"method.{part}.{name}", make)
        for part in ("fds", "output_fds.fds")
        for name, make in (
            ("kernel", _KERNEL),
            ("kernel_size", _odd),
            ("sigma", _between(0.5, 20, log=True)),
            ("momentum", _between(0, 0.99)),
            ("shrinkage", _between(1, 200, log=True)),
        )
    ),
    ("method.regularizer.weight", _near(30)),
    ("regularizer.weight", _near(30)),
    ("method.mixup.bandwidth", _near(10)),
    ("method.loss.init_noise_sigma", _near(10)),
    ("method.loss.alignment", _near(10)),
    ("method.estimator.learning_rate", _between(0.01, 0.3, log=True)),
    ("method.estimator.max_leaf_nodes", _whole(7, 127)),
    ("method.estimator.num_leaves", _whole(7, 127)),
    ("method.estimator.depth", _whole(3, 9)),
    ("method.estimator.min_samples_leaf", _whole(2, 100)),
    ("method.estimator.min_child_samples", _whole(2, 100)),
    ("optimizer.lr", _near(10)),
)


def space_of(cfg: DictConfig, named: Sequence[str]) -> list[Dimension]:
    """Return the settings of the config's method that a search varies, without those that the user names.

    Args:
        cfg: composed config; its values start the search.
        named: keys that the command line names.

    Raises:
        ValueError: a value of the config cannot start the search.
    """
    raw = OmegaConf.to_container(cfg, resolve=False)
    found = []
    for place, make in _SETTINGS:
        # A key of the task decides the value, if the method only repeats it: ${task.lds.sigma}.
        key = _source(raw, place)
        if key is None or key in named or place in named or not _is_used(cfg, place, named):
            continue
        start = OmegaConf.select(cfg, place)
        try:
            found.append(Dimension(key, make(start), start))
        except (TypeError, ValueError) as error:
            advice = f"Name it on the command line to keep it, such as {key}={start}."
            raise ValueError(message(key, f"cannot be varied ({error})", start, advice)) from error
    return found


def _source(raw: Any, place: str) -> str | None:
    """Return the key whose value stands at a place of an unresolved config; None where there is none to change."""
    node = raw
    for name in place.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return None
        node = node[name]
    if isinstance(node, str) and node.startswith("${"):
        key = node[2:-1]
        return key if key.startswith("task.") and ":" not in key else place
    return None if node is None or isinstance(node, Mapping | list) else place


def _is_used(cfg: DictConfig, place: str, named: Sequence[str]) -> bool:
    """Return whether a run reads a setting that its config holds."""
    part, _, name = place.rpartition(".")
    node = OmegaConf.select(cfg, part)
    if cfg.method.estimator is not None and not part.startswith("method"):
        return False  # no network is trained
    if name == "sigma" and f"{part}.kernel" in named and node.kernel == "triangular":
        return False
    if part == "method.lds":
        # Without a kernel the reweighting is what the method is named after. A callable has no other names.
        smooth = node.get("kernel") is not None
        return name == "alpha" or (smooth and (name != "reweight" or isinstance(node.reweight, str)))
    if part in ("method.fds", "method.output_fds.fds") and node.get("shrinkage") is not None and name != "shrinkage":
        # The shrinking form is defined by a wide exact kernel and the statistics of one epoch; VIR smooths as FDS.
        return name == "sigma" or (name != "momentum" and node.kernel != "exact_gaussian")
    return True


def has_effect(key: str, chosen: Mapping[str, Any]) -> bool:
    """Return whether a setting acts beside those chosen before it: a triangular kernel has no sigma.

    Example:
        >>> has_effect("task.lds.sigma", {"method.lds.kernel": "triangular"})
        False
    """
    part, _, name = key.rpartition(".")
    kernels = {kernel for place, kernel in chosen.items() if place == f"method.{part.partition('.')[2]}.kernel"}
    return not (name == "sigma" and kernels == {"triangular"})


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[Dimension]]:
    """Return the overrides with one value, and the dimensions of those that Hydra reads as sweeps.

    A sweep is ``key=a,b``, ``key=choice(a,b)``, ``key=range(low,high,step)``, ``key=interval(low,high)``, the same
    with ``int(...)``, or ``key=tag(log,interval(low,high))``.

    Raises:
        ValueError: Hydra cannot read an override, or no range can be made of a sweep.

    Example:
        >>> fixed, varied = split_overrides(["+experiment=tabular", "optimizer.lr=tag(log,interval(1e-4,1e-2))"])
        >>> fixed, str(varied[0])
        (['+experiment=tabular'], 'optimizer.lr: 0.0001 to 0.01, log scale')
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ValueError(str(error)) from error
    fixed = [line for line, one in zip(overrides, parsed, strict=True) if not one.is_sweep_override()]
    pairs = [(line, one) for line, one in zip(overrides, parsed, strict=True) if one.is_sweep_override()]
    return fixed, [_swept(line, one) for line, one in pairs]


def _swept(line: str, override: Override) -> Dimension:
    key, sweep = key_of(line), override.value()
    try:
        if isinstance(sweep, IntervalSweep):
            log = "log" in sweep.tags
            low, high = sweep.start, sweep.end
            if isinstance(low, int) and isinstance(high, int) and not isinstance(low, bool):
                return Dimension(key, IntDistribution(low, high, log=log))
            return Dimension(key, FloatDistribution(float(low), float(high), log=log))  # type: ignore[arg-type]
        if isinstance(sweep, ChoiceSweep | RangeSweep):
            choices = tuple(override.sweep_string_iterator())
            return Dimension(key, CategoricalDistribution(choices), choices[0])
    except ValueError as error:
        raise ValueError(message(key, f"no range for a search ({error})", line)) from error
    advice = "Such as a,b or interval(0.1,1) or tag(log,interval(1e-4,1e-2))."
    raise ValueError(message(key, "expected a list or a range of values", line, advice))
