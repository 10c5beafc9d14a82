"""Deployment files: they agree with each other and with FinPay's settings and commands.

Their syntax and schemas are checked by linters in `make check`; here is what no linter knows.
"""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml

from finpay.cli.main import _app as cli
from finpay.settings import Settings
from tests.ship import dockerfile, kubernetes

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
EXAMPLE: Final = (ROOT / "deploy/compose/env.example").read_text("utf-8")
RENDER: Final[dict[str, Any]] = yaml.safe_load((ROOT / "render.yaml").read_text("utf-8"))
RAILWAY: Final[dict[str, Any]] = runpy.run_path(str(ROOT / ".railway/railway.py"))[
    "main"
]().to_graph()
MANIFESTS: Final = kubernetes.base()
OURS: Final = ("migrate", "api", "worker")
DRAIN_S: Final = 1 + 20  # notice, then what is in flight: app.py, serving.py
_KNOWN: Final = {str(field.alias) for field in Settings.model_fields.values()}


def _railway(name: str) -> dict[str, Any]:
    return next(item for item in RAILWAY["resources"] if item["name"] == name)


def _render(name: str) -> dict[str, Any]:
    return next(service for service in RENDER["services"] if service["name"] == name)


def _manifest(kind: str, name: str) -> dict[str, Any]:
    return next(m for m in MANIFESTS if m["kind"] == kind and m["metadata"]["name"] == name)


def _commands() -> Iterator[tuple[str, str]]:
    """Each place that starts a command of FinPay, and the command as one line."""
    for name in OURS:
        yield f"compose {name}", " ".join(COMPOSE["services"][name]["command"])
    for service in RENDER["services"]:
        if "dockerCommand" in service:
            yield f"render {service['name']}", service["dockerCommand"]
        if "preDeployCommand" in service:
            yield f"render {service['name']} before", service["preDeployCommand"]
    for name in ("api", "worker"):
        deploy = _railway(name)["deploy"]
        yield f"railway {name}", deploy["startCommand"]
        for command in deploy.get("preDeployCommand", []):
            yield f"railway {name} before", command
    for manifest in MANIFESTS:
        for container in _containers(manifest):
            yield f"kubernetes {container['name']}", " ".join(container["command"])
    (command,) = dockerfile.read(ROOT / "Dockerfile")[-1].values("CMD")
    yield "image", " ".join(yaml.safe_load(command))


def _containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    template = manifest.get("spec", {}).get("template", {})
    containers: list[dict[str, Any]] = template.get("spec", {}).get("containers", [])
    return containers


def _settings() -> Iterator[tuple[str, str]]:
    for name in OURS:
        for setting in COMPOSE["services"][name]["environment"]:
            yield f"compose {name}", setting
    for service in RENDER["services"]:
        for variable in service.get("envVars", []):
            yield f"render {service['name']}", variable["key"]
    for name in ("api", "worker"):
        for setting in _railway(name)["variables"]:
            yield f"railway {name}", setting
    for setting in _manifest("ConfigMap", "finpay")["data"]:
        yield "kubernetes", setting
    for setting in re.findall(r"^ENV|\b(FINPAY_\w+)=", (ROOT / "Dockerfile").read_text("utf-8")):
        if setting:
            yield "image", setting


@pytest.mark.parametrize(("where", "command"), list(_commands()))
def test_every_command_exists(where: str, command: str) -> None:
    words = command.split()
    assert words[0] == "finpay", where
    assert words[1] in typer.main.get_group(cli).list_commands(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("where", "setting"), sorted(set(_settings())))
def test_every_setting_exists(where: str, setting: str) -> None:
    """FinPay refuses to start with an unknown setting."""
    assert setting in _KNOWN, where


def test_compose_asks_for_each_secret_and_has_none() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    names = set(re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE))
    passwords = {"POSTGRES_PASSWORD", "FINPAY_APP_PASSWORD", "FINPAY_OPERATOR_PASSWORD"}
    assert names == passwords | {"FINPAY_JWT_SECRET"}
    for name in names:
        assert re.search(rf"\$\{{{name}:\?", text)
        assert not re.search(rf"\$\{{{name}(:-|-|\}})", text), "no default for a secret"


def test_compose_publishes_the_proxy_alone() -> None:
    services = COMPOSE["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "redis", "migrate"):
        assert services[name]["networks"] == ["inside"]
    assert set(services["proxy"]["networks"]).isdisjoint({"inside"})
    owners = [name for name in services if "POSTGRES_PASSWORD" in str(services[name])]
    assert owners == ["postgres", "migrate"], "the API never sees the owner's password"
    operators = [name for name in services if "FINPAY_OPERATOR_PASSWORD" in str(services[name])]
    assert operators == ["postgres", "api"], "the worker needs no operators"


def test_compose_starts_in_order_when_all_are_healthy() -> None:
    services = COMPOSE["services"]
    gates = {
        name: {other: gate["condition"] for other, gate in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    done = {"migrate": "service_completed_successfully", "redis": "service_healthy"}
    assert gates["migrate"] == {"postgres": "service_healthy"}
    assert gates["api"] == gates["worker"] == done
    assert gates["proxy"] == {"api": "service_healthy"}
    for name in ("postgres", "redis", "api"):
        assert services[name]["healthcheck"]["test"][0] == "CMD"
    assert services["api"]["deploy"]["replicas"] == 2
    assert "/readyz" in services["api"]["healthcheck"]["test"]


@pytest.mark.parametrize("name", OURS)
def test_compose_gives_our_containers_no_more_than_they_need(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108  within a container
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_S


def test_render_and_railway_wait_for_readyz_and_for_the_drain() -> None:
    api = _render("finpay-api")
    assert (api["healthCheckPath"], api["preDeployCommand"]) == ("/readyz", "finpay migrate")
    for name in ("finpay-api", "finpay-worker"):
        assert _render(name)["maxShutdownDelaySeconds"] > DRAIN_S
    deploy = _railway("api")["deploy"]
    assert (deploy["healthcheckPath"], deploy["preDeployCommand"]) == (
        "/readyz",
        ["finpay migrate"],
    )
    for name in ("api", "worker"):
        assert _railway(name)["deploy"]["drainingSeconds"] > DRAIN_S
    assert deploy["overlapSeconds"] > 0


def test_render_wires_what_it_declares() -> None:
    declared = {service["name"] for service in RENDER["services"]}
    databases = {database["name"] for database in RENDER["databases"]}
    for service in RENDER["services"]:
        for variable in service.get("envVars", []):
            if "fromDatabase" in variable:
                assert variable["fromDatabase"]["name"] in databases
            if "fromService" in variable:
                assert variable["fromService"]["name"] in declared
    regions = {item["region"] for item in [*RENDER["services"], *RENDER["databases"]]}
    assert len(regions) == 1, "inside one region, over the private network"
    assert all(item["ipAllowList"] == [] for item in RENDER["databases"])
    assert _render("finpay-cache")["ipAllowList"] == []


def test_railway_keeps_secrets_out_of_the_file() -> None:
    for name in ("api", "worker"):
        assert _railway(name)["variables"]["FINPAY_JWT_SECRET"] == {"type": "preserve"}
    assert not (ROOT / "railway.json").exists(), "no longer read from 2026-12-01 on"
    assert not (ROOT / "railway.toml").exists()


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda m: f"{m['kind']}-{m['metadata']['name']}"
)
def test_kubernetes_knows_every_field(manifest: dict[str, Any]) -> None:
    kubernetes.check(manifest)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("Job", "finpay-migrate"), ("Deployment", "finpay-api"), ("Deployment", "finpay-worker")],
)
def test_kubernetes_pods_have_no_rights(kind: str, name: str) -> None:
    manifest = _manifest(kind, name)
    pod = manifest["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = _containers(manifest)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    sees_owner = {"secretRef": {"name": "finpay-owner"}} in container["envFrom"]
    assert sees_owner is (name == "finpay-migrate")
    operator = {"secretRef": {"name": "finpay-operator", "optional": True}}
    assert (operator in container["envFrom"]) is (name == "finpay-api")


def test_kubernetes_probes_and_drains() -> None:
    pod = _manifest("Deployment", "finpay-api")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    pause_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause_s + DRAIN_S


def test_kubernetes_policies_select_pods_that_exist() -> None:
    """A cluster reports no error for a policy that selects no pod."""
    kustomization = yaml.safe_load((kubernetes.BASE / "kustomization.yaml").read_text("utf-8"))
    (added,) = kustomization["labels"]
    assert added["includeTemplates"] is True
    pods = [
        {**m["spec"]["template"]["metadata"]["labels"], **added["pairs"]}
        for m in MANIFESTS
        if "template" in m.get("spec", {})
    ]
    assert len(pods) == 3
    for manifest in MANIFESTS:
        spec = manifest.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector", {})
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= pod.items() for pod in pods), manifest["metadata"]["name"]
    assert set(kustomization["resources"]) == {
        path.name for path in kubernetes.BASE.glob("*.yaml") if path.name != "kustomization.yaml"
    }
