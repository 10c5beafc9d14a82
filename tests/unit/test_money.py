"""Money is formatted exactly, with the decimals of its currency."""

import pytest

from finpay.money import EXPONENTS, MAX_AMOUNT, Money, is_currency


@pytest.mark.contract("1.1.2")
@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (50_000, "ZAR", "ZAR 500.00"),
        (1_000_000, "ZAR", "ZAR 10,000.00"),
        (1, "ZAR", "ZAR 0.01"),
        (10, "USD", "USD 0.10"),
        (100, "EUR", "EUR 1.00"),
        (0, "ZAR", "ZAR 0.00"),
        (-1, "ZAR", "ZAR -0.01"),
        (-123_456, "ZAR", "ZAR -1,234.56"),
        (500, "JPY", "JPY 500"),
        (0, "JPY", "JPY 0"),
        (-1_234_567, "JPY", "JPY -1,234,567"),
        (1_500, "KWD", "KWD 1.500"),
        (1, "KWD", "KWD 0.001"),
        (12_345, "CLF", "CLF 1.2345"),
        (-1, "CLF", "CLF -0.0001"),
        (MAX_AMOUNT, "ZAR", "ZAR 90,071,992,547,409.91"),
        (MAX_AMOUNT, "CLF", "CLF 900,719,925,474.0991"),
        (MAX_AMOUNT, "JPY", "JPY 9,007,199,254,740,991"),
    ],
)
def test_money_is_formatted_exactly(amount: int, currency: str, shown: str) -> None:
    assert str(Money(amount, currency)) == shown


def test_largest_amount_is_the_largest_exact_integer_of_a_float() -> None:
    assert MAX_AMOUNT == 9_007_199_254_740_991
    assert int(float(MAX_AMOUNT)) == MAX_AMOUNT
    assert float(MAX_AMOUNT) + 1 == float(MAX_AMOUNT) + 2


@pytest.mark.contract("1.1.2")
@pytest.mark.parametrize(
    ("exponent", "currencies"),
    [
        (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"),
        (2, "AUD BRL CAD CHF CNY EUR GBP INR MXN NGN USD ZAR MGA MRU ZWG"),
        (3, "BHD IQD JOD KWD LYD OMR TND"),
        (4, "CLF UYW"),
    ],
)
def test_exponents_are_those_of_iso_4217(exponent: int, currencies: str) -> None:
    for currency in currencies.split():
        assert EXPONENTS[currency] == exponent
    if exponent != 2:
        listed = {code for code, value in EXPONENTS.items() if value == exponent}
        assert listed == set(currencies.split())


def test_currency_codes_are_three_capital_letters() -> None:
    assert len(EXPONENTS) > 150
    for code in EXPONENTS:
        assert code.isascii()
        assert code.isupper()
        assert len(code) == 3


@pytest.mark.parametrize(
    "code", ["", "zar", "ZA", "ZARR", "XXX", "XTS", "XAU", "XDR", "BTC", "ZАR", "ＺＡＲ", "ZAR "]
)
def test_other_text_is_no_currency(code: str) -> None:
    assert not is_currency(code)
    assert is_currency("ZAR")
