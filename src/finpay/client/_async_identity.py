"""The methods of `AsyncFinPay` for e-mail addresses, forgotten passwords and the second factor."""

from finpay.client import _identity_operations
from finpay.client._async_transport import AsyncTransport
from finpay.client._identity_models import Login, SecondFactor
from finpay.client._models import User
from finpay.client._session import ClientSession


class AsyncIdentityMethods:
    """Part of the client, which has the session and the transport."""

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
