"""What operators do, each as a case that a test makes wrong in chosen ways before it is tried."""

from abc import ABC, abstractmethod
from collections.abc import Set as AbstractSet
from typing import Final

from finpay import ids
from finpay.db.pool import Database
from finpay.ledger import operator_actions as actions
from finpay.ledger import operator_commands as commands
from finpay.ledger.operator_actions import CommandOrigin, CommandResult, LimitsChange, NewDeposit
from finpay.ledger.outcome import Outcome
from tests.sql.ledger_fixtures import LIMIT, Bank, Holder, capture, fresh_key, operation, transfer
from tests.sql.operator_fixtures import Command, withdrawal

Wrongs = AbstractSet[Outcome]
O = Outcome  # noqa: E741  the table below stays readable

# The outcomes that each action can have, in the order of the contract. An approved action has its
# own after those of the approval.
OUTCOMES: Final[dict[str, list[Outcome]]] = {
    "deposit": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.FORBIDDEN, O.RECEIVER_NOT_FOUND,
        O.REFERENCE_TAKEN, O.RECEIVER_UNAVAILABLE, O.BALANCE_LIMIT, O.APPROVAL_REQUIRED,
    ],
    "complete": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN, O.WITHDRAWAL_NOT_PENDING,
        O.REFERENCE_TAKEN, O.SENDER_UNAVAILABLE, O.APPROVAL_REQUIRED,
    ],
    "reject": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN, O.WITHDRAWAL_NOT_PENDING,
    ],
    "refund": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN, O.NOT_REFUNDABLE,
        O.RECEIVER_UNAVAILABLE, O.AMOUNT_TOO_LARGE, O.INSUFFICIENT_FUNDS, O.BALANCE_LIMIT,
        O.APPROVAL_REQUIRED,
    ],
    "void": [O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN, O.HOLD_NOT_OPEN],
    "approval": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN, O.APPROVAL_NOT_PENDING,
    ],
    "freeze": [O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN],
    "limits": [O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN],
}  # fmt: skip


class Action(ABC):
    """What an operator does over HTTP. Nothing is wrong with it after `prepare`."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    @abstractmethod
    async def prepare(self) -> None: ...

    @abstractmethod
    async def spoil(self, wrongs: Wrongs) -> None:
        """Make it wrong in each of these ways that is about its object and its accounts."""

    @abstractmethod
    async def act(self, operators: Database, origin: CommandOrigin) -> CommandResult: ...


class Case(Action):
    """What the command line does as well."""

    @abstractmethod
    def command(self) -> Command:
        """The command, to be given a key."""


class Deposit(Case):
    async def prepare(self) -> None:
        self.account = await self.bank.open()
        self.target, self.reference = self.account.account_id, fresh_key()

    async def spoil(self, wrongs: Wrongs) -> None:
        if O.BALANCE_LIMIT in wrongs:
            await self.bank.fund(self.account, LIMIT - await self.bank.balance(self.account))
        if O.REFERENCE_TAKEN in wrongs:
            other = (await self.bank.open()).public_id
            await commands.deposit(self.bank.owner, other, 1, self.reference, key=fresh_key())
        if O.RECEIVER_UNAVAILABLE in wrongs:
            await self.bank.freeze(self.account)
        if O.RECEIVER_NOT_FOUND in wrongs:
            self.target = ids.new_uuid()

    def command(self) -> Command:
        named, owner = ids.encode("acc", self.target), self.bank.owner
        return lambda key: commands.deposit(owner, named, 10, self.reference, key=key)

    async def act(self, operators: Database, origin: CommandOrigin) -> CommandResult:
        new = NewDeposit(self.target, 10, self.reference, None)
        return await actions.deposit(operators, origin, new)


class OfWithdrawal(Case):
    """About a pending withdrawal of 100."""

    async def prepare(self) -> None:
        self.account = await self.bank.open(100)
        self.target, self.reference = await withdrawal(self.bank, self.account), fresh_key()

    async def spoil(self, wrongs: Wrongs) -> None:
        if O.REFERENCE_TAKEN in wrongs:
            of_other = await withdrawal(self.bank, await self.bank.open(10), 10)
            other = ids.encode("wdr", of_other)
            await commands.complete_withdrawal(
                self.bank.owner, other, self.reference, key=fresh_key()
            )
        if O.WITHDRAWAL_NOT_PENDING in wrongs:
            await self.bank.post(operation("cancel", self.account, target=self.target))
        if O.SENDER_UNAVAILABLE in wrongs:
            await self.bank.freeze(self.account)
        if O.NOT_FOUND in wrongs:
            self.target = ids.new_uuid()


class Complete(OfWithdrawal):
    def command(self) -> Command:
        named, owner = ids.encode("wdr", self.target), self.bank.owner
        return lambda key: commands.complete_withdrawal(owner, named, self.reference, key=key)

    async def act(self, operators: Database, origin: CommandOrigin) -> CommandResult:
        return await actions.complete_withdrawal(operators, origin, self.target, self.reference)


class Reject(OfWithdrawal):
    def command(self) -> Command:
        named, owner = ids.encode("wdr", self.target), self.bank.owner
        return lambda key: commands.reject_withdrawal(owner, named, "no such bank", key=key)

    async def act(self, operators: Database, origin: CommandOrigin) -> CommandResult:
        return await actions.reject_withdrawal(operators, origin, self.target, "no such bank")


class Refund(Case):
    """Of a transfer of 100. Its sender is left with 100 less than the limit of a balance."""

    async def prepare(self) -> None:
        self.sender, self.receiver = await self.bank.open(LIMIT), await self.bank.open(100)
        paid = transfer(self.sender, self.receiver, 100)
        await self.bank.post(paid)
        self.target = paid.id

    async def spoil(self, wrongs: Wrongs) -> None:
        owner = self.bank.owner
        if O.AMOUNT_TOO_LARGE in wrongs:
            await commands.refund(owner, ids.encode("txn", self.target), 1, key=fresh_key())
        if O.NOT_REFUNDABLE in wrongs:
            await self._refund_all()
        if O.INSUFFICIENT_FUNDS in wrongs:
            await self._spend(self.receiver, 50)
        if O.BALANCE_LIMIT in wrongs:
            await self.bank.fund(self.sender, LIMIT - await self.bank.balance(self.sender))
        if O.RECEIVER_UNAVAILABLE in wrongs:
            await self.bank.freeze(self.sender)
        if O.NOT_FOUND in wrongs:
            self.target = ids.new_uuid()

    async def _refund_all(self) -> None:
        """The target is the refund, which would go back the other way."""
        named = ids.encode("txn", self.target)
        back = await commands.refund(self.bank.owner, named, None, key=fresh_key())
        self.target = ids.decode("txn", back.members["id"])
        self.sender, self.receiver = self.receiver, self.sender

    async def _spend(self, holder: Holder, left: int) -> None:
        spent = await self.bank.balance(holder) - left
        await self.bank.post(transfer(holder, await self.bank.open(), spent))

    def command(self) -> Command:
        named, owner = ids.encode("txn", self.target), self.bank.owner
        return lambda key: commands.refund(owner, named, 100, key=key)

    async def act(self, operators: Database, origin: CommandOrigin) -> CommandResult:
        return await actions.refund(operators, origin, self.target, 100, None)


class Void(Case):
    async def prepare(self) -> None:
        self.receiver = await self.bank.open()
        self.target = (await self.bank.hold(await self.bank.open(100), self.receiver, 100)).id

    async def spoil(self, wrongs: Wrongs) -> None:
        if O.HOLD_NOT_OPEN in wrongs:
            await self.bank.post(capture(self.receiver, self.target))
        if O.NOT_FOUND in wrongs:
            self.target = ids.new_uuid()

    def command(self) -> Command:
        named, owner = ids.encode("hld", self.target), self.bank.owner
        return lambda key: commands.void_hold(owner, named, key=key)

    async def act(self, operators: Database, origin: CommandOrigin) -> CommandResult:
        return await actions.void_hold(operators, origin, self.target)


class OfAccount(Action):
    """About an account, without money."""

    async def prepare(self) -> None:
        self.target = (await self.bank.open()).account_id

    async def spoil(self, wrongs: Wrongs) -> None:
        if O.NOT_FOUND in wrongs:
            self.target = ids.new_uuid()


class Freeze(OfAccount):
    async def act(self, operators: Database, origin: CommandOrigin) -> CommandResult:
        return await actions.set_status(operators, origin, self.target, "frozen", "a test")


class Limits(OfAccount):
    async def act(self, operators: Database, origin: CommandOrigin) -> CommandResult:
        change = LimitsChange(100, None, has_single=True, has_daily=False)
        return await actions.set_limits(operators, origin, self.target, change)
