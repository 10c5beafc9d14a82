"""One spelling per mailbox: NFKC-normalised and lower-cased, so that equal means equal.

The check is stricter than RFC 5322, which allows comments, quotes and bare host names that no
sign-up form means, and looser than most forms: any script, any top-level domain, plus signs.
"""

import unicodedata
from typing import Final

MAX_LENGTH: Final = 254  # RFC 5321 §4.5.3.1.3: a path has 256, two of them angle brackets
# Normalising long runs of combining marks takes quadratic time. No four characters become fewer
# than one, so whatever is longer than this could not fit afterwards.
_MAX_RAW_LENGTH: Final = 4 * MAX_LENGTH

_TOO_LONG: Final = f"An e-mail address has at most {MAX_LENGTH} characters."
_UNWELCOME: Final = frozenset('()<>[]\\,;:"')  # RFC 5322 §3.2.3, specials
# Unicode categories: controls and invisible ones (C…), and every kind of space (Z…). A look-alike
# with a zero-width space in it would be somebody else's address.
_UNWELCOME_CATEGORIES: Final = ("C", "Z")


def normalise(text: str) -> str:
    """The form that is stored, compared and shown. ValueError says what to change."""
    if len(text) > _MAX_RAW_LENGTH:
        raise ValueError(_TOO_LONG)
    # Lower-casing can leave a letter and its accent apart, hence the second time.
    email = _nfkc(_nfkc(text).lower())
    # Only now: a full-width @ or an ideographic space looks like them after normalising.
    if len(email) > MAX_LENGTH:
        raise ValueError(_TOO_LONG)
    _check_characters(email)
    local, _, domain = email.partition("@")
    if not local or not domain or "@" in domain:
        raise ValueError("An e-mail address has one @, with something on both sides of it.")
    _check_local_part(local)
    _check_domain(domain)
    return email


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _check_characters(email: str) -> None:
    for character in email:
        if unicodedata.category(character).startswith(_UNWELCOME_CATEGORIES):
            raise ValueError("An e-mail address has no spaces and no invisible characters.")
        if character in _UNWELCOME:
            raise ValueError(f"An e-mail address has no {character} in it.")


def _check_local_part(local: str) -> None:
    if "" in local.split("."):
        raise ValueError("A dot in an e-mail address stands between two other characters.")


def _check_domain(domain: str) -> None:
    labels = domain.split(".")
    if len(labels) == 1 or not all(_is_label(label) for label in labels) or labels[-1].isdigit():
        raise ValueError("Expected a domain such as example.com after the @.")


def _is_label(label: str) -> bool:
    """Letters with their marks, digits and inner hyphens, in any script (RFC 5890)."""
    return (
        label != ""
        and not label.startswith("-")
        and not label.endswith("-")
        and all(
            character == "-" or unicodedata.category(character)[0] in "LMN" for character in label
        )
    )
