"""The workflows call what developers call, with pinned actions and few rights.

actionlint and zizmor check syntax and dangers; here is what ties them to this repository.
"""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.ship import dockerfile

ROOT: Final = Path(__file__).parents[2]
WORKFLOWS: Final = {
    path.stem: yaml.safe_load(path.read_text("utf-8"))
    for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
}
JOBS: Final[list[tuple[str, dict[str, Any]]]] = [
    (f"{workflow}.{name}", job)
    for workflow, text in WORKFLOWS.items()
    for name, job in text["jobs"].items()
]
MAKEFILE: Final = (ROOT / "Makefile").read_text("utf-8")


def _targets() -> list[str]:
    scripts = [step.get("run", "") for _, job in JOBS for step in job["steps"]]
    return [
        word
        for script in scripts
        for line in re.findall(r"^make ([^|]*)", script, re.MULTILINE)
        for word in line.split()
        if "=" not in word
    ]


@pytest.mark.parametrize("target", sorted(set(_targets())))
def test_each_job_calls_an_existing_make_target(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize(("name", "job"), JOBS, ids=[name for name, _ in JOBS])
def test_each_job_declares_its_rights_and_a_timeout(name: str, job: dict[str, Any]) -> None:
    assert WORKFLOWS[name.partition(".")[0]]["permissions"] == {}
    assert "permissions" in job
    assert job["timeout-minutes"] <= 90
    for step in job["steps"]:
        if "uses" in step:
            assert re.search(r"@[0-9a-f]{40}$", step["uses"]), step["uses"]
        if str(step.get("uses", "")).startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_every_workflow_has_a_concurrency_group() -> None:
    assert all("group" in text["concurrency"] for text in WORKFLOWS.values())


def test_tests_run_on_every_supported_version() -> None:
    matrix = WORKFLOWS["ci"]["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert matrix["postgres"] == ["15", "18"]
    assert matrix["redis"] == ["redis:7", "valkey/valkey:8"]
    everything = set(WORKFLOWS["ci"]["jobs"]) - {"green"}
    assert set(WORKFLOWS["ci"]["jobs"]["green"]["needs"]) == everything


def test_the_image_is_built_with_the_uv_version_of_the_makefile() -> None:
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", MAKEFILE, re.MULTILINE)
    build, _ = dockerfile.read(ROOT / "Dockerfile")
    assert f"UV_VERSION={version}" in build.values("ARG")
