"""Query parameters and cursors: strict in, opaque out."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from finpay.edge.request import pagination, query_params
from finpay.errors import Code, FinPayError
from finpay.money import MAX_AMOUNT

ALICE, BOB = UUID(int=1), UUID(int=2)
POSITIONS = st.integers(0, 2**63 - 1)
PARAMETERS: query_params.Parameters = {
    "limit": query_params.LIMIT,
    "status": query_params.one_of("completed", "failed"),
    "cursor": query_params.ENTRIES_CURSOR,
}


def refusal(call: Callable[[], Any]) -> FinPayError:
    with pytest.raises(FinPayError) as caught:
        call()
    return caught.value


class TestQuery:
    def test_is_given_as_sent_and_as_checked(self) -> None:
        texts, values = query_params.parse(b"status=failed&limit=5", PARAMETERS, ALICE)
        assert texts == {"status": "failed", "limit": "5"}
        assert values == {"status": "failed", "limit": 5}
        assert query_params.parse(b"", PARAMETERS, ALICE) == ({}, {})

    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            (b"limit=0", "limit"), (b"limit=1&limit=1", "limit"), (b"offset=1", "offset"),
            (b"limit", "limit"), (b"status=", "status"), (b"=", ""), (b"limit=%31%30%31", "limit"),
            (b"li%00mit=1", "li\x00mit"), (b"x" * 5_000, "query"), (b"\xff", "\\xff"),
            (b"&".join([b"limit=1"] * 40), "query"), (b"%ED%A0%80=1", "%ED%A0%80"),
            (b"limit=%ED%A0%80", "limit"), (b"limit=\xff", "limit"), (b"limit=%", "limit"),
            (b"n" * 100, "n" * 64),
        ],
    )  # fmt: skip
    def test_error_names_the_invalid_parameter(self, query: bytes, parameter: str) -> None:
        error = refusal(lambda: query_params.parse(query, PARAMETERS, ALICE))
        assert error.code is Code.VALIDATION_FAILED
        assert [fault.parameter for fault in error.field_errors] == [parameter]

    def test_escapes_are_decoded(self) -> None:
        assert query_params.parse(b"%6Cimit=%35", PARAMETERS, ALICE)[1] == {"limit": 5}

    @given(st.binary(max_size=60))
    def test_any_bytes_are_parameters_or_refused(self, query: bytes) -> None:
        with suppress(FinPayError):
            query_params.parse(query, PARAMETERS, ALICE)


class TestTime:
    @pytest.mark.fault("I5")
    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
            ("2026-01-31T12:00:00.5Z", datetime(2026, 1, 31, 12, 0, 0, 500_000, UTC)),
            ("2026-01-31T12:00:00.000001Z", datetime(2026, 1, 31, 12, 0, 0, 1, UTC)),
            ("2026-01-31T14:30:00+02:30", datetime(2026, 1, 31, 12, tzinfo=UTC)),
            ("2026-01-31T23:59:59-23:59", datetime(2026, 2, 1, 23, 58, 59, tzinfo=UTC)),
            ("2024-02-29T00:00:00-00:00", datetime(2024, 2, 29, tzinfo=UTC)),
        ],
    )
    def test_is_rfc_3339(self, text: str, moment: datetime) -> None:
        assert query_params.parse_time(text) == moment
        assert query_params.parse_time(text).tzinfo is UTC

    @given(st.datetimes(timezones=st.just(UTC)))
    def test_of_a_response_can_be_a_parameter(self, moment: datetime) -> None:
        text = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        assert query_params.parse_time(text) == moment

    @given(st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?(Z|[+-]\d\d:\d\d)"))
    @example("2026-01-31T24:00:00Z")
    @example("2026-01-31T12:00:00+24:00")
    @example("2026-01-31T12:00:00+10:60")
    @example("2026-01-31T12:00:60Z")
    def test_out_of_range_is_refused(self, text: str) -> None:
        """Any other text: a ValueError, or a time with hours and offset in range."""
        try:
            query_params.parse_time(text)
        except ValueError:
            return
        _, _, clock = text.partition("T")
        assert int(clock[:2]) < 24
        assert int(clock[3:5]) < 60
        if clock[-1] != "Z":
            assert int(clock[-5:-3]) < 24
            assert int(clock[-2:]) < 60


class TestNumbers:
    def test_limits_and_amounts_have_the_bounds_of_the_contract(self) -> None:
        assert [query_params.LIMIT.parse("1"), query_params.LIMIT.parse("100")] == [1, 100]
        assert [
            query_params.AMOUNT_MIN.parse("0"),
            query_params.AMOUNT_MIN.parse(str(MAX_AMOUNT)),
        ] == [0, MAX_AMOUNT]
        refused = (
            (query_params.LIMIT.parse, "0"),
            (query_params.LIMIT.parse, "101"),
            (query_params.AMOUNT_MIN.parse, str(MAX_AMOUNT + 1)),
            (query_params.AMOUNT_MIN.parse, "-1"),
        )
        for parse, text in refused:
            with pytest.raises(ValueError, match="Expected"):
                parse(text)

    @given(st.text(max_size=20))
    def test_only_canonical_integers_are_accepted(self, text: str) -> None:
        try:
            number = query_params.AMOUNT_MIN.parse(text)
        except ValueError:
            return
        assert str(number) == text


class TestCursor:
    @given(POSITIONS, POSITIONS)
    def test_is_read_as_the_position_that_was_written(self, version: int, sequence: int) -> None:
        text = pagination.TRANSACTIONS.write(ALICE, version, sequence)
        assert pagination.TRANSACTIONS.read(ALICE, text) == (version, sequence)
        assert text.isascii()
        assert not set(text) & set('&=+/%#"<> ')  # it goes into URLs as it is

    @given(POSITIONS)
    def test_belongs_to_one_list_of_one_account(self, version: int) -> None:
        text = pagination.ENTRIES.write(ALICE, version)
        for error in (
            refusal(lambda: pagination.ENTRIES.read(BOB, text)),
            refusal(lambda: pagination.TRANSACTIONS.read(ALICE, text)),
            refusal(lambda: pagination.CursorCodec("events", 1).read(ALICE, text)),
        ):
            assert error.code is Code.CURSOR_INVALID

    @given(st.text(max_size=40))
    def test_that_was_not_written_by_finpay_is_refused(self, text: str) -> None:
        assert refusal(lambda: pagination.ENTRIES.read(ALICE, text)).code is Code.CURSOR_INVALID

    @given(POSITIONS, st.data())
    def test_with_any_other_character_is_refused(self, version: int, data: st.DataObject) -> None:
        text = pagination.ENTRIES.write(ALICE, version)
        at = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.characters(codec="ascii").filter(lambda each: each != text[at]))
        changed = text[:at] + other + text[at + 1 :]
        assert refusal(lambda: pagination.ENTRIES.read(ALICE, changed)).code is Code.CURSOR_INVALID

    @pytest.mark.parametrize("position", [2**63, 10**400, -1, -(2**70)])
    def test_of_a_position_outside_bigint_is_refused(self, position: int) -> None:
        """A client can compute the checksum of such a cursor."""
        text = pagination.ENTRIES.write(ALICE, position)
        assert refusal(lambda: pagination.ENTRIES.read(ALICE, text)).code is Code.CURSOR_INVALID

    def test_is_checked_before_every_other_parameter(self) -> None:
        error = refusal(lambda: query_params.parse(b"limit=0&cursor=x", PARAMETERS, ALICE))
        assert error.code is Code.CURSOR_INVALID


def test_equal_queries_have_one_canonical_form() -> None:
    one, other = ({"status": "failed", "limit": "5"}, {"limit": "5", "status": "failed"})
    assert query_params.canonical(one) == query_params.canonical(other)
    assert query_params.canonical(one) != query_params.canonical({"status": "failed"})
    # … and different ones never have the same.
    assert query_params.canonical({"a": "1&b=2"}) != query_params.canonical({"a": "1", "b": "2"})


def test_a_link_has_the_filters_and_exists_only_with_a_next_page() -> None:
    assert pagination.link("/x", {"a": "1"}, None) == {}
    query = {"created_from": "2026-01-31T12:00:00+02:00", "cursor": "old"}
    assert pagination.link("/x", query, "new") == {
        "Link": '</x?created_from=2026-01-31T12%3A00%3A00%2B02%3A00&cursor=new>; rel="next"'
    }
