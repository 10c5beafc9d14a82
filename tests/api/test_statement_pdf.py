"""GET /accounts/statement as PDF: what a reader sees, and the process that makes it."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from pypdf import PdfReader

from finpay.edge.handlers.statements import MAX_PDF_ENTRIES
from tests.api.assertions import invalid, problem
from tests.api.statement_accounts import WriteHistory
from tests.api_process import Api, User

PATH = "/accounts/statement"
JANUARY = {"from": "2026-01-01", "to": "2026-01-31"}
A4_POINTS = (595.28, 841.89)
MARKUP = "**bold** {nb} <b>tag</b> __line__ [a](http://x) \\ ("


def document(answer: Any) -> PdfReader:
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/pdf"
    return PdfReader(io.BytesIO(answer.body))


@pytest.mark.contract("11.4.6")
def test_pdf_shows_names_and_descriptions_as_they_are(api: Api) -> None:
    alice, bob = api.user(1_234_567, name="Иван Müller"), api.user(name="Γιώργος 陳 שלום")
    assert alice.send(bob, 1_000, "pdf", description=MARKUP).status == 201
    day = alice.get("/accounts").json()["created_at"][:10]
    shown = document(alice.get(PATH, **{"from": day, "to": day, "format": "pdf"}))
    (page,) = shown.pages
    text = page.extract_text()
    for part in (
        "Account statement", "Иван Müller", alice.email, alice.account_id, "Γιώργος", "□",
        "Opening balance", "12,345.67", "Closing balance", "12,335.67", "10.00", "Page 1 of 1",
    ):  # fmt: skip
        assert part in text, part
    # The other party of a funding is the outside world, whose account id would say nothing.
    outside = alice.get("/accounts/entries").json()["data"][-1]["transaction_id"]
    sender = alice.get(f"/transactions/{outside}").json()["sender_id"]
    assert sender not in text
    assert "Funding\nFunding · " in text
    assert "שלום" in text or "םולש" in text  # readers turn it around, or not
    assert MARKUP in text.replace("\n", " ")
    assert [round(float(side), 2) for side in page.mediabox[2:]] == list(A4_POINTS)
    resources: Any = page["/Resources"]
    fonts = resources["/Font"].values()
    embedded = [font["/DescendantFonts"][0]["/FontDescriptor"] for font in fonts]
    assert len(embedded) == 3
    assert all("/FontFile2" in each for each in embedded)
    assert shown.metadata is not None
    assert (shown.metadata.title or "").startswith("Account statement")


@pytest.mark.contract("11.4.6")
async def test_pages_are_numbered_and_have_every_entry(
    api: Api, write_history: WriteHistory
) -> None:
    user = api.user(name="Alice")
    await write_history(api, user, api.user(name="Bob"), 100)
    shown = document(user.get(PATH, **JANUARY, format="pdf", timezone="Asia/Kathmandu"))
    texts = [page.extract_text() for page in shown.pages]
    assert len(texts) > 3
    for number, text in enumerate(texts, 1):
        assert f"Page {number} of {len(texts)}" in text
    whole = "\n".join(texts)
    assert [n for n in range(1, 101) if f"payment {n}\n" not in whole] == []
    assert "05:45:00" in whole
    assert whole.count("Opening balance") == whole.count("Closing balance") == 2


@pytest.mark.contract("11.4.6")
async def test_pdf_has_at_most_5_000_entries(api: Api, write_history: WriteHistory) -> None:
    user = api.user()
    await write_history(api, user, api.user(), MAX_PDF_ENTRIES + 2)
    invalid(user.get(PATH, **JANUARY, format="pdf"), "format", kind="parameter")
    assert user.get(PATH, **JANUARY, format="csv").status == 200


@pytest.mark.contract("11.4.7")
async def test_one_pdf_at_a_time_on_a_server_in_a_process_without_secrets(
    serve: Callable[..., Api], fresh_database: Callable[[], str], write_history: WriteHistory
) -> None:
    own = serve(DATABASE_URL=fresh_database(), FINPAY_WORKERS="2")
    user = own.user()
    await write_history(own, user, own.user(), MAX_PDF_ENTRIES)
    with asked_for(own, user) as answers:
        process = drawing(own)
        assert not {name for name in process.environ() if "FINPAY" in name or "URL" in name}
        assert process.pid not in {worker.pid for worker in own.workers()}
        process.suspend()
        for _ in range(4):  # by both processes of the server
            refused = user.client.request(
                "GET",
                f"/api/v1{PATH}",
                params=JANUARY | {"format": "pdf"},
                headers={"Connection": "close"},
            )
            problem(refused, 503, "overloaded")
            assert int(refused.headers["Retry-After"]) >= 1
        assert user.get("/accounts").status == 200
        process.resume()
    assert len(document(answers[0]).pages) > 100
    document(user.get(PATH, **{"from": "2026-01-01", "to": "2026-01-01"}, format="pdf"))


@pytest.mark.contract("11.4.7")
async def test_process_that_is_killed_is_a_problem_and_the_next_pdf_is_made(
    serve: Callable[..., Api], fresh_database: Callable[[], str], write_history: WriteHistory
) -> None:
    own = serve(DATABASE_URL=fresh_database())
    user = own.user()
    await write_history(own, user, own.user(), MAX_PDF_ENTRIES)
    with asked_for(own, user) as answers:
        drawing(own).kill()
    problem(answers[0], 500, "internal_error")
    assert '"event":"statement_pdf_failed"' in Path(own.log).read_text("utf-8")
    document(user.get(PATH, **{"from": "2025-01-01", "to": "2025-01-01"}, format="pdf"))


@contextmanager
def asked_for(own: Api, user: User) -> Iterator[list[Any]]:
    """A PDF of January is requested by another thread; its answer is there at the end."""
    client = own.client(access_token=user.token)
    answers: list[Any] = []
    path = f"/api/v1{PATH}"
    params = JANUARY | {"format": "pdf"}
    thread = threading.Thread(
        target=lambda: answers.append(client.request("GET", path, params=params))
    )
    thread.start()
    yield answers
    thread.join()


def drawing(own: Api) -> psutil.Process:
    """The process that draws, once it was started."""
    for _ in range(2_000):
        for worker in own.workers():
            for child in worker.children():
                if "finpay.statements.pdf_process" in child.cmdline():
                    return child
        threading.Event().wait(0.005)
    raise AssertionError("no PDF is made")
