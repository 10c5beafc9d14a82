"""A bank for tests: real accounts in a real database, and short words for what happens to them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from msgspec import structs

from finpay import ids
from finpay.db.pool import Database, Record
from finpay.ledger import administration
from finpay.ledger.outcome import PAYMENT_REFUSALS, Outcome
from finpay.ledger.posting import (
    Mode,
    Operation,
    Posting,
    PostingResult,
    Transfer,
    TransferBatch,
    TransferItem,
    post,
)
from finpay.ledger.verify import verify

LIMIT: Final = 2**53 - 1
REPLY: Final = (
    '{"currency":"%1$s","receiver":"%2$s","balance_after":%3$s,"created_at":"%4$s",'
    '"available_after":%5$s}'
)
# As the API's templates, with everything that an operation can fill in.
OPERATION_REPLY: Final = (
    '{"currency":"%1$s","other":"%2$s","balance_after":"%3$s","created_at":"%4$s",'
    '"available_after":"%5$s","amount":%6$s,"description":%7$s,"metadata":[%8$s],"taken":"%9$s",'
    '"made_at":"%10$s","expires_at":"%11$s"}'
)
REFUSALS: Final = [
    *(
        f'{{"code":"{outcome}","request_id":"%1$s"{index}%3$s}}'
        for index in ("", ',"index":%2$s')
        for outcome in Outcome
    ),
    *(f'{{"payment":"{outcome}","request_id":"%1$s"%3$s}}' for outcome in PAYMENT_REFUSALS),
]


@dataclass(frozen=True, slots=True)
class Holder:
    """A user with an account."""

    user_id: UUID
    account_id: UUID
    email: str

    @property
    def public_id(self) -> str:
        return ids.encode("acc", self.account_id)


class Bank:
    """One database, seen with the rights of the app and with those of the owner."""

    def __init__(
        self, url: str, *, size: int = 4, session_settings: Mapping[str, str] | None = None
    ) -> None:
        self.url = url
        self.app = Database(url, size=size, session_settings=session_settings)
        self.owner = Database(url, size=2, role="finpay_owner")

    async def close(self) -> None:
        await self.app.close()
        await self.owner.close()

    async def open(
        self, balance: int = 0, *, currency: str = "ZAR", frozen: bool = False
    ) -> Holder:
        """A new user, with money from the system account."""
        user_id, account_id = ids.new_uuid(), ids.new_uuid()
        holder = Holder(user_id, account_id, f"{user_id}@example.com")
        async with self.app.transaction() as transaction:
            await transaction.execute(
                "INSERT INTO identity.users (id, email, password_hash) VALUES ($1, $2, 'none')",
                user_id,
                holder.email,
            )
            await transaction.execute(
                "SELECT ledger.open_account($1, $2, $3)", account_id, user_id, currency
            )
        if balance:
            await self.fund(holder, balance)
        if frozen:
            await self.freeze(holder)
        return holder

    async def fund(self, holder: Holder, amount: int) -> administration.Funding:
        return await administration.fund(self.owner, holder.public_id, amount, fresh_key())

    async def freeze(self, holder: Holder) -> None:
        await administration.set_status(
            self.owner, holder.public_id, "frozen", "a test", fresh_key()
        )

    async def hold(
        self, sender: Holder, receiver: Holder, amount: int, **changes: Any
    ) -> Operation:
        """An open hold; returns its request, whose id is the hold's."""
        request = hold(sender, receiver, amount, **changes)
        (posted,) = await self.post(request)
        assert posted.outcome is Outcome.COMPLETED, posted
        return request

    async def limit(
        self, holder: Holder, *, single: int | None = None, daily: int | None = None
    ) -> None:
        """Limits without the operator's command, to try the decision alone."""
        await self.owner.execute(
            "UPDATE ledger.accounts SET limit_single = $2, limit_daily = $3 WHERE id = $1",
            holder.account_id,
            single,
            daily,
        )

    async def post(self, *requests: Posting) -> list[PostingResult]:
        return await post(self.app, requests, REFUSALS)

    async def outcomes(self, *requests: Posting) -> list[Outcome]:
        return [posted.outcome for posted in await self.post(*requests)]

    async def outcome(self, request: Posting) -> Outcome:
        return (await self.outcomes(request))[0]

    async def account(self, holder: Holder) -> Record:
        return await self.row("SELECT * FROM ledger.accounts WHERE id = $1", holder.account_id)

    async def balance(self, holder: Holder) -> int:
        balance: int = (await self.account(holder))["balance"]
        return balance

    async def held(self, holder: Holder) -> int:
        held: int = (await self.account(holder))["held"]
        return held

    async def transaction(self, transfer: Transfer | Operation) -> Record:
        return await self.row("SELECT * FROM ledger.transactions WHERE id = $1", transfer.id)

    async def row(self, query: str, *args: object) -> Record:
        """The only row."""
        (row,) = await self.app.fetch(query, *args)
        return row

    async def until_a_statement_waits(self) -> None:
        """Until a statement in this database waits for a lock."""
        async with asyncio.timeout(10):
            while not await self.count(
                "pg_locks JOIN pg_stat_activity USING (pid)",
                "NOT granted AND datname = current_database()",
            ):
                await asyncio.sleep(0.01)

    async def count(self, table: str, where: str, *args: object) -> int:
        row = await self.row(f"SELECT count(*) AS n FROM {table} WHERE {where}", *args)
        count: int = row["n"]
        return count


def transfer(sender: Holder, receiver: Holder, amount: int, **changes: Any) -> Transfer:
    """A well-formed item with a key of its own; `changes` are fields of Transfer."""
    plain = Transfer(
        id=ids.new_uuid(),
        sender_id=sender.account_id,
        receiver_id=receiver.account_id,
        receiver_email=None,
        amount=amount,
        currency=None,
        description=None,
        metadata="{}",
        key=fresh_key(),
        fingerprint=b"fingerprint",
        request_id="req_test",
        address="192.0.2.1",
        reply=REPLY,
    )
    return structs.replace(plain, **changes)


def retry(item: Transfer, **changes: Any) -> Transfer:
    """The same request once more: another id and request, the same key and fingerprint."""
    return structs.replace(item, id=ids.new_uuid(), request_id="req_again", **changes)


def transfer_batch(
    sender: Holder, *items: TransferItem, mode: Mode = "independent", **changes: Any
) -> TransferBatch:
    """A well-formed transfer batch with a key of its own; `changes` are fields of TransferBatch."""
    plain = TransferBatch(
        sender_id=sender.account_id,
        mode=mode,
        items=items,
        key=fresh_key(),
        fingerprint=b"fingerprint",
        request_id="req_test",
        address="192.0.2.1",
    )
    return structs.replace(plain, **changes)


def item(receiver: Holder, amount: int, **changes: Any) -> TransferItem:
    """One transfer of a transfer batch; `changes` are fields of TransferItem."""
    plain = TransferItem(
        id=ids.new_uuid(),
        receiver_id=receiver.account_id,
        receiver_email=None,
        amount=amount,
        currency=None,
        description=None,
        metadata="{}",
        reply=REPLY,
    )
    return structs.replace(plain, **changes)


def retry_batch(request: TransferBatch, **changes: Any) -> TransferBatch:
    """The same transfer batch once more: other ids and request, the same key and fingerprint."""
    items = [structs.replace(one, id=ids.new_uuid()) for one in request.items]
    return structs.replace(request, items=items, request_id="req_again", **changes)


def operation(mode: Mode, caller: Holder, **changes: Any) -> Operation:
    """A well-formed operation with a key of its own; `changes` are fields of Operation."""
    plain = Operation(
        mode=mode,
        id=ids.new_uuid(),
        sender_id=caller.account_id,
        key=fresh_key(),
        fingerprint=b"fingerprint",
        request_id="req_test",
        address="192.0.2.1",
        reply=OPERATION_REPLY,
    )
    return structs.replace(plain, **changes)


def hold(sender: Holder, receiver: Holder, amount: int, **changes: Any) -> Operation:
    changes = {"expires_in_s": 600, **changes}
    return operation("hold", sender, receiver_id=receiver.account_id, amount=amount, **changes)


def capture(receiver: Holder, target: UUID, amount: int | None = None, **changes: Any) -> Operation:
    return operation("capture", receiver, target=target, amount=amount, **changes)


def void(receiver: Holder, target: UUID, **changes: Any) -> Operation:
    return operation("void", receiver, target=target, **changes)


def refund(receiver: Holder, target: UUID, amount: int | None = None, **changes: Any) -> Operation:
    return operation("refund", receiver, target=target, amount=amount, **changes)


def payment(payer: Holder, target: UUID, **changes: Any) -> Operation:
    """Of a payment request."""
    return operation("pay", payer, target=target, **changes)


def fresh_key() -> str:
    return str(ids.new_uuid())


@asynccontextmanager
async def moving_money(url: str) -> AsyncIterator[tuple[Bank, Holder]]:
    """Completed and refused transfers between two new accounts, until the end of the block."""
    bank, stop = Bank(url), asyncio.Event()
    a, b = await bank.open(10_000), await bank.open()

    async def keep_moving() -> None:
        while not stop.is_set():
            await bank.post(transfer(a, b, 1), transfer(b, a, 1), transfer(b, a, 10_000))

    moving = asyncio.create_task(keep_moving())
    try:
        yield bank, a
    finally:
        stop.set()
        await moving
        await bank.close()


@asynccontextmanager
async def verified_bank(url: str, limit_s: float) -> AsyncIterator[Bank]:
    """Its ledger is verified at the end. TimeoutError after `limit_s`."""
    bank = Bank(url, size=8)
    try:
        async with asyncio.timeout(limit_s):
            yield bank
        report = await verify(bank.owner)
        assert report.ok, [check for check in report.checks if not check.ok]
    finally:
        await bank.close()
