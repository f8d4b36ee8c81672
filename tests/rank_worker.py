"""One rank of a test that needs several: run by the fixture `spawn_ranks` in a separate process."""

from __future__ import annotations

import importlib.util
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def run_rank(job: dict[str, Any]) -> None:
    """Call `FUNCTION` of `FILE` inside a gloo group and leave its result, or the traceback, in `FOLDER`."""
    folder, rank, world_size = Path(job["FOLDER"]), job["RANK"], job["WORLD_SIZE"]
    torch.set_num_threads(1)
    try:
        spec = importlib.util.spec_from_file_location("rank_test_module", job["FILE"])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        dist.init_process_group(
            "gloo",
            init_method=(folder / "store").as_uri(),
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=60),
        )
        args = torch.load(folder / "args.pt", weights_only=True)
        result = getattr(module, job["FUNCTION"])(rank, world_size, *args)
        torch.save(result, folder / f"result_{rank}.pt")
        dist.barrier()
    except BaseException:
        (folder / f"error_{rank}.txt").write_text(f"rank {rank}:\n{traceback.format_exc()}")
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


if __name__ == "__rank__":
    run_rank(globals()["JOB"])
