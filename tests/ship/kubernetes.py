"""Checks Kubernetes manifests against the schemas of a release, without a cluster.

`kubectl kustomize deploy/kubernetes/example | python -m tests.ship.kubernetes`
"""

import sys
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import yaml

# The oldest release that still gets mended, and the newest that there are schemas of.
RELEASES: Final = ("1.34", "1.37")
BASE: Final = Path(__file__).parents[2] / "deploy/kubernetes/base"


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def base() -> list[dict[str, Any]]:
    """Every manifest of the base, as it stands in its file."""
    return [
        document
        for path in sorted(BASE.glob("*.yaml"))
        for document in documents(path.read_text("utf-8"))
        if document["kind"] != "Kustomization"
    ]


def check(manifest: dict[str, Any]) -> None:
    """An unknown or misspelt field is an error, as it would be ignored by a cluster."""
    for release in RELEASES:
        kubernetes_validate.validate(manifest, release, strict=True)


if __name__ == "__main__":
    rendered = documents(sys.stdin.read())
    assert rendered, "nothing was rendered"
    for document in rendered:
        check(document)
    sys.stdout.write(f"{len(rendered)} manifests are right for {' and '.join(RELEASES)}\n")
