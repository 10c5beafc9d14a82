"""Who may use the routes of operators: the role, and outside development the second factor."""

from uuid import UUID

import pytest

from finpay.edge.authentication import authorise, is_operating
from finpay.edge.operator_routes import OPERATOR_ROUTES
from finpay.edge.router import Route
from finpay.edge.routes import ROUTES
from finpay.errors import Code
from finpay.identity.access_tokens import Principal, Role

NO_ID = UUID(int=0)
READ = next(route for route in OPERATOR_ROUTES if route.method == "GET")
ACT = next(route for route in OPERATOR_ROUTES if route.operates)
OWN = next(route for route in ROUTES if route.path.endswith("/accounts"))


def principal(
    role: Role, scopes: frozenset[str] | None = None, *, factor: bool = False
) -> Principal:
    return Principal(NO_ID, NO_ID, NO_ID, "usr", "acc", "ses", 0, 0, scopes, role, factor=factor)


def refused(caller: Principal, route: Route, *, second_factor: bool = False) -> Code | None:
    error = authorise(caller, route, second_factor=second_factor)
    return None if error is None else error.code


@pytest.mark.contract("12.1.1", "12.1.2")
@pytest.mark.parametrize(
    ("role", "may_read", "may_act"),
    [("user", False, False), ("auditor", True, False), ("operator", True, True)],
)
def test_a_role_opens_its_routes(role: Role, *, may_read: bool, may_act: bool) -> None:
    assert (refused(principal(role), READ) is None) is may_read
    assert (refused(principal(role), ACT) is None) is may_act
    assert refused(principal(role), OWN) is None


@pytest.mark.contract("12.1.3")
def test_outside_development_a_role_needs_a_second_factor() -> None:
    for role in ("operator", "auditor"):
        without, with_one = principal(role), principal(role, factor=True)
        assert refused(without, READ, second_factor=True) is Code.FORBIDDEN
        assert refused(with_one, READ, second_factor=True) is None
        assert refused(without, OWN, second_factor=True) is None
    other = principal("user", factor=True)
    assert refused(other, READ, second_factor=True) is Code.FORBIDDEN


@pytest.mark.contract("12.1.1")
def test_a_key_is_never_an_operator() -> None:
    key = principal("operator", frozenset({"account:read"}), factor=True)
    assert refused(key, READ) is Code.FORBIDDEN
    assert not is_operating(key, READ)
    assert is_operating(principal("auditor"), READ)
    assert not is_operating(principal("user"), READ)
    assert not is_operating(principal("operator"), OWN)
