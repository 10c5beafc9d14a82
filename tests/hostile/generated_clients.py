"""Go and Java clients, generated from the unmodified OpenAPI document, compile and send money.

`make test-generators`: needs a JDK, Maven and Go, and Maven Central for the generator and the
libraries of the Java client. pytest collects this file only when it is named.
"""

import subprocess
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from finpay.edge import openapi
from tests.api_process import PASSWORD, Api

VERSION: Final = "7.16.0"  # of OpenAPI Generator
PROGRAMS: Final = Path(__file__).with_name("programs")
LIMIT_S: Final = 900.0  # the first time, Maven fetches the libraries
BALANCE: Final = 9_000_000_000  # more than 32 bits hold
AMOUNT: Final = 3_000_000_000

_NUMBERS: Final = count(1)
Program = Sequence[str | Path]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4_000:]
    return done.stdout


@pytest.fixture(scope="session")
def generate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Call it with a generator and its options for the folder of a client."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_bytes(openapi.encoded())
    artifact = f"org.openapitools:openapi-generator-cli:{VERSION}"
    run("mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}",
        f"-DoutputDirectory={folder}", cwd=folder)  # fmt: skip

    def client(name: str, *options: str) -> Path:
        jar = folder / f"openapi-generator-cli-{VERSION}.jar"
        run("java", "-jar", jar, "generate", "-i", "openapi.json", "-g", name, "-o", name, *options,
            cwd=folder)  # fmt: skip
        return folder / name

    return client


@pytest.fixture(scope="session")
def go(generate: Callable[..., Path]) -> Program:
    folder = generate("go", "--additional-properties=packageName=finpay,withGoMod=false")
    (folder / "go.mod").write_text("module finpay\n\ngo 1.21\n")
    run("rm", "-r", "test", cwd=folder)  # examples that need a test library
    (folder / "program").mkdir()
    (folder / "program/main.go").write_bytes((PROGRAMS / "generated.go").read_bytes())
    run("go", "vet", "./...", cwd=folder)
    run("go", "build", "-o", "sends_money", "./program", cwd=folder)
    return [folder / "sends_money"]


@pytest.fixture(scope="session")
def java(generate: Callable[..., Path]) -> Program:
    folder = generate("java", "--library=native")
    run("mvn", "-q", "-B", "-DskipTests", "compile", "dependency:copy-dependencies", cwd=folder)
    classes = f"{folder}/target/classes:{folder}/target/dependency/*"
    return ["java", "-cp", classes, PROGRAMS / "Generated.java"]


@pytest.mark.fault("G1", "G2", "G3", "G4")
@pytest.mark.parametrize("language", ["go", "java"])
def test_generated_client_sends_money(
    request: pytest.FixtureRequest, api: Api, tmp_path: Path, language: str
) -> None:
    program: Program = request.getfixturevalue(language)
    alice = api.user(BALANCE)
    arguments = (api.url, alice.email, PASSWORD, f"{language}{next(_NUMBERS)}@example.com", "a-key")
    sent, repeated, listed, balance, made, read = run(*program, *arguments, cwd=tmp_path).split()
    assert sent == repeated == listed
    assert int(balance) == alice.balance == BALANCE - AMOUNT
    assert made == read
