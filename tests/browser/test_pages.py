"""Pages of the API in a browser: under their content security policy, on a phone too."""

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect

from tests.api_process import Api

PHONE: Final = {"width": 390, "height": 844}
DESK: Final = {"width": 1440, "height": 900}
_LIMIT_MS: Final = 20_000


class Watched:
    """A page and what went wrong on it: console errors, exceptions, refused or failed requests."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", self._exception)
        page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((origin, "data:", "blob:"))
                else self.wrong.append(f"elsewhere: {request.url}")
            ),
        )

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.wrong.append(message.text)

    def _exception(self, error: Error) -> None:
        self.wrong.append(str(error))


@pytest.fixture(params=[PHONE, DESK], ids=["phone", "desk"])
def watched(request: pytest.FixtureRequest, browser: Browser, api: Api) -> Iterator[Watched]:
    context = browser.new_context(viewport=request.param, is_mobile=request.param is PHONE)
    context.set_default_timeout(_LIMIT_MS)
    yield Watched(context.new_page(), api.url)
    context.close()


def _fits(page: Page) -> bool:
    """No content is wider than the window."""
    fits: bool = page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return fits


def test_the_docs_page_shows_every_endpoint(watched: Watched, api: Api) -> None:
    page = watched.page
    answer = page.goto(f"{api.url}/docs")
    assert answer is not None
    assert "default-src" in (answer.header_value("content-security-policy") or "")
    expect(page.locator("#operations-transactions-createTransaction")).to_be_visible()
    page.locator("#operations-transactions-createTransaction .opblock-summary").click()
    expect(page.get_by_text("X-Idempotency-Key").first).to_be_visible()
    assert watched.wrong == []
    assert _fits(page)


def test_a_request_from_the_docs_page_works_under_the_policy(watched: Watched, api: Api) -> None:
    page = watched.page
    page.goto(f"{api.url}/docs")
    block = page.locator("#operations-health-retrieveHealth")
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    assert watched.wrong == []


def test_the_pages_of_errors_link_to_each_other(watched: Watched, api: Api) -> None:
    page = watched.page
    page.goto(f"{api.url}/docs/errors")
    page.get_by_role("link", name="insufficient_funds").click()
    expect(page.locator("h1")).to_have_text("insufficient_funds")
    assert watched.wrong == []
    assert _fits(page)


@pytest.mark.parametrize("operation", ["holds-voidHold", "payment_requests-payPaymentRequest"])
def test_a_form_without_a_key_sends_a_fresh_one(watched: Watched, api: Api, operation: str) -> None:
    """Without a token the answer is 401: what matters is what was sent."""
    page = watched.page
    page.goto(f"{api.url}/docs")
    block = page.locator(f"#operations-{operation}")
    block.locator(".opblock-summary").click()
    block.get_by_placeholder("id", exact=True).fill("x")
    keys = set()
    for _ in range(2):
        with page.expect_request(lambda request: request.method == "POST") as sent:
            block.get_by_role("button", name="Execute").click()
        keys.add(sent.value.header_value("x-idempotency-key"))
        expect(block.locator(".live-responses-table .response-col_status").last).to_contain_text(
            "401"
        )
    assert None not in keys
    assert len(keys) == 2
