"""Bugs that only faults bring to light: what is changed, which faults, which count must notice."""

from dataclasses import dataclass
from typing import Final

from torture.fault_plan import Fault
from torture.load import THINK_S

_MIGRATIONS: Final = "src/finpay/db/migrations/20261129"
DECIDE: Final = f"{_MIGRATIONS}000009_ledger_decide_batch.sql"
POST: Final = f"{_MIGRATIONS}000014_ledger_posting.sql"
OPERATORS: Final = f"{_MIGRATIONS}000021_ledger_operators.sql"
OPERATE: Final = f"{_MIGRATIONS}000022_ledger_operator_actions.sql"
COMMANDS: Final = f"{_MIGRATIONS}000023_ledger_operator_commands.sql"
RIGHTS: Final = f"{_MIGRATIONS}000099_rights.sql"
POSTING: Final = "src/finpay/ledger/posting.py"
BATCHER: Final = "src/finpay/ledger/batcher.py"
POOL: Final = "src/finpay/db/pool.py"
LIFETIMES: Final = "src/finpay/gate/redis_keys.py"
WORKER_SQL: Final = "src/finpay/webhooks/queries.sql"


@dataclass(frozen=True)
class Edit:
    """`old`, which stands once in `path`, becomes `new`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Plant:
    """One bug. At least one of the counts in `noticed_by` must find it within `minutes`."""

    name: str
    edits: tuple[Edit, ...]
    faults: tuple[Fault, ...]
    noticed_by: tuple[str, ...]
    minutes: float = 0.4
    think_s: float = THINK_S


_EVENTS_END: Final = "WHERE side.sequence IS NOT NULL;\n\n    IF subscribed IS NOT NULL THEN"
_KEYS_END: Final = "WHERE q.outcome > 'duplicate';\n\n    IF modes &&"
_CALLED: Final = '    assert row is not None, "a function with OUT parameters'
_GRANTS: Final = "GRANT EXECUTE ON FUNCTION\n    ledger.open_account,"

_RECORD_LATE: Final = """\
CREATE FUNCTION outbox.record_late(ids uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO outbox.events (account_id, sequence, transaction_id, actor_id, created_at, type,
                               idempotency_key)
    SELECT h.account_id, h.sequence, t.id, s.user_id, t.created_at, 'transaction.' || t.status,
           k.key
    FROM (SELECT account_id, sequence, transaction_id FROM ledger.entries
          UNION ALL SELECT account_id, sequence, transaction_id FROM ledger.failed_transactions) h
    JOIN ledger.transactions t ON t.id = h.transaction_id AND t.id = ANY (ids)
    LEFT JOIN ledger.accounts s ON s.id = t.sender_id AND s.id = h.account_id
    LEFT JOIN ledger.idempotency_keys k ON k.transaction_id = t.id AND k.principal_id = s.user_id
    ON CONFLICT DO NOTHING
$$;
GRANT EXECUTE ON FUNCTION outbox.record_late TO finpay_app;
"""

_STORE_LATE: Final = """\
CREATE FUNCTION ledger.store_late(
    senders uuid[], ids uuid[], statuses smallint[], keys text[], prints bytea[], answers text[]
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO ledger.idempotency_keys (principal_id, transaction_id, created_at, http_status,
                                         key, fingerprint, answer)
    SELECT a.user_id, i.id, COALESCE(t.created_at, clock_timestamp()), i.status, i.key, i.print,
           i.answer
    FROM unnest(senders, ids, statuses, keys, prints, answers)
             AS i (sender, id, status, key, print, answer)
    JOIN ledger.accounts a ON a.id = i.sender
    LEFT JOIN ledger.transactions t ON t.id = i.id
    ON CONFLICT DO NOTHING
$$;
GRANT EXECUTE ON FUNCTION ledger.store_late TO finpay_app;
"""

_KILLS: Final = (Fault.KILL_API, Fault.KILL_SERVICE, Fault.SLOW_POSTGRES, Fault.CUT_CLIENTS)
_CRASHES: Final = (Fault.CRASH_POSTGRES, Fault.KILL_BACKEND)
_LOST_CONNECTIONS: Final = (Fault.TEAR_COMMIT, Fault.RESET_POSTGRES)
_EMPTY: Final = (Fault.FLUSH_VALKEY, Fault.KILL_VALKEY, Fault.CUT_CLIENTS)

PLANTS: Final = (
    Plant(
        "acknowledged before it is durable",
        (Edit(POOL, '"application_name": "finpay",',
              '"application_name": "finpay", "synchronous_commit": "off",'),),
        _CRASHES,
        ("lost",),
    ),
    Plant(
        "idempotency only in Redis",
        (Edit(POST, _KEYS_END, _KEYS_END.replace("q.outcome > 'duplicate'", "false")),),
        _EMPTY,
        ("duplicated",),
    ),
    Plant(
        "answer stored after the commit",
        (
            Edit(POST, _KEYS_END, _KEYS_END.replace("q.outcome > 'duplicate'", "false")),
            Edit(RIGHTS, _GRANTS, _STORE_LATE + _GRANTS),
            Edit(POSTING, _CALLED,
                 "    await database.execute(\n"
                 '        "SELECT ledger.store_late($1, $2, $3, $4, $5, $6)",\n'
                 "        [request.sender_id for request in requests],\n"
                 '        row["transaction_ids"], row["http_statuses"],\n'
                 "        [request.key for request in requests],\n"
                 '        row["stored_fingerprints"], row["answers"],\n'
                 "    )\n" + _CALLED),
        ),
        _KILLS,
        ("duplicated",),
        minutes=0.7,
    ),
    Plant(
        "a retry is another transfer",
        (Edit(BATCHER, "may_have_run |= error.may_have_run\n            except",
              "may_have_run |= error.may_have_run\n"
              "                requests = [\n"
              "                    __import__('msgspec').structs.replace(r, description='again')\n"
              "                    if hasattr(r, 'description') else r for r in requests\n"
              "                ]\n            except"),),
        (Fault.KILL_BACKEND, Fault.RESET_POSTGRES),
        ("phantom",),
    ),
    Plant(
        "unknown COMMIT taken for a refusal",
        (Edit(POOL, "_unavailable(may_have_run=code not in _REFUSED_CODES)",
              "FinPayError(Code.INSUFFICIENT_FUNDS, 'Not enough.')"),),
        _LOST_CONNECTIONS,
        ("refused_but_applied",),
    ),
    Plant(
        "stored answers are formatted anew",
        (Edit(POST, "q.http_status, q.key, q.fingerprint, q.body\n",
              "q.http_status, q.key, q.fingerprint,\n           q.body::jsonb::text\n"),),
        _EMPTY,
        ("divergent_replays",),
    ),
    Plant(
        "money is created",
        (Edit(DECIDE, "balances[r]  := balances[r] + amount;",
              "balances[r]  := balances[r] + amount + 1;"),),
        (Fault.KILL_API,),
        ("unbalanced", "drifted", "impossible_reads"),
        minutes=0.1,
    ),
    Plant(
        "a completed withdrawal stays on hold",
        (Edit(OPERATE, "receiver.id, amount, COALESCE(withdrawal.amount, 0),",
              "receiver.id, amount, 0,"),),
        (Fault.KILL_API,),
        ("drifted",),
        minutes=0.1,
    ),
    Plant(
        "operators' keys only in Redis",
        (Edit(OPERATORS, "    result.fingerprint := origin.fingerprint;\n",
              "    result.fingerprint := origin.fingerprint;\n    RETURN result;\n"),),
        _EMPTY,
        ("duplicated",),
    ),
    Plant(
        "two operators end one withdrawal",
        (Edit(COMMANDS, "WHEN withdrawal.status <> 'pending' THEN 'withdrawal_not_pending'",
              "WHEN withdrawal.status NOT IN ('pending', 'rejected')\n"
              "            THEN 'withdrawal_not_pending'"),),
        (Fault.KILL_API,),
        ("duplicated",),
        minutes=0.1,
    ),
    Plant(
        "event written after the commit",
        (
            Edit(POST, _EVENTS_END, _EVENTS_END.replace("side.sequence IS NOT NULL", "false")),
            Edit(RIGHTS, _GRANTS, _RECORD_LATE + _GRANTS),
            Edit(POSTING, _CALLED,
                 "    await database.execute(\n"
                 '        "SELECT outbox.record_late($1)", [item.id for item in items]\n'
                 "    )\n" + _CALLED),
        ),
        _KILLS,
        ("orphans",),
        minutes=0.7,
    ),
    Plant(
        "a lost connection is a bug",
        (Edit(POOL, '_UNAVAILABLE_CLASSES: Final = ("08", "53", "57")',
              '_UNAVAILABLE_CLASSES: Final = ("53", "57")'),),
        _LOST_CONNECTIONS,
        ("undocumented_answers",),
    ),
    Plant(
        "unsorted locks",
        (Edit(POST, "ORDER BY l.id\n        FOR", "ORDER BY random()\n        FOR"),),
        (Fault.PAUSE_POSTGRES,),
        ("leftovers",),
        think_s=0.01,  # two lock phases have to meet
    ),
    Plant(
        "claims are held for ever",
        (Edit(LIFETIMES, "CLAIM_TTL_MS: Final = 10_000", "CLAIM_TTL_MS: Final = 900_000"),),
        (Fault.KILL_API, Fault.KILL_SERVICE),
        ("leftovers",),
    ),
    Plant(
        "delivered when it is claimed",
        (Edit(WORKER_SQL, "SET status = 'leased', worker_id = $3\n",
              "SET status = 'delivered', finished_at = clock_timestamp()\n"),),
        (Fault.KILL_WORKER,),
        ("orphans",),
    ),
    Plant(
        "outbox polled by id",
        (Edit(WORKER_SQL, "WHERE p.status = 'pending' AND p.endpoint_id = e.id\n",
              "WHERE p.status = 'pending' AND p.endpoint_id = e.id\n"
              "          AND p.id > COALESCE((SELECT s.id FROM webhooks.deliveries s\n"
              "                               WHERE s.status NOT IN ('pending', 'scheduled')\n"
              "                               ORDER BY s.id DESC LIMIT 1),\n"
              "                              '00000000-0000-0000-0000-000000000000')\n"),),
        (Fault.KILL_API, Fault.PAUSE_API),
        ("orphans",),
    ),
    Plant(
        "stopped workers keep their leases",
        (Edit(WORKER_SQL, "WHERE d.status = 'leased' AND d.worker_id NOT IN",
              "WHERE false AND d.worker_id NOT IN"),),
        (Fault.KILL_WORKER,),
        ("orphans",),
    ),
    Plant(
        "a lost batch stays in flight for ever",
        (Edit(BATCHER, "            pause_s = await _pause(pause_s)\n        else:",
              "            await asyncio.sleep(3_600)\n        else:"),),
        _CRASHES,
        ("liveness",),
    ),
)  # fmt: skip
