# Generated from _async_identity.py by tools/generate_sync_client.py: edit that file instead.
"""The methods of `FinPay` for the user: e-mail address, password, second factor, sessions, API
keys, logged requests, leaving.
"""

from collections.abc import Sequence
from typing import Any, Unpack

from finpay.client import _identity_operations
from finpay.client._identity_models import (
    ActiveSession,
    ApiKey,
    LoggedRequest,
    Login,
    SecondFactor,
)
from finpay.client._identity_operations import ApiKeyOptions
from finpay.client._models import User
from finpay.client._session import ClientSession
from finpay.client._sync_transport import Pager, Transport


class IdentityMethods:
    """A part of FinPay, which has the session and the transport."""

    _session: ClientSession
    _transport: Transport

    def complete_login(self, challenge: str, code: str) -> Login:
        """Log in with the code that `login` asked for.

        Its refusal has the code `second_factor_required`, and the challenge among `extensions`.
        """
        return self._transport.call(_identity_operations.complete_login(challenge, code))

    def update_me(self, name: str | None) -> User:
        """Change the user's name; None removes it."""
        return self._transport.call(_identity_operations.update_me(name))

    def request_password_reset(self, email: str) -> None:
        """Send a mail with a link that resets the password, if the address is registered."""
        self._transport.call(_identity_operations.request_password_reset(email))

    def reset_password(self, token: str, new_password: str) -> None:
        """Set a new password with the token of the mail. All sessions of the user end."""
        self._transport.call(_identity_operations.reset_password(token, new_password))

    def request_email_verification(self) -> None:
        """Send a mail with a link that verifies the user's address."""
        self._transport.call(_identity_operations.request_email_verification())

    def verify_email(self, token: str) -> None:
        """Verify the address with the token of the mail."""
        self._transport.call(_identity_operations.verify_email(token))

    def create_second_factor(self, password: str) -> SecondFactor:
        """Return a new secret for an authenticator. It has no effect before it is confirmed."""
        return self._transport.call(_identity_operations.create_second_factor(password))

    def confirm_second_factor(self, code: str) -> list[str]:
        """Switch the second factor on. Returns ten recovery codes, which are shown once."""
        confirmed = self._transport.call(_identity_operations.confirm_second_factor(code))
        return confirmed.recovery_codes

    def disable_second_factor(self, password: str, code: str) -> None:
        """Switch the second factor off. All sessions of the user end, this one too."""
        self._transport.call(_identity_operations.disable_second_factor(password, code))
        self._session.forget_tokens()

    def sessions(self, *, limit: int | None = None) -> Pager[ActiveSession]:
        """Where the user is logged in, newest first."""
        return Pager(self._transport, _identity_operations.sessions(limit))

    def end_session(self, session_id: str) -> None:
        """End one session of the user."""
        self._transport.call(_identity_operations.end_session(session_id))

    def end_other_sessions(self) -> None:
        """End all sessions of the user but this one."""
        self._transport.call(_identity_operations.end_other_sessions())

    def create_api_key(
        self, name: str, scopes: Sequence[str], password: str, **options: Unpack[ApiKeyOptions]
    ) -> ApiKey:
        """Create a key for a server of the user, with its `secret`, which is shown once."""
        return self._transport.call(
            _identity_operations.create_api_key(name, scopes, password, options)
        )

    def api_keys(self, *, limit: int | None = None) -> Pager[ApiKey]:
        """The user's API keys, newest first."""
        return Pager(self._transport, _identity_operations.api_keys(limit))

    def delete_api_key(self, key_id: str) -> None:
        """End an API key, everywhere at once."""
        self._transport.call(_identity_operations.delete_api_key(key_id))

    def logged_requests(self, *, limit: int | None = None) -> Pager[LoggedRequest]:
        """The user's requests of the last seven days, newest first; under load a part of them."""
        return Pager(self._transport, _identity_operations.logged_requests(limit))

    def logged_request(self, request_id: str) -> LoggedRequest:
        """A request of the user by the `request_id` of an error, or the X-Request-Id."""
        return self._transport.call(_identity_operations.logged_request(request_id))

    def close_account(self, password: str, *, code: str | None = None) -> None:
        """Close the account, which has to be empty, and erase the personal data."""
        self._transport.call(_identity_operations.close_account(password, code))

    def export(self) -> dict[str, Any]:
        """All data that FinPay has of the user, as the members of a JSON object."""
        return self._transport.call(_identity_operations.export())
