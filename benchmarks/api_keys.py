"""Transfers per second with API keys, alternately with those of sessions.

    python -m benchmarks.api_keys [--seconds 5] [--repetitions 5] [--limits off]

Sessions have two rate limits and keys one, all of them so high that none refuses.
A ratio is that of the rate with keys to the rate with sessions, measured right before or after it
in turns; the last one printed is the median. CPU is that of the API and of PostgreSQL per request:
it hardly depends on what else the machine does.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import asyncpg

from benchmarks import verify
from benchmarks.bench import Bench, bench
from benchmarks.operations import measure, medians, parser
from benchmarks.stack import Tuning
from benchmarks.users import User, write_users
from finpay import ids
from finpay.identity.api_keys import SHOWN_LENGTH, hash_of, new_secret

USERS: Final = 200

HIGH: Final = "100000000/900"
TIERS: Final = ("GLOBAL", "TRANSACTION", "KEY")

_KEYS: Final = """
INSERT INTO identity.api_keys (id, user_id, secret_hash, prefix, name, scopes, allowed_cidrs)
SELECT k.id, k.user_id, k.hash, k.prefix, 'load', '{account:read,transactions:write}', '{}'
FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::text[]) AS k (id, user_id, hash, prefix)
"""


async def with_keys(database_url: str, users: Sequence[User]) -> list[User]:
    """The users with a new API key of each instead of the token of its session."""
    secrets = [new_secret() for _ in users]
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET ROLE finpay_app")
    await connection.execute(
        _KEYS,
        [ids.new_uuid() for _ in users],
        [user.user_id for user in users],
        [hash_of(secret) for secret in secrets],
        [secret[:SHOWN_LENGTH] for secret in secrets],
    )
    await connection.close()
    return [replace(user, token=secret) for user, secret in zip(users, secrets, strict=True)]


def compare(sessions: Bench, keys: Bench, *, keys_first: bool) -> tuple[float, float]:
    """A load of each: the ratio of rates, and that of CPU."""
    if keys_first:
        key, session = measure(keys, "transfers"), measure(sessions, "transfers")
    else:
        session, key = measure(sessions, "transfers"), measure(keys, "transfers")
    rate, cpu = key.per_second / session.per_second, key.cpu_us / session.cpu_us
    print(
        f"keys {key.per_second:6.0f}/s {key.cpu_us:5.0f} CPU us; "
        f"sessions {session.per_second:6.0f}/s {session.cpu_us:5.0f} CPU us; "
        f"ratio {rate:.3f}, CPU {cpu:.3f}, errors {key.errors + session.errors}",
        flush=True,
    )
    return rate, cpu


def main() -> None:
    """Prints each pair, the medians, and whether the ledger is clean."""
    arguments = parser("api_keys", 5)
    arguments.add_argument("--limits", default=HIGH, help=f"of each tier: {HIGH} or off")
    options = arguments.parse_args()
    limits = {f"FINPAY_RATE_LIMIT_{tier}": options.limits for tier in TIERS}
    with bench(Tuning(options.workers, limits), USERS, options.seconds) as sessions:
        owners = asyncio.run(with_keys(sessions.stack.database_url, sessions.users))
        file = write_users(owners, sessions.stack.folder / "keys")
        keys = replace(sessions, users=owners, file=file)
        measure(replace(keys, seconds=1.0), "transfers")  # each process looks up each key once
        ratios = [
            compare(sessions, keys, keys_first=bool(number % 2))
            for number in range(options.repetitions)
        ]
        rate, cpu = medians(ratios)
        print(f"keys: {rate:.3f} of transfers with sessions, {cpu:.3f} of their CPU per request")
        verify.print_result(sessions.stack)


if __name__ == "__main__":
    main()
