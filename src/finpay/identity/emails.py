"""One stored form per e-mail address, so that equal addresses are equal strings.

The form: Unicode NFKC, lower case, the domain in Unicode letters (IDNA 2008 U-labels) however it
was written: `x@xn--bcher-kva.example` becomes `x@bücher.example`.

The check is stricter than RFC 5322, which allows comments, quotes and host names without a dot,
and looser than most forms: any script, any top-level domain, plus signs.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

import idna

from finpay.unicode_text import has_blank, has_default_ignorable

MAX_LENGTH: Final = 254  # RFC 5321 §4.5.3.1.3: a path has 256, two of them angle brackets
MAX_DOMAIN_LENGTH: Final = 253  # RFC 1035 §2.3.4, of the ASCII form, without the root's dot
MAX_LABEL_LENGTH: Final = 63  # RFC 1035 §2.3.4
# Of a domain that is not ASCII: checking its letters costs more than reading the whole request.
MAX_LABELS: Final = 8
_KNOWN_LABELS: Final = 4_096
# Normalising long runs of combining marks takes quadratic time. Normalising shortens a text to a
# quarter at most, so a longer one could not fit afterwards.
_MAX_RAW_LENGTH: Final = 4 * MAX_LENGTH

_TOO_LONG: Final = f"An e-mail address has at most {MAX_LENGTH} characters."
_INVISIBLE: Final = "An e-mail address has no spaces and no invisible characters."
_NO_DOMAIN: Final = "Expected a domain such as example.com after the @."
_FORBIDDEN: Final = re.compile(r'[()<>\[\]\\,;:"]')  # RFC 5322 §3.2.3, specials
_ENCODED_WORD: Final = "=?"
# RFC 1123 §2.1: letters, digits and inner hyphens. Not an A-label (xn--…), which is decoded.
_ASCII_LABEL: Final = r"(?!xn--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ASCII_DOMAIN: Final = re.compile(rf"{_ASCII_LABEL}(?:\.{_ASCII_LABEL})*", re.ASCII)


def normalise(text: str) -> str:
    """The form that is stored, compared and shown. ValueError says what to change."""
    if len(text) > _MAX_RAW_LENGTH:
        raise ValueError(_TOO_LONG)
    # Lower-casing can leave a letter and its accent apart, so it is normalised once more.
    email = _nfkc(_nfkc(text).lower())
    # After normalising, which turns a full-width @ into @ and an ideographic space into a space.
    _check_characters(email)
    local, at, domain = email.partition("@")
    if not local or not domain or "@" in domain:
        raise ValueError("An e-mail address has one @, with a name before it and a domain after.")
    if "" in local.split("."):
        raise ValueError(
            "An e-mail address can't have a dot at its start, before its @, or two in a row."
        )
    decoded = _unicode_domain(domain)
    if decoded == domain:
        return email
    email = local + at + decoded
    _check_characters(email)  # a decoded domain has other characters
    return email


def for_delivery(email: str) -> str:
    """A stored address with the domain in ASCII, which every mail server takes."""
    local, _, domain = email.rpartition("@")
    return email if domain.isascii() else f"{local}@{idna.encode(domain).decode()}"


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _check_characters(email: str) -> None:
    if len(email) > MAX_LENGTH:
        raise ValueError(_TOO_LONG)
    # Not printable: controls, unassigned and private code points, every space but the ASCII one.
    invisible = not email.isprintable() or " " in email
    if invisible or has_default_ignorable(email) or has_blank(email):
        raise ValueError(_INVISIBLE)
    if special := _FORBIDDEN.search(email):
        raise ValueError(f"An e-mail address can't contain {special[0]}")
    # RFC 2047 §5: an encoded word is no part of an address. A mail program would decode it, and
    # send what is meant for this address to another one.
    if _ENCODED_WORD in email:
        raise ValueError(f"An e-mail address can't contain {_ENCODED_WORD}")


def _unicode_domain(domain: str) -> str:
    """The domain with its A-labels (xn--…) decoded. ValueError if it is not a valid host name."""
    labels = domain.split(".")
    if len(labels) == 1 or labels[-1].isdigit():
        raise ValueError(_NO_DOMAIN)
    if _ASCII_DOMAIN.fullmatch(domain):
        return domain
    if len(labels) > MAX_LABELS:
        raise ValueError(f"A domain that is not ASCII has at most {MAX_LABELS} labels.")
    try:
        both = [_encoded_and_decoded(label) for label in labels]
    except idna.IDNAError:
        raise ValueError(_NO_DOMAIN) from None
    if sum(len(encoded) + 1 for encoded, _ in both) > MAX_DOMAIN_LENGTH + 1:
        raise ValueError(f"A domain has at most {MAX_DOMAIN_LENGTH} characters in ASCII (xn--…).")
    return ".".join(decoded for _, decoded in both)


@lru_cache(_KNOWN_LABELS)
def _encoded_and_decoded(label: str) -> tuple[str, str]:
    """The A-label and the U-label of a lower-case label. idna.IDNAError if it is none."""
    if label.isascii():
        if len(label) > MAX_LABEL_LENGTH:
            raise idna.IDNAError
        return label, idna.ulabel(label)
    return idna.alabel(label).decode("ascii"), label
