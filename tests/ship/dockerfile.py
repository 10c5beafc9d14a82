"""Executes a Dockerfile in folders, where there is no container engine.

Only the instructions that ours uses; another one is an error, not a silent gap. Absolute paths that
begin with one of `roots` are moved below a folder, the same one for all stages, so that what a
stage copies from another has to be there. What this can't show: the base image, its permissions.
"""

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_LIMIT_S: Final = 240.0  # a first installation of all dependencies


@dataclass(slots=True)
class Section:
    """One stage of a Dockerfile: the base in FROM, and the instructions after it in order."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def values(self, keyword: str) -> list[str]:
        return [value for word, value in self.instructions if word == keyword]


def read(path: Path) -> list[Section]:
    """The stages. Comments and ARGs before the first FROM are left out."""
    text = "\n".join(
        line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")
    )
    stages: list[Section] = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        keyword, value = line.split(maxsplit=1)
        if keyword == "FROM":
            base, _, name = value.partition(" AS ")
            stages.append(Section(base.strip(), name.strip()))
        elif stages:
            stages[-1].instructions.append((keyword, " ".join(value.split())))
    return stages


@dataclass(slots=True)
class Builder:
    """Executes stages below `folder`, with the files of `context`."""

    context: Path
    folder: Path
    roots: tuple[str, ...]
    environment: dict[str, str]
    _workdir: str = "/"

    def build(self, stage: Section) -> None:
        for keyword, value in stage.instructions:
            match keyword:
                case "ARG" | "ENV":
                    self._set(value)
                case "WORKDIR":
                    self._workdir = value
                    self.moved(value).mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(value)
                case "RUN" if value.startswith("apt-get "):
                    pass  # the machine's own packages are not the test's to change
                case "RUN":
                    self._run(value)
                case "LABEL" | "USER" | "EXPOSE" | "HEALTHCHECK" | "CMD":
                    pass
                case _:
                    raise AssertionError(f"{keyword} is new: teach it here")

    def moved(self, path: str) -> Path:
        assert path.startswith(self.roots), f"{path} is outside of {self.roots}"
        return self.folder / path.lstrip("/")

    def command(self, value: str) -> list[str]:
        """A command in its exec form, as CMD and HEALTHCHECK have it."""
        words: list[str] = json.loads(value[value.index("[") :])
        return words

    def text(self, value: str) -> str:
        """`value` with its paths moved."""
        pattern = "|".join(re.escape(root) for root in self.roots)
        return re.sub(rf"(?<![\w/.])({pattern})(?=[/\s\"':]|$)", rf"{self.folder}\1", value)

    def _set(self, value: str) -> None:
        for pair in shlex.split(value):
            name, _, setting = pair.partition("=")
            setting = re.sub(r"\$\{?(\w+)\}?", lambda m: self.environment.get(m[1], ""), setting)
            self.environment[name] = self.text(setting)

    def _copy(self, value: str) -> None:
        *sources, target = shlex.split(value)
        if sources[0].startswith("--from="):
            assert sources[1:] == [target], "the same path in both stages: nothing to move"
            assert self.moved(target).exists()
            return
        for source in sources:
            origin = self.context / source
            folder = self.moved(str(Path(self._workdir, target)))
            if origin.is_dir():
                shutil.copytree(origin, folder, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(origin, folder)

    def _run(self, value: str) -> None:
        command = re.sub(r"--mount=\S+\s+", "", value)
        done = subprocess.run(
            ["/bin/sh", "-ec", self.text(command)],
            cwd=self.moved(self._workdir) if self._workdir != "/" else self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"RUN {value}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
