# Generated from _async_identity.py by tools/generate_sync_client.py: edit that file instead.
"""The methods of `FinPay` for e-mail addresses, forgotten passwords and the second factor."""

from finpay.client import _identity_operations
from finpay.client._identity_models import Login, SecondFactor
from finpay.client._models import User
from finpay.client._session import ClientSession
from finpay.client._sync_transport import Transport


class IdentityMethods:
    """Part of the client, which has the session and the transport."""

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
