"""The planted bugs: what is changed into what, and where it has to be noticed."""

from typing import Final

from tests.mutants.identity_mutations import IDENTITY_MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.operation_mutations import OPERATION_MUTANTS

_MIGRATIONS: Final = "src/finpay/db/migrations/20261129"
OUTCOMES: Final = f"{_MIGRATIONS}000007_ledger_outcomes.sql"
DECISIONS: Final = f"{_MIGRATIONS}000008_ledger_decisions.sql"
OPERATIONS: Final = f"{_MIGRATIONS}000010_ledger_operations.sql"
TARGETS: Final = f"{_MIGRATIONS}000018_ledger_targets.sql"
DECIDE: Final = f"{_MIGRATIONS}000009_ledger_decide_batch.sql"
ARGUMENTS: Final = f"{_MIGRATIONS}000013_ledger_arguments.sql"
POST: Final = f"{_MIGRATIONS}000014_ledger_posting.sql"
MOVEMENTS: Final = f"{_MIGRATIONS}000019_ledger_movements.sql"
ACCOUNTS: Final = f"{_MIGRATIONS}000020_ledger_administration.sql"
OPERATORS: Final = f"{_MIGRATIONS}000070_operator_accounts.sql"
LEDGER: Final = f"{_MIGRATIONS}000003_ledger.sql"
AUDIT: Final = f"{_MIGRATIONS}000004_audit.sql"
RIGHTS: Final = f"{_MIGRATIONS}000099_rights.sql"
BATCHER: Final = "src/finpay/ledger/batcher.py"
READS: Final = "src/finpay/ledger/reads.py"
BATCHED_READS: Final = "src/finpay/ledger/batched_reads.py"
GATE_LUA: Final = "src/finpay/gate/gate.lua"
KNOWN_DATABASE: Final = "src/finpay/gate/known_database.py"
REDIS_CLIENT: Final = "src/finpay/gate/redis_client.py"
MICRO_BATCHER: Final = "src/finpay/concurrency/micro_batcher.py"
PIPELINE: Final = "src/finpay/edge/pipeline.py"
_LIMIT: Final = "used[n] + math.max(cost[n], 1) > limit[n]"
_RECEIVER_LIMIT: Final = (
    "receiver_balance > 9007199254740991 - amount THEN 'balance_limit'\n    ELSE 'completed'\n"
    "END;\n\n-- The outcome of a capture"
)

SQL: Final = "tests/sql"
GATE: Final = "tests/gate"
API: Final = "tests/api"
KNOWN: Final = "tests/gate/test_known_database.py"


MUTANTS: Final = (
    # What post_transfers decides.
    Mutant("overdraw by one", OUTCOMES, "sender_available < amount",
           "sender_available + 1 < amount", SQL),
    Mutant("the last unit can't be sent", OUTCOMES, "sender_available < amount",
           "sender_available <= amount", SQL),
    Mutant("holds don't count", DECIDE, "balances[s] - helds[s],\n                    frozen[r]",
           "balances[s],\n                    frozen[r]", SQL),
    Mutant("limit one too high", OUTCOMES, _RECEIVER_LIMIT,
           _RECEIVER_LIMIT.replace("4740991", "4740992"), SQL),
    Mutant("limit one too low", OUTCOMES, _RECEIVER_LIMIT,
           _RECEIVER_LIMIT.replace("4740991", "4740990"), SQL),
    Mutant("frozen sender sends", OUTCOMES, "WHEN sender_refusal IS NOT NULL THEN sender_refusal",
           "WHEN false THEN sender_refusal", SQL),
    Mutant("frozen receiver receives", OUTCOMES, "WHEN receiver_frozen THEN", "WHEN false THEN",
           SQL),
    Mutant("transfer to the own account", OUTCOMES, "WHEN same_account THEN", "WHEN false THEN",
           SQL),
    Mutant("currencies mix", OUTCOMES, "WHEN sender_currency <> receiver_currency THEN",
           "WHEN false THEN", SQL),
    Mutant("the request's currency is ignored", OUTCOMES, "WHEN currency <> sender_currency THEN",
           "WHEN false THEN", SQL),
    Mutant("system accounts take part", POST, " AND l.user_id IS NOT NULL\n", "\n", SQL),
    Mutant("money is created", DECIDE, "balances[r] + amount;", "balances[r] + amount + 1;",
           SQL),
    Mutant("money is lost", DECIDE, "balances[p]  := balances[p] - amount;",
           "balances[p]  := balances[p] - amount - 1;", SQL),
    Mutant("the sender's version does not change", DECIDE, "versions[p]  := versions[p] + 1;", "",
           SQL),
    Mutant("the receiver's sequence does not change", DECIDE,
           "sequences[r] := sequences[r] + 1;\n                items", "items", SQL),
    Mutant("a failed transaction takes no sequence", DECIDE,
           "sequences[s] := sequences[s] + 1;  -- a failed", "-- a failed", SQL),
    Mutant("an entry has the wrong sign", POST, "i.sent_sequence, -i.amount,",
           "i.sent_sequence, i.amount,", SQL),
    Mutant("keys are not stored", POST, "WHERE q.outcome > 'duplicate';", "WHERE false;", SQL),
    Mutant("refusals are not stored", POST, "WHERE q.outcome > 'duplicate';",
           "WHERE q.outcome = 'completed';", SQL),
    Mutant("fingerprints are not compared", POST, "CASE WHEN k.fingerprint = q.fingerprint THEN",
           "CASE WHEN k.key IS NOT NULL THEN", SQL),
    Mutant("a reused key replays", POST, "THEN 'idempotency_key_reuse' END)",
           "THEN 'duplicate'::ledger.outcome END)", SQL),
    Mutant("receivers get no event", POST,
           "(i.sender, i.sent_sequence), (i.receiver, i.received_sequence)\n    ) AS",
           "(i.sender, i.sent_sequence), (i.receiver, NULL::bigint)\n    ) AS", SQL),
    Mutant("refusals leave no audit row", POST, "WHERE i.outcome IS NOT NULL;",
           "WHERE i.sent_sequence IS NOT NULL;", SQL),
    Mutant("locks in no order", POST, "ORDER BY l.id\n        FOR",
           "ORDER BY random()\n        FOR", SQL),
    Mutant("no locks", POST, "        FOR NO KEY UPDATE\n", "\n", SQL),
    Mutant("a 402 is a 422", OUTCOMES, "'insufficient_funds' THEN 402",
           "'insufficient_funds' THEN 422", SQL),
    # Transfer batches.
    Mutant("a refused atomic batch keeps versions", DECIDE, "versions[r]  := versions[r] - 1;", "",
           SQL),
    Mutant("a refused atomic batch keeps money", DECIDE,
           "balances[s]  := balances[s] + amounts[reverted];", "", SQL),
    Mutant("a batch stops too early", DECIDE, "        last  := last + sizes[q];\n"
           "        CONTINUE WHEN stored", "        last  := last + 1;\n"
           "        CONTINUE WHEN stored", SQL),
    Mutant("an atomic batch is independent", DECIDE,
           "CONTINUE WHEN outcome = 'completed' OR mode <> 'atomic';", "CONTINUE WHEN true;",
           SQL),
    Mutant("the range of a batch begins too early", DECIDE, "ROW(version_before + 1,",
           "ROW(version_before,", SQL),
    # Operations.
    Mutant("a capture takes more than is left", OUTCOMES,
           "WHEN amount > remaining THEN 'amount_too_large'\n    WHEN receiver_balance",
           "WHEN amount > remaining + 1 THEN 'amount_too_large'\n    WHEN receiver_balance", SQL),
    Mutant("a refund exceeds its payment", OUTCOMES, "amount > remaining OR remaining = 0",
           "amount > remaining + 1 OR remaining = 0", SQL),
    Mutant("the sender voids a hold", OUTCOMES,
           "WHEN is_sender THEN 'forbidden'\n    WHEN NOT is_open THEN 'hold_not_open'\n    ELSE",
           "WHEN NOT is_open THEN 'hold_not_open'\n    ELSE", SQL),
    Mutant("an expired hold is captured", TARGETS,
           "AND own.status = 'open' AND h.expires_at > moment,", "AND own.status = 'open',", SQL),
    Mutant("a final capture keeps the rest", DECISIONS,
           "CASE WHEN is_final IS FALSE THEN moved ELSE remaining END", "moved", SQL),
    Mutant("a capture is counted in the limit again", DECISIONS,
           "released - moved, target.taken", "released - 2 * moved, target.taken", SQL),
    Mutant("what was held on another day is given back", DECIDE, "OR target.is_of_today", "OR true",
           SQL),
    Mutant("limits are not kept", OUTCOMES,
           "WHEN NOT within_limits THEN 'limit_exceeded'\n    WHEN s",
           "WHEN false THEN 'limit_exceeded'\n    WHEN s", SQL),
    Mutant("the receiver's row of a hold stays open", OPERATIONS,
           "(o.sender, o.sender_sequence),\n" + 39 * " " + "(o.receiver, o.receiver_sequence))\n"
           + 16 * " " + "AS side (account, sequence)\n            OFFSET 0",
           "(o.sender, o.sender_sequence))\n"
           + 16 * " " + "AS side (account, sequence)\n            OFFSET 0", SQL),
    Mutant("a refund leaves no mark", OPERATIONS, "SET refunded_amount = c.taken, status",
           "SET status", SQL),
    # Hostile arguments.
    Mutant("arguments are not checked", POST, "IF error IS NOT NULL THEN", "IF false THEN", SQL),
    # What else moves or guards money.
    Mutant("funding is done twice", ACCOUNTS,
           "WHERE k.principal_id = system_id AND k.key = of_key;", "WHERE false;", SQL),
    Mutant("a movement has one side", MOVEMENTS, "SET balance = a.balance - of_amount,",
           "SET balance = a.balance,", SQL),
    Mutant("a status change has no event", OPERATORS,
           "PERFORM ledger.add_event(account, 'account.updated', NULL, NULL,",
           "PERFORM ledger.add_event(NULL, 'account.updated', NULL, NULL,", SQL),
    Mutant("an operator freezes himself", OPERATORS,
           "OR origin.operator_id = account.user_id THEN 'forbidden'",
           "OR false THEN 'forbidden'", f"{API}/test_operator_money.py"),
    Mutant("any caller opens system accounts", ACCOUNTS,
           "ELSIF NOT EXISTS (SELECT FROM identity.users u WHERE u.id = open_account.user_id)",
           "ELSIF false", SQL),
    Mutant("balances may be negative", LEDGER, "user_id IS NULL OR balance - held >= 0", "true",
           SQL),
    Mutant("entries may change", LEDGER, "BEFORE UPDATE OR DELETE ON ledger.entries",
           "BEFORE DELETE ON ledger.entries", SQL),
    Mutant("audit rows may be deleted", AUDIT, "BEFORE UPDATE OR DELETE ON audit.log",
           "BEFORE UPDATE ON audit.log", SQL),
    Mutant("the app may create money", RIGHTS, "    ledger.post_transfers,",
           "    ledger.post_transfers,\n    ledger.fund,", SQL),
    Mutant("the app writes the ledger", RIGHTS,
           "INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA identity, webhooks TO",
           "INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA identity, webhooks, ledger TO", SQL),
    Mutant("one bad item fails its batch", BATCHER,
           "if len(requests) == 1:\n                    return [error]\n                break",
           "return [error] * len(requests)", SQL),
    Mutant("conflicts are final", BATCHER, "            except Conflict:\n                pass",
           "            except Conflict:\n                raise", SQL),
    Mutant("an unknown outcome is forgotten", BATCHER,
           "                may_have_run |= error.may_have_run",
           "                may_have_run = error.may_have_run", SQL),
    # Reads that share a statement.
    Mutant("the page of another account", READS, "pages[number - 1] =",
           "pages[number % len(pages)] =", f"{SQL}/test_batched_reads.py"),
    Mutant("accounts in any order", READS, "[found.get(user) for user in users]",
           "[*found.values(), *[None] * (len(users) - len(found))]",
           f"{SQL}/test_batched_reads.py"),
    # The gate.
    Mutant("any request may end a claim", GATE_LUA, "stored == 'C' .. token",
           "string.sub(stored, 1, 1) == 'C'", GATE),
    Mutant("completion overwrites a response", GATE_LUA, "if not stored or stored ==",
           "if true or stored ==", GATE),
    Mutant("a released claim is still seen", GATE_LUA, "values[KEYS[k + 1]] = false", "", GATE),
    Mutant("write markers stay", GATE_LUA, "redis.call('HDEL', cache, 'w:' .. token) == 0", "false",
           GATE),
    Mutant("an unknown outcome leaves no marker", GATE_LUA,
           "'gen', generation,\n                   'w:' .. token,",
           "'gen', generation,\n                   'x:' .. token,", GATE),
    Mutant("a lost marker is not noticed", GATE_LUA,
           "invalidate(cache, generation)  --", "--", GATE),
    Mutant("receivers' caches stay", GATE_LUA, "for n = 3, keys do", "for n = 4, keys do", GATE),
    Mutant("a new cache hash never expires", GATE_LUA, "cache, 'gen', generation) > 0",
           "cache, 'gen', generation) > 1", GATE),
    Mutant("write markers don't count", GATE_LUA,
           "if tonumber(redis.call('HGET', cache, field)) > now then", "if false then", GATE),
    Mutant("a marker keeps the generation", GATE_LUA,
           "now + WRITE_MARKER_TTL_MS), 'gen', token)", "now + WRITE_MARKER_TTL_MS))", GATE),
    Mutant("stale variants are served", GATE_LUA,
           "and tonumber(sequence) >= tonumber(stored[2] or 0)", "", GATE),
    Mutant("variants never expire", GATE_LUA, " and tonumber(ends) > now", "", GATE),
    Mutant("another request replays", GATE_LUA, "string.sub(stored, 2, 17) ~= ARGV[a + 5]", "false",
           GATE),
    Mutant("revoked sessions go on", GATE_LUA, "if session == 'revoked' then", "if false then",
           GATE),
    Mutant("sessions unknown to Redis are admitted", GATE_LUA, "if ARGV[a + 2] ~= '1' then",
           "if false then", GATE),
    Mutant("reads are stored in spite of writes", GATE_LUA, "~= ARGV[a + 2] or", "== 'never' or",
           GATE),
    Mutant("older reads replace newer ones", GATE_LUA, "> tonumber(ARGV[a + 3]) then",
           "> 9e15 then", GATE),
    Mutant("one more than the limit", GATE_LUA, _LIMIT,
           _LIMIT + " + 1", GATE),
    Mutant("one less than the limit", GATE_LUA, _LIMIT,
           _LIMIT.replace(">", ">="), GATE),
    Mutant("refused requests count", GATE_LUA, "if fits and cost[n] > 0 then",
           "if cost[n] > 0 then", GATE),
    Mutant("any address is known", GATE_LUA, "and not values[KEYS[k + keys]] then",
           "and false then", GATE),
    Mutant("calls see values of before the batch", GATE_LUA, "    values[key] = value\n    redis",
           "    redis", GATE),
    Mutant("keys of other data are used", GATE_LUA, "elseif data ~= ARGV[1] then",
           "elseif false then", KNOWN),
    Mutant("others use keys that are being deleted", KNOWN_DATABASE,
           "redis.call('HSET', KEYS[1], 'history', '', 'position', 0)\n", "", KNOWN),
    Mutant("keys of new data are deleted", KNOWN_DATABASE,
           "if redis.call('HGET', KEYS[1], 'history') ~= '' then", "if false then", KNOWN),
    Mutant("a position is compared with a later one", KNOWN_DATABASE,
           "tonumber(position) < tonumber(ARGV[2])", "true", KNOWN),
    Mutant("a later position of another process is a restore", KNOWN_DATABASE,
           "ARGV[3] == '0' or ", "", KNOWN),
    Mutant("marks of ended sessions are deleted", KNOWN_DATABASE,
           "not string.find(key, '}:session:', 1, true)", "true", KNOWN),
    Mutant("a write without Redis leaves what others cached", "src/finpay/gate/gate.py",
           'await self._redis.end_generation(keys[1:], admission.token + "+")', "pass",
           KNOWN),
    Mutant("an earlier state is the same data", "src/finpay/db/data_state.py",
           "and self.position >= earlier.position", "", KNOWN),
    Mutant("new connections are not compared", "src/finpay/db/pool.py",
           "if self._check is not None:", "if False:", "tests/hostile/test_restored_database.py"),
    Mutant("one failed call fails its batch", GATE_LUA,
           "pcall(operations[request[1]], request[2], request[3], request[4])",
           "true, operations[request[1]](request[2], request[3], request[4])", GATE),
    # Batches.
    Mutant("a batch does not linger", MICRO_BATCHER, "range(1, self._linger_ticks)", "range(1, 1)",
           "tests/unit/test_micro_batcher.py"),
    Mutant("a batch lingers without a bound", MICRO_BATCHER, "if time() > until_s:", "if False:",
           "tests/unit/test_micro_batcher.py"),
    Mutant("all callers of a batch are resumed at once", MICRO_BATCHER,
           "if number % per_tick == 0:", "if False:", "tests/unit/test_micro_batcher.py"),
    # Concurrent copies.
    Mutant("copies don't wait", PIPELINE, 'if decision.kind == "in_progress":', "if False:",
           f"{API}/test_concurrent_money.py"),
    Mutant("copies count again", PIPELINE, "msgspec.structs.replace(admission, tiers=())",
           "admission", f"{API}/test_rate_limits.py"),
    *OPERATION_MUTANTS,
    *IDENTITY_MUTANTS,
)  # fmt: skip
