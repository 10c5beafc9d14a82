"""Approvals: what one operator asks for and another one decides."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from finpay import ids
from finpay.db.pool import Database
from finpay.identity.roles import set_role
from finpay.ledger import operator_actions as actions
from finpay.ledger.operator_actions import CommandOrigin, CommandResult
from finpay.ledger.outcome import Outcome
from tests.sql.ledger_fixtures import REFUSALS, Bank, Holder, fresh_key
from tests.sql.operator_cases import Action, Case, Wrongs

# Every action of the cases is about more than this.
APPROVAL_ABOVE: Final = '{"ZAR": 1}'


@dataclass(slots=True)
class Operator:
    """An operator with one key for all that a test does."""

    bank: Bank
    user: Holder
    key: str = field(default_factory=fresh_key)

    @classmethod
    async def new(cls, bank: Bank) -> "Operator":
        user = await bank.open()
        await set_role(bank.owner, user.email, "operator")
        return cls(bank, user)

    def origin(self, above: str | None = None, fingerprint: bytes = b"action") -> CommandOrigin:
        refusals = REFUSALS[: len(Outcome)]
        return CommandOrigin(
            self.user.user_id, self.key, fingerprint, "req_test", None, above, refusals
        )

    async def leave(self) -> None:
        """Not an operator any more."""
        await set_role(self.bank.owner, self.user.email, "user")


class Decision(Action):
    """Approves or rejects an action that another operator asked for."""

    def __init__(self, case: Case, operators: Database, *, approve: bool) -> None:
        super().__init__(case.bank)
        self.case = case
        self.operators = operators
        self.approve = approve

    async def prepare(self) -> None:
        await self.case.prepare()
        asking = await Operator.new(self.bank)
        asked = await self.case.act(self.operators, asking.origin(APPROVAL_ABOVE))
        assert asked.outcome is Outcome.APPROVAL_REQUIRED, asked
        made: dict[str, Any] = msgspec.json.decode(asked.answer or "")
        self.target = ids.decode("apr", made["id"])

    async def spoil(self, wrongs: Wrongs) -> None:
        await self.case.spoil(wrongs - {Outcome.NOT_FOUND})
        if Outcome.APPROVAL_NOT_PENDING in wrongs:
            third = await Operator.new(self.bank)
            await actions.decide_approval(
                self.operators, third.origin(), self.target, approve=False
            )
        if Outcome.NOT_FOUND in wrongs:
            self.target = ids.new_uuid()

    async def act(self, operators: Database, origin: CommandOrigin) -> CommandResult:
        return await actions.decide_approval(operators, origin, self.target, approve=self.approve)
