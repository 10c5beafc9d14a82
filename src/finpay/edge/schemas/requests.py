"""Schemas of the request bodies of /auth and /users.

`checked` of a body checks what types can't say, and returns the command for the handler.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from finpay.edge.schemas.fields import (
    Currency,
    Email,
    NewPassword,
    Password,
    check_currency,
    check_name,
    normalised_email,
)
from finpay.errors import validation_failed
from finpay.identity import passwords

AccountId = Annotated[str, Meta(max_length=64, examples=["acc_01h455vb4pex5vsknk084sn02q"])]
Description = Annotated[str, Meta(max_length=500)]
Metadata = Annotated[
    dict[str, str], Meta(description="At most 20 pairs, keys to 40 characters, 4 KiB as JSON.")
]


class Register(Struct, frozen=True, forbid_unknown_fields=True):
    """A new user with an account in one currency."""

    email: Email
    password: NewPassword
    name: Annotated[str, Meta(max_length=100)] | None = None
    currency: Currency = "ZAR"

    def checked(self) -> "Register":
        check_currency(self.currency)
        email = normalised_email(self.email, "#/email")
        check_name(self.name)
        weakness = passwords.weakness(self.password, email=email, name=self.name)
        if weakness is not None:
            raise validation_failed(weakness, pointer="#/password")
        return msgspec.structs.replace(self, email=email)


class UserUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """Another name of the user; null: none."""

    name: Annotated[str, Meta(max_length=100, examples=["Alice"])] | None

    def checked(self) -> "UserUpdate":
        check_name(self.name)
        return self


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """An e-mail and its password."""

    email: Email
    password: Password

    def checked(self) -> "Login":
        return msgspec.structs.replace(self, email=normalised_email(self.email, "#/email"))


class Refresh(Struct, frozen=True, forbid_unknown_fields=True):
    """The refresh token of the newest token pair."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=512)]

    def checked(self) -> "Refresh":
        return self


class PasswordChange(Struct, frozen=True, forbid_unknown_fields=True):
    """Current and new password."""

    current_password: Password
    new_password: NewPassword

    def checked(self) -> "PasswordChange":
        return self  # whether the new one is too weak depends on the user


class PasswordForgotten(Struct, frozen=True, forbid_unknown_fields=True):
    """The e-mail address of the user who forgot the password."""

    email: Email

    def checked(self) -> "PasswordForgotten":
        return msgspec.structs.replace(self, email=normalised_email(self.email, "#/email"))


class PasswordReset(Struct, frozen=True, forbid_unknown_fields=True):
    """The token behind # in the link of the mail, and the new password."""

    token: Annotated[str, Meta(min_length=1, max_length=512)]
    new_password: NewPassword

    def checked(self) -> "PasswordReset":
        return self  # whether the password is too weak depends on the user
