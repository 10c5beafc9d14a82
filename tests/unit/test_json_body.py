"""Strict JSON: bytes to members, members to a schema, and a pointer to the invalid member."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finpay.edge.request import json_body
from finpay.edge.schemas.money_requests import TransactionCreate
from finpay.edge.schemas.requests import Login
from finpay.errors import Code, FinPayError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
MAX_VALUES = 100_000
RECEIVER_ID = "acc_01h455vb4pex5vsknk084sn02q"


def read(content: bytes, shape: Any) -> Any:
    """The checked command, by the same calls as the edge."""
    members = json_body.decode(content, MAX_VALUES)
    json_body.check_storable(content, members)
    return json_body.convert(members, shape).checked()


def refusal(content: bytes, shape: Any = TransactionCreate) -> tuple[Code, str | None]:
    """The code of the error, and the pointer to the invalid member."""
    with pytest.raises(FinPayError) as caught:
        read(content, shape)
    field_errors = caught.value.field_errors
    return caught.value.code, field_errors[0].pointer if field_errors else None


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def separators_of(value: Any) -> int:
    """Brackets that open, and commas."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return 0
    return 1 + max(0, len(value) - 1) + sum(map(separators_of, value))


class TestReading:
    @given(JSON)
    def test_of_valid_json_gives_the_value_of_the_standard_library(self, value: Any) -> None:
        for ascii_only in (True, False):
            try:
                content = json.dumps(value, ensure_ascii=ascii_only).encode()
            except UnicodeEncodeError:  # a lone surrogate is only possible as an escape
                continue
            assert json_body.decode(content, MAX_VALUES) == value

    @given(st.binary(max_size=40))
    def test_of_any_bytes_gives_a_value_or_400(self, content: bytes) -> None:
        try:
            json_body.decode(content, MAX_VALUES)
        except FinPayError as error:
            code = error.code
        else:
            code = Code.MALFORMED_JSON
            json.loads(content)  # the standard library accepts it too
        assert code is Code.MALFORMED_JSON

    @pytest.mark.contract("1.1.7")
    @pytest.mark.parametrize(
        "content",
        [b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'[{"x":{"y":1,"y":2}}]', b'{"":1,"":2}'],
    )
    def test_of_a_duplicate_member_is_400(self, content: bytes) -> None:
        assert refusal(content) == (Code.MALFORMED_JSON, None)

    @pytest.mark.parametrize("digits", [19, 20, 400, 5_000, 60_000])
    def test_of_a_long_integer_is_quick_and_out_of_range(self, digits: int) -> None:
        for sign in ("", "-"):
            number = ("1234567890" * digits)[:digits]
            content = f'{{"amount":{sign}{number},"receiver_id":"{RECEIVER_ID}"}}'.encode()
            assert refusal(content) == (Code.VALIDATION_FAILED, "#/amount")

    @pytest.mark.parametrize("number", ["5", "-1234567890123456789", "9876543210987654321"])
    def test_of_an_integer_is_its_value_whatever_else_the_body_has(self, number: str) -> None:
        for text in ("", "1234567890" * 6):
            value = json_body.decode(f'[{number},"{text}"]'.encode(), 10)
            assert value == [int(number), text]

    @pytest.mark.parametrize(
        "escape",
        ["\\u0000", "\\uD800", "\\udbff", "\\uDC00", "\\udfff", "\\uDFFF", "\\uDc00\\ud83d"],
    )
    def test_of_an_escape_that_can_not_be_stored_is_422(self, escape: str) -> None:
        for content, pointer in (
            (f'{{"description":"a{escape}"}}', "#/description"),
            (f'{{"description":"b","x{escape}":"c"}}', "#"),
            (f'{{"description":"{escape}","{escape}":"{escape}"}}', "#/description"),
            (f'{{"a":[1,["{escape}"]]}}', "#/a/1/0"),
        ):
            raw = content.encode()
            with pytest.raises(FinPayError) as caught:
                json_body.check_storable(raw, json_body.decode(raw, 10))
            assert caught.value.field_errors[0].pointer == pointer

    @pytest.mark.parametrize("escape", ["\\ud83d\\uDE00", "\\\\u0000", "\\\\\\\\udc00", "\\u00e9"])
    def test_of_an_escape_that_can_be_stored_is_taken(self, escape: str) -> None:
        raw = f'{{"description":"{escape}"}}'.encode()
        json_body.check_storable(raw, json_body.decode(raw, 10))

    @pytest.mark.parametrize("number", ["1.0", "1e0", "1E+2", "0.0", "1e400", "-0.0", "1e-400"])
    def test_of_a_float_fits_no_integer(self, number: str) -> None:
        content = f'{{"amount":{number},"receiver_id":"{RECEIVER_ID}"}}'.encode()
        assert refusal(content) == (Code.VALIDATION_FAILED, "#/amount")

    def test_of_an_amount_with_a_fraction_is_refused_with_a_hint_at_minor_units(self) -> None:
        with pytest.raises(FinPayError) as caught:
            read(f'{{"amount":25.00,"receiver_id":"{RECEIVER_ID}"}}'.encode(), TransactionCreate)
        assert caught.value.field_errors[0].detail.endswith("in minor units: 25.00 is 2500.")

    @pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
    def test_of_deep_nesting_is_400_at_any_depth(self, opening: bytes) -> None:
        for depth in (1_000, 5_000, 10_000):
            assert refusal(opening * depth) == (Code.MALFORMED_JSON, None)

    @given(JSON, st.integers(25, 38), st.integers(1, 30))
    def test_of_more_depth_or_values_than_the_bounds_is_400(
        self, value: Any, lists: int, max_values: int
    ) -> None:
        for _ in range(lists):
            value = [value]
        content = json.dumps(value).encode()
        if depth_of(value) <= json_body.MAX_DEPTH and separators_of(value) <= max_values:
            assert json_body.decode(content, max_values) == value
        else:
            with pytest.raises(FinPayError, match=r"deeper|more than"):
                json_body.decode(content, max_values)

    @pytest.mark.parametrize("depth", range(1, 1_100, 3))
    def test_of_an_unstorable_text_at_any_depth_is_400_or_422(self, depth: int) -> None:
        """Decoder and text check recurse differently, so their limits of depth differ."""
        content = b"[" * depth + b'"\\ud800"' + b"]" * depth
        assert refusal(content)[0] in {Code.MALFORMED_JSON, Code.VALIDATION_FAILED}


def test_object_of_too_many_members_is_422() -> None:
    members = {f"k{n}": "" for n in range(json_body.MAX_MEMBERS)}
    assert json_body.decode(json.dumps(members).encode(), MAX_VALUES) == members
    code, _ = refusal(json.dumps(members | {"another": ""}).encode())
    assert code is Code.VALIDATION_FAILED


class TestPointer:
    @pytest.mark.parametrize(
        ("content", "pointer"),
        [
            (b"[]", "#"),
            (b"5", "#"),
            (b"{}", "#/amount"),
            (b'{"amount":"5"}', "#/amount"),
            (b'{"amount":5,"unknown":1}', "#/unknown"),
            (b'{"amount":5,"a/b~c":1}', "#/a~1b~0c"),
            (b'{"amount":5,"metadata":{"k":5}}', "#/metadata"),
            (b'{"amount":5,"description":"\\u0000"}', "#/description"),
            (b'{"amount":5,"metadata":{"k/":"\\ud800"}}', "#/metadata/k~1"),
            (b'{"amount":5,"x":["a",{"y":"\\u0000"}]}', "#/x/1/y"),
            (b'{"amount":5,"\\u0000":1}', "#"),
            (b'{"amount":5}', "#"),
            (b'{"amount":5,"receiver_id":"x"}', "#/receiver_id"),
            (b'{"amount":5,"receiver_email":"x"}', "#/receiver_email"),
        ],
    )
    def test_names_the_invalid_member(self, content: bytes, pointer: str) -> None:
        code, found = refusal(content)
        assert code is Code.VALIDATION_FAILED
        assert found is not None
        assert found.startswith(pointer)
        assert pointer in {found, "#/metadata"}

    @given(st.text(min_size=1).filter(lambda name: name not in Login.__struct_fields__))
    def test_to_any_unknown_member_can_be_encoded(self, name: str) -> None:
        content = json.dumps({"email": "a@example.com", "password": "x", name: 1}).encode()
        code, pointer = refusal(content, Login)
        assert code is Code.VALIDATION_FAILED
        assert pointer is not None
        pointer.encode()
