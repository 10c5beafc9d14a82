"""Statements as JSON and CSV from rows, without a database."""

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finpay.db.pool import Database
from finpay.edge.request.accept import preferred
from finpay.money import major_units
from finpay.statements import csv_rows, csv_stream, json_stream
from finpay.statements.periods import Period
from finpay.statements.reads import PAGE_ENTRIES, Bounds, StatementReads
from finpay.statements.resources import Statement, Totals

PERIOD = Period(date(2026, 1, 1), date(2026, 1, 31), ZoneInfo("Asia/Kathmandu"))
TXN = "txn_000000000000000000000000s7"
ACC = "acc_0000000000000000000000000a"
TYPES = {"application/json": "json", "text/csv": "csv", "application/pdf": "pdf"}


def row(amount: int = 5, **changes: Any) -> dict[str, Any]:
    plain = {
        "transaction_id": UUID(int=807), "version": 1, "amount": amount, "balance_after": 105,
        "created_at": datetime(2026, 1, 31, 18, 14, 59, 999_999, UTC), "type": "transfer",
        "description": None, "counterparty_id": UUID(int=10), "name": "Bob",
    }  # fmt: skip
    return plain | changes


def bounds(currency: str = "ZAR") -> Bounds:
    return Bounds(UUID(int=1), currency, "Alice", "a@b.c", 0, 2, 100, 105)


async def pages(*given: Sequence[dict[str, Any]]) -> AsyncGenerator[Sequence[Any], None]:
    for each in given:
        yield each


def body(stream: AsyncGenerator[bytes, None]) -> bytes:
    async def read() -> bytes:
        return b"".join([part async for part in stream])

    return asyncio.run(read())


def cells(*rows: dict[str, Any], currency: str = "ZAR") -> list[list[str]]:
    text = body(csv_stream.stream(bounds(currency), PERIOD, pages(rows))).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.contract("11.4.3")
@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_the_schema_whatever_its_pages(count: int) -> None:
    rows = [row(5), row(-7, type="funding"), row(1)]
    given = [[each] for each in rows[:count]]
    parsed = msgspec.json.decode(
        body(json_stream.stream(bounds(), PERIOD, pages(*given))), type=Statement
    )
    assert [entry.amount for entry in parsed.entries] == [5, -7, 1][:count]
    assert (parsed.from_, parsed.to, parsed.timezone) == (
        "2026-01-01",
        "2026-01-31",
        "Asia/Kathmandu",
    )
    assert (parsed.total_in, parsed.total_out) == [(0, 0), (5, 0), (0, 0), (6, 7)][count]
    by_type = {"transfer": Totals(2, 6, 0), "funding": Totals(1, 0, 7)}
    assert parsed.totals_by_type == [{}, {"transfer": Totals(1, 5, 0)}, {}, by_type][count]


class _Database:
    """Answers each page with as many rows as it has versions."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def fetch(self, _query: str, _account: UUID, after: int, through: int) -> list[object]:
        self.asked.append(after)
        return [row()] * (through - after)


def test_next_page_is_read_while_a_page_is_used() -> None:
    database = _Database()
    whole = Bounds(UUID(int=1), "ZAR", "Alice", "a@b.c", 0, 2 * PAGE_ENTRIES + 1, 0, 0)

    async def read() -> list[tuple[int, int]]:
        reading = StatementReads(cast(Database, database)).pages(whole)
        return [(len(rows), len(database.asked)) async for rows in reading]

    assert asyncio.run(read()) == [(PAGE_ENTRIES, 2), (PAGE_ENTRIES, 3), (1, 3)]


@pytest.mark.contract("11.4.4")
def test_csv_has_local_times_and_the_balances_around() -> None:
    later = datetime(2026, 1, 31, 18, 14, 59, tzinfo=UTC) - timedelta(days=1)
    assert cells(row(-5, created_at=later, name=None), row(description='a "b", c\nd')) == [
        list(csv_stream.COLUMNS),
        ["2026-01-01", "", "opening", "", "", "", "", "ZAR", "1.00"],
        ["2026-01-30", "23:59:59", "transfer", TXN, ACC, "", "-0.05", "ZAR", "1.05"],
        ["2026-01-31", "23:59:59", "transfer", TXN, "Bob", 'a "b", c\nd', "0.05", "ZAR", "1.05"],
        ["2026-01-31", "", "closing", "", "", "", "", "ZAR", "1.05"],
    ]


@pytest.mark.contract("11.4.4")
def test_csv_has_the_local_day_and_two_digits_of_each_part_of_a_time() -> None:
    moment = datetime(2026, 1, 30, 18, 15, tzinfo=UTC)
    later = moment + timedelta(hours=4, minutes=5, seconds=6)
    shown = [each[:2] for each in cells(row(created_at=moment), row(created_at=later))[2:4]]
    assert shown == [["2026-01-31", "00:00:00"], ["2026-01-31", "04:05:06"]]


@given(st.lists(st.lists(st.text(',"\r\n a', max_size=3), min_size=1, max_size=3)))
def test_rows_are_those_of_csv_byte_for_byte(rows: list[list[str]]) -> None:
    expected = io.StringIO(newline="")
    csv.writer(expected, lineterminator="\r\n").writerows(rows)
    assert csv_rows.encode(rows) == expected.getvalue().encode()


@pytest.mark.contract("11.4.4")
def test_csv_is_rfc_4180() -> None:
    parsed = body(csv_stream.stream(bounds(), PERIOD, pages([row(description='Zoë, "x"\r\ny')])))
    assert parsed.count(b"\r\n") == 5
    assert b'"Zo\xc3\xab, ""x""\r\ny"' in parsed
    assert not parsed.startswith(b"\xef\xbb\xbf")


@pytest.mark.contract("11.4.4")
@pytest.mark.parametrize(
    "text", ["a,b", 'a"b', "a\rb", "a\nb", ",", '"', "a b", "a;b", "a\u2028b", ""]
)
@pytest.mark.parametrize("column", ["name", "description"])
def test_text_is_the_same_once_read(column: str, text: str) -> None:
    parsed = cells(row(-5, **{column: text}), row())
    shown = text or (ACC if column == "name" else "")
    assert parsed[2][5 if column == "description" else 4] == shown
    assert [len(each) for each in parsed] == [len(csv_stream.COLUMNS)] * 5


@pytest.mark.contract("11.4.5")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+27 11 000", "'+27 11 000"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("＝1", "'＝1"),
        ("＋1", "'＋1"),
        ("－1", "'－1"),
        ("＠x", "'＠x"),
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("a=1", "a=1"),
        (" =1", "' =1"),
        ("\u00a0\u3000@x", "'\u00a0\u3000@x"),
        ("\n-1", "'\n-1"),
        ("\u200b\ufeff=1", "'\u200b\ufeff=1"),
        (" \t ＝1", "' \t ＝1"),
        ("﹦1", "'﹦1"),
        ("﹢1", "'﹢1"),
        ("﹣1", "'﹣1"),
        ("﹫x", "'﹫x"),
        ("\x00=1", "'\x00=1"),
        ("\x1b[2J", "'\x1b[2J"),
        (" a=1", " a=1"),
        ("  ", "  "),
        ("'=1", "'=1"),
        ("−1", "−1"),
        ("", ""),
    ],
)
def test_formula_gets_an_apostrophe_in_text_cells_alone(text: str, shown: str) -> None:
    parsed = cells(row(-5, description=text, name=text or None))[2]
    assert parsed[5] == shown
    assert parsed[4] == (shown or ACC)
    assert parsed[6] == "-0.05"


@pytest.mark.contract("1.1.2", "11.4.4")
@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (0, "ZAR", "0.00"),
        (5, "ZAR", "0.05"),
        (-5, "ZAR", "-0.05"),
        (100, "ZAR", "1.00"),
        (-123_456, "ZAR", "-1234.56"),
        (500, "JPY", "500"),
        (-1, "JPY", "-1"),
        (1, "KWD", "0.001"),
        (-1_500, "KWD", "-1.500"),
        (12_345, "CLF", "1.2345"),
        (2**53 - 1, "USD", "90071992547409.91"),
    ],
)
def test_major_units_have_a_dot_and_the_digits_of_the_currency(
    amount: int, currency: str, shown: str
) -> None:
    assert major_units(amount, currency) == shown
    assert cells(row(amount), currency=currency)[2][6] == shown


@pytest.mark.contract("11.4.2")
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/csv", "csv"),
        ("TEXT/CSV; charset=utf-8", "csv"),
        ("text/*", "csv"),
        ("application/pdf, */*;q=0.1", "pdf"),
        ("application/*", "json"),
        ("text/csv;q=0.5, application/pdf;q=0.8", "pdf"),
        ("application/json;q=0, text/csv;q=0.001", "csv"),
        ("text/html", "json"),
        ("text/csv;q=0", "json"),
        ("text/csv;q=nonsense, application/pdf;q=0.1", "pdf"),
        (",;,q=1", "json"),
    ],
)
def test_accept_names_the_format(accept: str, kind: str) -> None:
    assert preferred(accept, TYPES, "json") == kind
