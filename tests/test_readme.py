"""README's drop-in lines run as they stand there."""

import re
from pathlib import Path

import torch

README = Path(__file__).resolve().parents[1] / "README.md"


def test_drop_in_lines_run_in_a_plain_loop():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    torch.manual_seed(0)
    names: dict = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    fds, lds, bins = names["fds"], names["lds"], names["bins"]
    # Three epochs were closed and the tables are live: the lines did what they say.
    assert fds.epoch.item() == 3
    assert not torch.equal(fds.scale[:-1], torch.ones_like(fds.scale[:-1]))
    rare, crowd = lds(torch.tensor([75.0, 35.0]))
    assert rare > 3 * crowd
    assert torch.isfinite(names["loss"])
    assert bins.num_bins == 121
