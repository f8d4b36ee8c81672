"""Each shell command of the pages names a program, options and settings that exist. Nothing is trained."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from dir.commands.names import COMMANDS
from dir.recipe.cli import config_dir

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = Path(config_dir())
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Programs that are not ours.
FOREIGN = {
    "bash",
    "cat",
    "cd",
    "curl",
    "export",
    "docker",
    "git",
    "head",
    "kubectl",
    "ls",
    "mike",
    "mkdir",
    "mkdocs",
    "mlflow",
    "mypy",
}
FOREIGN |= {"pip", "pytest", "ruff", "source", "tensorboard", "venv", "wc"}
LAUNCHERS = {"torchrun", "sbatch", "srun"}
# Files and configs that docs/extending.md and docs/adapters.md let the reader write.
WRITTEN = {"data=houses", "data=waves", "method=log_cosh", "method=duplicate_rare", "method=lds_huber"}
WRITTEN |= {"regularizer=feature_norm", "make_houses.py"}


class Command(NamedTuple):
    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def commands(path: Path) -> list[Command]:
    """Return the commands of the blocks ``bash`` of a page, with the variables of the page put in."""
    found, variables = [], dict[str, str]()
    text = path.read_text(encoding="utf-8")
    written = set(re.findall(r'^```python title="([^"]+)"', text, flags=re.MULTILINE))
    for block in re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        told = re.sub(r"(^|[ \t]+)#.*", "", block, flags=re.MULTILINE).replace("\\\n", " ")
        # A quoted text may go over several lines.
        for line in re.sub(r"\"[^\"]*\"|'[^']*'", lambda quoted: quoted[0].replace("\n", " "), told).splitlines():
            if assigned := re.fullmatch(r'([A-Z]+)="(.*)"', line):
                variables[assigned[1]] = put_in(assigned[2], variables)
                continue
            for part in re.split(r"\s(?:&&|\|)\s", line):
                words = [
                    word
                    for token in shlex.split(part)
                    for word in (put_in(token, variables).split() if token.startswith("$") else [token])
                ]
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # a variable of this command alone
                    words = words[1:]
                if words and not (words[0] == "python" and words[1] in written):
                    found.append(Command(path.name, tuple(words)))
    return found


def put_in(text: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$([A-Z]+)", lambda name: variables.get(name[1], name[0]), text)


ALL = [command for page in PAGES for command in commands(page)]


def source(words: tuple[str, ...]) -> tuple[str | None, str, tuple[str, ...]]:
    """Return the name among our commands, the text of the program, and the arguments of a command.

    Raises:
        AssertionError: there is no such program.
    """
    if words[0] in LAUNCHERS:
        inside = [part for word in words for part in word.split()]  # --wrap holds a command
        return "train", "", tuple(inside[inside.index("scripts/train.py") + 1 :])
    if words[0].startswith("dir-"):
        name, rest = words[0].removeprefix("dir-"), words[1:]
    elif words[:3] == ("python", "-m", "dir"):
        name, rest = words[3], words[4:]
    elif words[:2] == ("python", "-m"):
        place = ROOT / words[2].replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), f"{words[2]}: no such module"
        # The parsers of the benchmarks share options.
        files = [*place.parent.glob("*.py"), *place.glob("*.py")]
        return None, "\n".join(file.read_text(encoding="utf-8") for file in files), words[3:]
    elif words[0] == "python" and words[1].startswith("scripts/"):
        assert (ROOT / words[1]).is_file(), words[1]
        name, rest = Path(words[1]).stem.replace("_", "-"), words[2:]
    else:
        assert words[0] == "python", f"{words[0]}: no such program"
        return None, (ROOT / words[1]).read_text(encoding="utf-8"), words[2:]
    assert name in COMMANDS, f"dir-{name}: no such command"
    module = COMMANDS[name].function.partition(":")[0]
    files = [ROOT / f"{module.replace('.', '/')}.py", *(ROOT / "dir/commands").glob("*.py")]
    return name, "\n".join(file.read_text(encoding="utf-8") for file in files), rest


def check_settings(arguments: list[str]) -> None:
    """Parse overrides as Hydra does, and look for their groups, choices and first keys among the configs."""
    keys = set(re.findall(r"^(\w+):", (CONFIGS / "train.yaml").read_text(encoding="utf-8"), flags=re.MULTILINE))
    # retrain=RUN is read by the command itself.
    keys |= {"retrain", *(folder.name for folder in CONFIGS.iterdir() if folder.is_dir())}
    for override in OverridesParser.create().parse_overrides(arguments):
        key = override.key_or_group
        value = override.value()
        if key.startswith("hydra"):
            continue
        assert key.split(".")[0] in keys, f"{key}: no such setting"
        if (
            (CONFIGS / key).is_dir()
            and isinstance(value, str)
            and "$" not in value
            and not override.is_sweep_override()
        ):
            assert (CONFIGS / key / f"{value}.yaml").is_file() or f"{key}={value}" in WRITTEN, f"{key}={value}"
        if (CONFIGS / key).is_dir() and override.is_choice_sweep():
            for choice in override.sweep_string_iterator():
                assert (CONFIGS / key / f"{choice}.yaml").is_file() or f"{key}={choice}" in WRITTEN, choice


def test_the_pages_hold_commands() -> None:
    assert len(ALL) > 150
    assert {command.page for command in ALL} >= {"README.md", "tables.md", "first_run.md", "CONTRIBUTING.md"}


@pytest.mark.parametrize("command", ALL, ids=str)
def test_a_command_of_a_page_exists(command: Command) -> None:
    words = command.words
    if words[0] in FOREIGN or (words[1:2] == ("-m",) and words[2] in FOREIGN):
        return
    if len(words) > 1 and words[1] in WRITTEN:
        return
    name, text, arguments = source(words)
    arguments = tuple(word for word in arguments if word != "...")
    if name == "train":
        assert {word for word in arguments if word.startswith("-")} <= {"-m", "--multirun", "--config-dir", "--cfg"}
        check_settings([word for word in arguments if "=" in word])
        return
    for option in arguments:
        if option.startswith("--"):
            assert f'"{option.partition("=")[0]}"' in text, f"{option}: no such option"
    if name in {"describe", "recommend", "tune", "evaluate"}:
        known = {"ckpt", "trust"} if name == "evaluate" else set()
        check_settings(
            [word for word in arguments if "=" in word and word[0] != "-" and word.split("=")[0] not in known]
        )
    elif name in {"predict", "export", "tradeoff"}:
        for word in arguments:
            key = word.partition("=")[0]
            assert re.search(rf"\b{re.escape(key)}\b", text), f"{key}: no such argument"


@pytest.mark.parametrize(
    "line", ["dir-trian x=1", "dir-train methd=lds", "dir-train method=ldss", "dir-compare X --metric mae"]
)
def test_a_wrong_command_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        test_a_command_of_a_page_exists(Command("page.md", tuple(line.split())))
