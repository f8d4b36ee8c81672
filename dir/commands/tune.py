"""Command line of ``dir-tune``: a search for the settings with the best validation value.

PyTorch and Optuna take seconds to import. The module refuses wrong arguments before it imports them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dir._checks import message
from dir._program import program
from dir.commands.tune_target import Target

if TYPE_CHECKING:
    from dir.commands.tune_plan import Plan

_ABOUT = """Search the settings of a method with Optuna, judged on validation rows. The test rows are never read.

%(prog)s +experiment=NAME method=lds [key=value ...] --objective balanced_mae --trials 30
%(prog)s +experiment=NAME method=lds,fds 'optimizer.lr=tag(log,interval(1e-4,1e-2))' --objective few/mae

The search varies the settings that the method has: kernel, kernel size, sigma and reweighting of LDS, FDS,
power, weight of a regulariser, learning rate. A setting with one value on the command line is kept. A setting with
several values (a,b), or with a range of Hydra (interval, range, choice, tag(log, ...)), is varied in this range.

The same command again goes on, up to --trials trials. Several processes may work on one --folder.
"""
_INTERRUPTED = "Interrupted. Finished trials are kept, and the same command again goes on."


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog=program("tune"),
        usage="%(prog)s +experiment=NAME [key=value ...] [--objective NAME] [options]",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("overrides", nargs="*", metavar="key=value", help="the run, in the words of dir-train")
    found.add_argument("--objective", help="METRIC or GROUP/METRIC, such as few/mae (default: task.monitor)")
    found.add_argument(
        "--trials", type=int, default=30, help="trials in all, with those of earlier calls (default: 30)"
    )
    found.add_argument("--minutes", type=float, help="budget of this call (default: none)")
    found.add_argument("--workers", type=int, default=1, help="processes that train at once (default: 1)")
    found.add_argument("--folder", type=Path, help="folder of the search (default: outputs/tune/NAME/METHOD)")
    found.add_argument("--seed", type=int, default=0, help="seed of the sampler (default: 0)")
    found.add_argument("--no-pruning", action="store_true", help="let every trial train to its end")
    found.add_argument("--json", action="store_true", help="print the result as json instead")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, print the best trials, and write the best config."""
    command = parser()
    args = command.parse_intermixed_args(arguments)
    _check_arguments(command, args)

    from dir.recipe.cli import is_user_error
    from dir.recipe.quiet import quiet_lightning
    from dir.recipe.schema import register_configs

    register_configs()
    quiet_lightning()
    say: Callable[[str], None] = (lambda line: None) if args.json else (lambda line: print(line, flush=True))
    try:
        plan = plan_of(args)
        result = tune(plan, args.workers, say)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") or not (isinstance(error, OSError) or is_user_error(error)):
            raise
        sys.exit(str(error))
    except (KeyboardInterrupt, SystemExit):
        sys.exit(_INTERRUPTED)
    if args.json:
        print(json.dumps(result, indent=1))
        return

    from dir.commands.tune_result import print_result

    print_result(result, plan)


def _check_arguments(command: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End the process with the usage unless the arguments can be those of a search."""
    for line in args.overrides:
        if "=" not in line:
            command.error(message(line, "expected key=value"))
    keys = [line.lstrip("+").partition("=")[0] for line in args.overrides]
    if "experiment" not in keys:
        command.error(
            message("+experiment", "no experiment given", advice="Give +experiment=NAME, as for dir-train.")
        )
    for key in ("logger", "resume"):
        if key in keys:
            command.error(message(key, "dir-tune sets it for each trial", advice="Remove it."))
    for name in ("trials", "workers"):
        if getattr(args, name) < 1:
            command.error(message(f"--{name}", "expected an integer >= 1", getattr(args, name)))
    if args.minutes is not None and not args.minutes >= 0:
        command.error(message("--minutes", "expected a number >= 0", args.minutes))
    if args.objective is not None:
        try:
            Target.parse(args.objective)
        except ValueError as error:
            command.error(str(error))
    if find_spec("optuna") is None:
        advice = 'pip install "deep-imbalanced-regression[tune]".'
        sys.exit(message("dir-tune", "the package optuna is not installed", advice=advice))


def plan_of(args: argparse.Namespace) -> Plan:
    """Return the plan of a command line; its objective and folder come from the config where they are not given.

    Raises:
        ValueError: Hydra or the checks refuse the overrides.
    """
    from dir.commands.tune_plan import Plan, composed, start_of

    target = Target("all", "mae") if args.objective is None else Target.parse(args.objective)
    plan = Plan(Path(), tuple(args.overrides), target, args.trials, args.minutes, args.seed, not args.no_pruning)
    cfg = composed(tuple(plan.settings(start_of)))
    if args.objective is None:
        target = Target.parse("cost" if cfg.get("cost") is not None else cfg.task.monitor)
    method = next((line.partition("=")[2] for line in args.overrides if line.startswith("method=")), "vanilla")
    name = "-".join(method.replace("choice(", "").strip("() ").split(","))
    folder = args.folder or Path("outputs/tune") / cfg.name / f"{name}-{str(target).replace('/', '_')}"
    return Plan(folder, plan.overrides, target, args.trials, args.minutes, args.seed, not args.no_pruning)


def tune(plan: Plan, workers: int = 1, say: Callable[[str], None] = print, start: str = "spawn") -> dict[str, Any]:
    """Search, and return the result of :func:`dir.commands.tune_result.write_result`.

    Args:
        plan: what to search, and the budget.
        workers: processes that train at once; this process alone for 1.
        say: called with a line about each trial. Other processes print theirs.
        start: how worker processes start, see :mod:`multiprocessing`.

    Raises:
        ValueError, FileNotFoundError: the plan cannot be searched, or its folder holds another search.
        KeyboardInterrupt, SystemExit: after Ctrl-C.
    """
    from dir.commands.tune_plan import composed, start_of
    from dir.commands.tune_result import write_result
    from dir.commands.tune_study import Worker, begin_search

    study = begin_search(plan)
    limit = "" if plan.minutes is None else f", {plan.minutes:g} minutes"
    say(f"Search in {plan.folder}: {plan.target.direction} {plan.target}, {plan.trials} trials{limit}.")
    for one in plan.space():
        say(f"  {one}")
    kept = plan.why_not_pruned(composed(tuple(plan.settings(start_of))))
    if kept:
        say(f"Every trial trains to its end: {kept}.")
    if workers == 1:
        Worker(plan, 0, say).work()
    else:
        _work_together(plan, workers, say, start)
    return write_result(study, plan)


def _work_together(plan: Plan, workers: int, say: Callable[[str], None], start: str) -> None:
    """Run workers in processes of their own until they end.

    Raises:
        RuntimeError: all workers have failed.
    """
    import signal

    context: Any = multiprocessing.get_context(start)
    processes = [context.Process(target=_work, args=(plan, number, workers)) for number in range(workers)]
    for one in processes:
        one.start()
    try:
        for one in processes:
            one.join()
    except BaseException:
        # A worker may lose the first signal, inside a callback of the garbage collector.
        while alive := [one for one in processes if one.is_alive()]:
            for one in alive:
                if one.pid is not None:
                    os.kill(one.pid, signal.SIGINT)
            for one in alive:
                one.join(timeout=15)
        raise
    lost = [number for number, one in enumerate(processes) if one.exitcode]
    for number in lost:
        say(f"worker {number} ended with exit code {processes[number].exitcode}")
    if len(lost) == workers:
        raise RuntimeError(message("--workers", "all workers have failed", advice="Their messages stand above."))


def _work(plan: Plan, number: int, workers: int) -> None:
    """Run one worker in a process of its own."""
    import torch

    from dir.commands.tune_study import Worker
    from dir.recipe.cli import is_user_error
    from dir.recipe.quiet import quiet_lightning
    from dir.recipe.schema import register_configs

    register_configs()
    quiet_lightning()
    if "OMP_NUM_THREADS" not in os.environ:
        # Workers with a thread for each core would wait for each other.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    try:
        Worker(plan, number, lambda line: print(line, flush=True)).work()
    except (KeyboardInterrupt, SystemExit):
        sys.exit(1)
    except Exception as error:
        if not is_user_error(error):
            raise
        sys.exit(str(error))
