"""The API conforms to its OpenAPI document: Schemathesis searches for differences."""

import re
from typing import Any, Final

import jsonschema_rs
import pytest
import schemathesis
from schemathesis import Case
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.config import SchemathesisConfig

from finpay.edge import openapi
from finpay.edge.router import Router
from finpay.edge.routes import ROUTES
from tests.api.operators import operator
from tests.api_process import Api, User
from tests.faults.api_probes import ask

EXAMPLES: Final = 40  # of each operation, in addition to those that cover its schema systematically
ENDS_SESSIONS: Final = frozenset({"/api/v1/auth/logout", "/api/v1/auth/password"})


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    served: dict[str, Any] = ask(api, "/openapi.json").json()
    return served


@pytest.fixture(scope="module")
def caller(api: Api) -> User:
    return api.user(1_000_000)


@pytest.fixture(scope="module")
def boss(api: Api) -> User:
    return operator(api)


@pytest.fixture(scope="module")
def leaver(api: Api) -> User:
    """A user whose session may end."""
    return api.user()


_SCHEMA: Final = schemathesis.openapi.from_dict(
    openapi.document(),
    config=SchemathesisConfig.from_dict(
        {
            "seed": 20261122,
            "suppress-health-check": ["all"],
            "generation": {"max-examples": EXAMPLES, "database": "none", "no-shrink": True},
        }
    ),
)


@_SCHEMA.parametrize()
def test_responses_conform_to_the_document(
    case: Case[Any], api: Api, caller: User, leaver: User, boss: User
) -> None:
    """All checks but one: that valid data is accepted, which the state of the ledger decides.

    A parameter whose value is empty never gets into the URL, so what arrives may well be valid. A
    dry run does not look at its key, so that may be anything.
    """
    excluded = [positive_data_acceptance]
    query = case.query or {}
    is_empty = any(value is None or value in ([], {}) for value in query.values())
    if is_empty or query.get("dry_run") in (True, "true"):
        excluded.append(negative_data_rejection)
    user = leaver if case.path in ENDS_SESSIONS else caller
    if case.path.startswith("/api/v1/operator/"):
        user = boss
    headers = {"Authorization": f"Bearer {user.token}"}
    case.call_and_validate(base_url=api.url, headers=headers, excluded_checks=excluded)


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    """The document itself, and every schema in it."""
    assert document == openapi.document(), "the document that is tested is the one that is served"
    assert document["openapi"].startswith("3.1")
    for name, schema in document["components"]["schemas"].items():
        whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema_rs.Draft202012Validator(whole)
        jsonschema_rs.meta.validate(schema)
    operations = [
        operation for methods in document["paths"].values() for operation in methods.values()
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name) for name in names)
    for reference in re.findall(r'"\$ref": ?"#/components/schemas/(\w+)"', str(document)):
        assert reference in document["components"]["schemas"]


@pytest.mark.fault("G2", "G3")
def test_generators_read_one_result_and_named_objects(document: dict[str, Any]) -> None:
    """What `make test-generators` compiles: the lowest 2xx is the result of an operation, and an
    object in a query is a schema without additionalProperties."""
    for methods in document["paths"].values():
        for operation in methods.values():
            assert not {"200", "201"} <= operation["responses"].keys(), operation["operationId"]
            for parameter in operation["parameters"]:
                assert parameter["schema"].get("type") != "object", operation["operationId"]
                name = parameter["schema"].get("$ref", "").rpartition("/")[2]
                schema = document["components"]["schemas"].get(name, {})
                assert "additionalProperties" not in schema, name


def test_the_document_has_every_route_and_no_other(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        assert ("security" in operation) == (route.access == "authenticated")
        assert ("requestBody" in operation) == (route.body is not None)


def test_every_status_in_the_metrics_is_documented(
    api: Api, document: dict[str, Any], caller: User
) -> None:
    """The metrics count all requests of this API, those of other tests too."""
    for path in ("/api/v1/accounts", "/docs/errors/nothing", "/api/v1/transactions/x"):
        caller.client.request("GET", path)
    counted = re.findall(
        r'finpay_http_requests_total\{method="(\w+)",route="(/[^"]*)",status="(\d+)"\}',
        ask(api, "/metrics").text,
    )
    assert len(counted) > 3
    for method, path, status in counted:
        methods = Router(ROUTES).find(path)[0]
        operation = document["paths"][path].get("get" if method == "HEAD" else method.lower())
        if operation is None:
            assert method not in methods
            assert status in {"204", "405"}, (method, path, status)
        else:
            documented = operation["responses"].keys()
            assert {status, f"{status[0]}XX"} & documented, (method, path, status)
