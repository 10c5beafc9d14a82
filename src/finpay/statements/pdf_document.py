"""The pages of a statement: A4, a head with the totals, a table of entries, numbered pages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from fpdf import FPDF

from finpay.money import EXPONENTS
from finpay.statements.pdf import PdfJob
from finpay.statements.pdf_text import Colour, Face, Style, Writer, clean
from finpay.statements.resources import Statement, StatementEntry

OUTSIDE: Final = frozenset({"funding", "deposit", "withdrawal"})  # the other party has no name

# Millimetres. Text sizes are points.
LEFT: Final = 18.0
RIGHT: Final = 192.0
TOP: Final = 30.0  # of the table on a page that continues it
BOTTOM: Final = 272.0
DETAILS: Final = 42.0
DETAILS_WIDTH: Final = 68.0
OUT: Final = 137.0
IN: Final = 164.0
AMOUNT_WIDTH: Final = 25.0
FIRST_TABLE: Final = 106.0
LINE: Final = 3.9
META_LINE: Final = 3.5
PADDING: Final = 2.3
MAX_EMAIL_LINES: Final = 3

INK: Final[Colour] = (24, 33, 47)
GREY: Final[Colour] = (112, 122, 138)
RULE: Final[Colour] = (218, 223, 230)
PALE: Final[Colour] = (244, 246, 249)
BRAND: Final[Colour] = (12, 74, 110)
WHITE: Final[Colour] = (255, 255, 255)
GREEN: Final[Colour] = (17, 110, 68)

_MONTHS: Final = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table, its text broken into lines. `entry` is None for a balance."""

    day: str
    title: Sequence[str]
    description: Sequence[str]
    meta: str
    balance: int
    entry: StatementEntry | None = None

    @property
    def height(self) -> float:
        lines = LINE * (len(self.title) + len(self.description))
        return lines + (META_LINE if self.meta else 0) + 2 * PADDING


def draw(job: PdfJob) -> bytes:
    """The whole document."""
    return _Document(job).draw()


class _Document:
    def __init__(self, job: PdfJob) -> None:
        self._job = job
        self._statement: Statement = job.statement
        self._zone = ZoneInfo(job.statement.timezone)
        self._pdf = FPDF(format="A4")
        self._pdf.set_auto_page_break(False)
        self._pdf.set_creator("FinPay")
        self._pdf.set_title(f"Account statement {self._period}")
        self._pdf.set_lang("en")
        self._pdf.set_creation_date(job.made_at)
        self._text = Writer(self._pdf)

    def draw(self) -> bytes:
        pages = list(self._pages(list(self._rows())))
        for number, rows in enumerate(pages, 1):
            self._pdf.add_page()
            top = self._first_head() if number == 1 else self._next_head()
            self._table(top, rows)
            self._footer(number, len(pages))
        return bytes(self._pdf.output())

    @property
    def _period(self) -> str:
        first, last = (
            date.fromisoformat(day) for day in (self._statement.from_, self._statement.to)
        )
        return f"{_day(first)} – {_day(last)}"

    def _rows(self) -> Iterator[Row]:
        statement = self._statement
        first, last = (date.fromisoformat(day) for day in (statement.from_, statement.to))
        yield Row(_day(first), ["Opening balance"], [], "", statement.opening_balance)
        for entry in statement.entries:
            yield self._row(entry)
        yield Row(_day(last), ["Closing balance"], [], "", statement.closing_balance)

    def _row(self, entry: StatementEntry) -> Row:
        moment = datetime.fromisoformat(entry.created_at).astimezone(self._zone)
        kind = entry.type.replace("_", " ").capitalize()
        other = kind if entry.type in OUTSIDE else entry.counterparty.account_id
        title = clean(entry.counterparty.name or "") or other
        return Row(
            _day(moment.date()),
            self._text.lines(title, DETAILS_WIDTH, 8.5, "bold"),
            self._text.lines(clean(entry.description or ""), DETAILS_WIDTH, 8),
            f"{kind} · {moment:%H:%M:%S} · {entry.transaction_id}",
            entry.balance_after,
            entry,
        )

    def _pages(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        """As many rows on each page as fit."""
        page: list[Row] = []
        y = FIRST_TABLE + 8
        for row in rows:
            if page and y + row.height > BOTTOM:
                yield page
                page, y = [], TOP + 8
            page.append(row)
            y += row.height
        yield page

    def _first_head(self) -> float:
        text, job, statement = self._text, self._job, self._statement
        self._box(0, 0, 210, 4, BRAND)
        text.write(LEFT, 24, "FinPay", Style(22, BRAND, "bold"))
        text.write_right(RIGHT, 20.5, "Account statement", Style(14, INK, "bold"))
        text.write_right(RIGHT, 26, self._period, Style(9.5, GREY))
        y = 41.0
        for part in text.lines(clean(job.name or ""), 84, 11, "bold"):
            text.write(LEFT, y, part, Style(11, INK, "bold"))
            y += 5
        for part in text.lines(clean(job.email), 84, 9)[:MAX_EMAIL_LINES]:
            text.write(LEFT, y, part, Style(9, INK))
            y += 4.5
        made = job.made_at.astimezone(UTC)
        facts = {
            "Account": job.account_id,
            "Currency": statement.currency,
            "Time zone": statement.timezone,
            "Made": f"{_day(made.date())} {made:%H:%M} UTC",
        }
        for line_number, (name, value) in enumerate(facts.items()):
            text.write(112, 41 + 5 * line_number, name, Style(8, GREY))
            text.write_right(RIGHT, 41 + 5 * line_number, value, Style(8, INK), 62)
        self._summary(66)
        return FIRST_TABLE

    def _summary(self, y: float) -> None:
        statement = self._statement
        cells = (
            ("Opening balance", statement.opening_balance),
            ("Money in", statement.total_in),
            ("Money out", -statement.total_out),
            ("Closing balance", statement.closing_balance),
        )
        width = (RIGHT - LEFT - 3 * 3) / 4
        for number, (name, amount) in enumerate(cells):
            x, is_last = LEFT + number * (width + 3), number == len(cells) - 1
            self._box(x, y, width, 19, BRAND if is_last else PALE)
            self._text.write(x + 3.5, y + 6.5, name, Style(7.5, WHITE if is_last else GREY))
            style = Style(11.5, WHITE if is_last else INK, "bold")
            money = self._money(amount)
            self._text.write_right(x + width - 3.5, y + 14, money, style, width - 7)
        parts = [
            f"{kind.replace('_', ' ').capitalize()}: {totals.count} "
            f"{'entry' if totals.count == 1 else 'entries'}, {self._money(totals.total_in)} in, "
            f"{self._money(totals.total_out)} out"
            for kind, totals in sorted(statement.totals_by_type.items())
        ] or ["There are no entries in this period."]
        for number, line in enumerate(self._text.lines("   ·   ".join(parts), 174, 7.5)[:3]):
            self._text.write(LEFT, y + 24.5 + 4 * number, line, Style(7.5, GREY))

    def _next_head(self) -> float:
        self._box(0, 0, 210, 4, BRAND)
        self._text.write(LEFT, 19, "FinPay", Style(12, BRAND, "bold"))
        self._text.write_right(RIGHT, 19, f"Account statement, {self._period}", Style(8.5, GREY))
        return TOP

    def _table(self, y: float, rows: Sequence[Row]) -> None:
        self._box(LEFT, y, RIGHT - LEFT, 7, PALE)
        for x, name in ((LEFT + 2, "Date"), (DETAILS, "Details")):
            self._text.write(x, y + 4.7, name, Style(7.5, GREY, "bold"))
        for x, name in ((OUT, "Money out"), (IN, "Money in"), (RIGHT - 2, "Balance")):
            self._text.write_right(x, y + 4.7, name, Style(7.5, GREY, "bold"))
        y += 8
        shown = ""
        for row in rows:
            self._draw_row(y, row, row.day if row.day != shown else "")
            shown = row.day
            y += row.height

    def _draw_row(self, y: float, row: Row, day: str) -> None:
        text, entry = self._text, row.entry
        base = y + PADDING + 2.9
        text.write(LEFT + 2, base, day, Style(8, INK))
        if entry is not None:
            x, colour = (IN, GREEN) if entry.amount > 0 else (OUT, INK)
            amount = self._money(abs(entry.amount))
            text.write_right(x, base, amount, Style(8.5, colour), AMOUNT_WIDTH)
        face: Face = "regular" if entry is not None else "bold"
        balance = self._money(row.balance)
        text.write_right(RIGHT - 2, base, balance, Style(8.5, INK, face), AMOUNT_WIDTH)
        for line in row.title:
            text.write(DETAILS, base, line, Style(8.5, INK, "bold"))
            base += LINE
        for line in row.description:
            text.write(DETAILS, base, line, Style(8, INK))
            base += LINE
        text.write(DETAILS, base - 0.2, row.meta, Style(6.3, GREY))
        self._rule(y + row.height)

    def _footer(self, number: int, pages: int) -> None:
        self._rule(280)
        self._text.write(LEFT, 285, self._job.account_id, Style(7, GREY))
        self._text.write_right(RIGHT, 285, f"Page {number} of {pages}", Style(7, GREY))

    def _money(self, amount: int) -> str:
        """`-1,234.50`: the currency is named once, in the head."""
        exponent = EXPONENTS[self._statement.currency]
        whole, fraction = divmod(abs(amount), 10**exponent)
        decimals = f".{fraction:0{exponent}d}" if exponent else ""
        return f"{'−' if amount < 0 else ''}{whole:,}{decimals}"

    def _box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        self._pdf.set_fill_color(*colour)
        self._pdf.rect(x, y, width, height, style="F")

    def _rule(self, y: float) -> None:
        self._pdf.set_draw_color(*RULE)
        self._pdf.set_line_width(0.15)
        self._pdf.line(LEFT, y, RIGHT, y)


def _day(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
