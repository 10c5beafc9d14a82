"""Examples of the OpenAPI document, which fill the forms of the docs page, work in development."""

from typing import Any, Final

from finpay.dev.seed import PASSWORD
from finpay.edge import openapi
from tests.api_process import Api

# Those whose paths have an id need one that exists, and so do tokens.
TRIED: Final = {
    "createTransaction", "createTransferBatch", "createHold", "createWithdrawal",
    "createPaymentRequest", "splitPayment", "createSchedule", "updateAccount",
    "createWebhookEndpoint", "login",
}  # fmt: skip


def test_each_is_accepted(seeded: Api) -> None:
    client = seeded.client()
    client.login("alice@finpay.dev", PASSWORD)
    examples = _examples()
    assert examples.keys() == TRIED
    for operation, (method, path, body) in examples.items():
        headers = {"X-Idempotency-Key": operation}
        answer = client.request(method, path, json=body, headers=headers)
        assert answer.status in {200, 201}, (operation, answer.body)
    seeded.verify()


def _examples() -> dict[str, tuple[str, str, Any]]:
    """Method, path and body of each operation that has one."""
    found: dict[str, tuple[str, str, Any]] = {}
    for path, methods in openapi.document()["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            example = content.get("application/json", {}).get("example")
            if example is not None and "{id}" not in path:
                found[operation["operationId"]] = (method.upper(), path, example)
    return found
