"""Prepares the pages of the documentation site; zensical makes them HTML. `make docs`.

The pages in docs/ are written for the repository. The site differs in three ways: a link to code
becomes text, because the site has no code; pages of the repository's root are added; and the API
reference is generated from the OpenAPI document.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from finpay.edge.openapi import document

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
SITE: Final = ROOT / ".site"
CONFIG: Final = ROOT / ".zensical.yml"
FROM_ROOT: Final = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")

# In the order of the menu. A folder means all of its pages; a test finds pages without an entry.
MENU: Final[dict[str, list[str]]] = {
    "Begin": ["index.md", "quickstart.md"],
    "Concepts": [
        "concepts/idempotency.md",
        "concepts/money.md",
        "concepts/holds.md",
        "concepts/refunds.md",
        "concepts/withdrawals.md",
        "concepts/statements.md",
        "concepts/errors.md",
        "concepts/events.md",
        "concepts/payment-requests.md",
        "concepts/schedules.md",
        "glossary.md",
    ],
    "Reference": [
        "contract.md",
        "api.md",
        "sdk.md",
        "errors.md",
        "settings.md",
        "webhooks.md",
        "events/README.md",
        "events/types.md",
    ],
    "Deployment": [
        "deployment/README.md",
        "deployment/docker-compose.md",
        "deployment/railway.md",
        "deployment/render.md",
        "deployment/kubernetes.md",
    ],
    "Operations": [
        "failure-modes.md",
        "operations/",
        "SECURITY.md",
    ],
    "Evidence": ["performance.md", "performance/", "reliability.md", "reliability/"],
    "Inside": ["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"],
    "Decisions": ["decisions/"],
}

_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")
_FENCE: Final = re.compile(r"^( *)(`{3,}).*?^\1\2 *$", re.DOTALL | re.MULTILINE)


def prepare() -> None:
    """Fill `.site` with pages and write the configuration with their menu."""
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(DOCS, SITE, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name in FROM_ROOT:
        shutil.copy(ROOT / name, SITE / name)
    (SITE / "api.md").write_text(api_reference(document()), "utf-8")
    for page in SITE.rglob("*.md"):
        page.write_text(_for_the_site(page.read_text("utf-8"), page), "utf-8")
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    CONFIG.write_text(yaml.safe_dump({**config, "nav": menu()}, sort_keys=False), "utf-8")


def menu() -> list[dict[str, list[str]]]:
    """Each title with its pages, as mkdocs.yml expects it."""
    present = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.md"))
    return [
        {title: [page for entry in entries for page in present if matches(page, entry)]}
        for title, entries in MENU.items()
    ]


def matches(page: str, entry: str) -> bool:
    return page.startswith(entry) if entry.endswith("/") else page == entry


def _for_the_site(text: str, page: Path) -> str:
    """Rewrites links outside of code blocks."""
    done, position = [], 0
    for fence in _FENCE.finditer(text):
        done += [_links(text[position : fence.start()], page), fence[0]]
        position = fence.end()
    return "".join([*done, _links(text[position:], page)])


def _links(text: str, page: Path) -> str:
    def rewritten(link: re.Match[str]) -> str:
        picture, label, target, anchor = link[1], link[2], link[3], link[4] or ""
        path = _site_path(page, target)
        if path is not None:
            return f"{picture}[{label}]({path}{anchor})"
        return label

    return _LINK.sub(rewritten, text)


def _site_path(page: Path, target: str) -> str | None:
    """The path of `target` in the site, relative to `page`; None if it is not in the site."""
    folder = ROOT if page.name in FROM_ROOT else DOCS / page.relative_to(SITE).parent
    source = Path(os.path.normpath(folder / target))
    if not source.is_file():
        return None
    if source.parent == ROOT and source.name in FROM_ROOT:
        return os.path.relpath(SITE / source.name, page.parent)
    if source.is_relative_to(DOCS) and source.suffix != ".py":
        return os.path.relpath(SITE / source.relative_to(DOCS), page.parent)
    return None


def api_reference(api: dict[str, Any]) -> str:
    """One section per operation, one per schema, in the order of the document."""
    lines = ["# API reference", "", "Generated from the OpenAPI document (`finpay openapi`). Your"]
    lines += ["own server has it at `/openapi.json`, and `/docs` to try it.", ""]
    tag = ""
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                lines += [f"## {tag.replace('_', ' ').capitalize()}", ""]
            lines += _operation(method, path, operation)
    lines += ["## Schemas", ""]
    for name, schema in api["components"]["schemas"].items():
        lines += _schema(name, schema)
    return "\n".join(lines)


def _operation(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    lines = [f"### {operation['summary']}", "", f"`{method.upper()} {path}`", ""]
    lines += ["Needs an access token.", ""] if operation.get("security") else []
    if operation["parameters"]:
        lines += ["| parameter | in | type | |", "|---|---|---|---|"]
        for parameter in operation["parameters"]:
            required = " **required**" if parameter.get("required") else ""
            text = _cell(parameter.get("description", "")) + required
            kind = _type(parameter["schema"])
            lines += [f"| `{parameter['name']}` | {parameter['in']} | {kind} | {text} |"]
        lines += [""]
    if "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        lines += [f"Body: {_type(content['schema'])}", ""]
    lines += ["| status | schema | |", "|---|---|---|"]
    for status, answer in operation["responses"].items():
        kinds = {_type(content["schema"]) for content in answer.get("content", {}).values()}
        lines += [f"| {status} | {', '.join(sorted(kinds))} | {_cell(answer['description'])} |"]
    return [*lines, ""]


def _schema(name: str, schema: dict[str, Any]) -> list[str]:
    lines = [f"### {name}", "", _cell(schema.get("description", "")), ""]
    if "properties" in schema:
        required = schema.get("required", [])
        lines += ["| member | type | |", "|---|---|---|"]
        for member, kind in schema["properties"].items():
            absent = "" if member in required else " *optional*"
            text = _cell(kind.get("description", "")) + absent
            lines += [f"| `{member}` | {_type(kind)} | {text} |"]
        lines += [""]
    return lines


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(kind) for kind in schema["anyOf"])
    if "enum" in schema:
        return " · ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _cell(text: str) -> str:
    """Text on one line, for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    prepare()
