"""Money: an integer number of minor units and an ISO 4217 currency, without floats.

`Money(50_000, "ZAR")` is ZAR 500.00; `Money(500, "JPY")` is JPY 500; `Money(1_500, "KWD")` is
KWD 1.500. Exponents: ISO 4217 list one (2026-01-01).
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_DIGITS: Final = re.compile(r"[0-9]{1,16}", re.ASCII)

MAX_AMOUNT: Final = 2**53 - 1  # the largest integer that a JavaScript client reads exactly

_TWO = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN "
    "QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP "
    "TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG"
)
_ZERO = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"

EXPONENTS: Final[dict[str, int]] = {
    code: exponent
    for exponent, codes in ((2, _TWO), (0, _ZERO), (3, _THREE), (4, _FOUR))
    for code in codes.split()
}
"""Currency code → number of decimals of its major unit."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units; negative for a debit."""

    amount: int
    currency: str

    def __str__(self) -> str:
        """`ZAR 10,000.00`: with thousands separators and the decimals of the currency."""
        return f"{self.currency} {_major(self.amount, self.currency):,f}"


def major_units(amount: int, currency: str) -> str:
    """`-10000.00`: the amount for programs, with a dot and without separators."""
    return str(_major(amount, currency))


def _major(amount: int, currency: str) -> Decimal:
    return Decimal(amount).scaleb(-EXPONENTS[currency])


def is_currency(code: str) -> bool:
    """Whether accounts can have this currency."""
    return code in EXPONENTS


def parse_amounts(text: str) -> tuple[tuple[str, int], ...]:
    """`ZAR:5000000,USD:300000`: an amount in minor units for each of some currencies.

    ValueError for an unknown or repeated currency, and for what is no amount.
    """
    amounts: dict[str, int] = {}
    for part in text.split(","):
        code, _, digits = part.strip().partition(":")
        if not is_currency(code) or code in amounts:
            raise ValueError(f"{code!r} is not a currency of ISO 4217, or occurs twice")
        if not _DIGITS.fullmatch(digits) or not 1 <= int(digits) <= MAX_AMOUNT:
            raise ValueError("expected currencies with minor units such as ZAR:5000000,USD:300000")
        amounts[code] = int(digits)
    return tuple(amounts.items())
