"""The methods of `AsyncFinPay` for the user: e-mail address, password, second factor, sessions, API
keys, logged requests, leaving.
"""

from collections.abc import Sequence
from typing import Any, Unpack

from finpay.client import _identity_operations
from finpay.client._async_transport import AsyncPager, AsyncTransport
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


class AsyncIdentityMethods:
    """A part of AsyncFinPay, which has the session and the transport."""

    _session: ClientSession
    _transport: AsyncTransport

    async def complete_login(self, challenge: str, code: str) -> Login:
        """Log in with the code that `login` asked for.

        Its refusal has the code `second_factor_required`, and the challenge among `extensions`.
        """
        return await self._transport.call(_identity_operations.complete_login(challenge, code))

    async def update_me(self, name: str | None) -> User:
        """Change the user's name; None removes it."""
        return await self._transport.call(_identity_operations.update_me(name))

    async def request_password_reset(self, email: str) -> None:
        """Send a mail with a link that resets the password, if the address is registered."""
        await self._transport.call(_identity_operations.request_password_reset(email))

    async def reset_password(self, token: str, new_password: str) -> None:
        """Set a new password with the token of the mail. All sessions of the user end."""
        await self._transport.call(_identity_operations.reset_password(token, new_password))

    async def request_email_verification(self) -> None:
        """Send a mail with a link that verifies the user's address."""
        await self._transport.call(_identity_operations.request_email_verification())

    async def verify_email(self, token: str) -> None:
        """Verify the address with the token of the mail."""
        await self._transport.call(_identity_operations.verify_email(token))

    async def create_second_factor(self, password: str) -> SecondFactor:
        """Return a new secret for an authenticator. It has no effect before it is confirmed."""
        return await self._transport.call(_identity_operations.create_second_factor(password))

    async def confirm_second_factor(self, code: str) -> list[str]:
        """Switch the second factor on. Returns ten recovery codes, which are shown once."""
        confirmed = await self._transport.call(_identity_operations.confirm_second_factor(code))
        return confirmed.recovery_codes

    async def disable_second_factor(self, password: str, code: str) -> None:
        """Switch the second factor off. All sessions of the user end, this one too."""
        await self._transport.call(_identity_operations.disable_second_factor(password, code))
        self._session.forget_tokens()

    def sessions(self, *, limit: int | None = None) -> AsyncPager[ActiveSession]:
        """Where the user is logged in, newest first."""
        return AsyncPager(self._transport, _identity_operations.sessions(limit))

    async def end_session(self, session_id: str) -> None:
        """End one session of the user."""
        await self._transport.call(_identity_operations.end_session(session_id))

    async def end_other_sessions(self) -> None:
        """End all sessions of the user but this one."""
        await self._transport.call(_identity_operations.end_other_sessions())

    async def create_api_key(
        self, name: str, scopes: Sequence[str], password: str, **options: Unpack[ApiKeyOptions]
    ) -> ApiKey:
        """Create a key for a server of the user, with its `secret`, which is shown once."""
        return await self._transport.call(
            _identity_operations.create_api_key(name, scopes, password, options)
        )

    def api_keys(self, *, limit: int | None = None) -> AsyncPager[ApiKey]:
        """The user's API keys, newest first."""
        return AsyncPager(self._transport, _identity_operations.api_keys(limit))

    async def delete_api_key(self, key_id: str) -> None:
        """End an API key, everywhere at once."""
        await self._transport.call(_identity_operations.delete_api_key(key_id))

    def logged_requests(self, *, limit: int | None = None) -> AsyncPager[LoggedRequest]:
        """The user's requests of the last seven days, newest first; under load a part of them."""
        return AsyncPager(self._transport, _identity_operations.logged_requests(limit))

    async def logged_request(self, request_id: str) -> LoggedRequest:
        """A request of the user by the `request_id` of an error, or the X-Request-Id."""
        return await self._transport.call(_identity_operations.logged_request(request_id))

    async def close_account(self, password: str, *, code: str | None = None) -> None:
        """Close the account, which has to be empty, and erase the personal data."""
        await self._transport.call(_identity_operations.close_account(password, code))

    async def export(self) -> dict[str, Any]:
        """All data that FinPay has of the user, as the members of a JSON object."""
        return await self._transport.call(_identity_operations.export())
