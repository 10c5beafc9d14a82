"""The planted bugs: what is changed into what, and where it has to be noticed."""

from dataclasses import dataclass
from typing import Final

POST: Final = "src/finpay/db/migrations/20261122000006_post_transfers.sql"
ACCOUNTS: Final = "src/finpay/db/migrations/20261122000005_accounts.sql"
LEDGER: Final = "src/finpay/db/migrations/20261122000003_ledger.sql"
OUTBOX: Final = "src/finpay/db/migrations/20261122000004_audit_and_outbox.sql"
RIGHTS: Final = "src/finpay/db/migrations/20261122000007_rights.sql"
BATCHER: Final = "src/finpay/ledger/batcher.py"
READS: Final = "src/finpay/ledger/reads.py"
READER: Final = "src/finpay/ledger/batched_reads.py"
ADMIT: Final = "src/finpay/gate/scripts/admit.lua"
SETTLE: Final = "src/finpay/gate/scripts/complete.lua"
FILL: Final = "src/finpay/gate/scripts/store_read.lua"
LIMITS: Final = "src/finpay/gate/scripts/rate_limit.lua"
CROWD: Final = "src/finpay/gate/scripts/multi_call.lua"
LINE: Final = "src/finpay/gate/pipelined_connection.py"
GATHERING: Final = "src/finpay/concurrency/micro_batcher.py"
REFUSING: Final = "src/finpay/edge/load_shedding.py"
TURNSTILE: Final = "src/finpay/edge/pacer.py"
PIPELINE: Final = "src/finpay/edge/pipeline.py"

SQL: Final = "tests/sql"
GATE: Final = "tests/gate"
API: Final = "tests/api"


@dataclass(frozen=True)
class Mutant:
    """`old`, which stands once in `path`, becomes `new`; the tests under `tests` must fail."""

    name: str
    path: str
    old: str
    new: str
    tests: str


MUTANTS: Final = (
    # What post_transfers decides.
    Mutant("overdraw by one", POST, "helds[s] < amounts[i]", "helds[s] + 1 < amounts[i]", SQL),
    Mutant("never spend the last unit", POST, "helds[s] < amounts[i]", "helds[s] <= amounts[i]",
           SQL),
    Mutant("holds don't count", POST, "balances[s] - helds[s] <", "balances[s] <", SQL),
    Mutant("limit one too high", POST, "> 9007199254740991 - amounts[i]",
           "> 9007199254740992 - amounts[i]", SQL),
    Mutant("limit one too low", POST, "> 9007199254740991 - amounts[i]",
           "> 9007199254740990 - amounts[i]", SQL),
    Mutant("frozen sender sends", POST, "IF frozen[s] THEN", "IF false THEN", SQL),
    Mutant("frozen receiver receives", POST, "ELSIF frozen[r] THEN", "ELSIF false THEN", SQL),
    Mutant("send to oneself", POST, "ELSIF s = r THEN", "ELSIF false THEN", SQL),
    Mutant("currencies mix", POST, "currency_of[s] <> currency_of[r]\n", "false\n", SQL),
    Mutant("the request's currency is ignored", POST,
           "COALESCE(currencies[i], currency_of[s]) <> currency_of[s]", "false", SQL),
    Mutant("system accounts take part", POST, " AND l.user_id IS NOT NULL\n", "\n", SQL),
    Mutant("money is minted", POST, "balances[r] + amounts[i];", "balances[r] + amounts[i] + 1;",
           SQL),
    Mutant("money vanishes", POST, "balances[s]  := balances[s] - amounts[i];",
           "balances[s]  := balances[s] - amounts[i] - 1;", SQL),
    Mutant("sender's version stands still", POST, "versions[s]  := versions[s] + 1;", "", SQL),
    Mutant("receiver's sequence stands still", POST, "sequences[r] := sequences[r] + 1;", "", SQL),
    Mutant("a failure takes no number", POST,
           "IF NOT atomic THEN\n                    sequences[s] := sequences[s] + 1;",
           "IF NOT atomic THEN", SQL),
    Mutant("an entry has the wrong sign", POST, "i.sent_sequence, -i.amount,",
           "i.sent_sequence, i.amount,", SQL),
    Mutant("keys are not stored", POST, "AS i (at, id, http_status, key, fingerprint, "
           "answer, outcome)\n    WHERE i.outcome > 'duplicate';",
           "AS i (at, id, http_status, key, fingerprint, answer, outcome)\n"
           "    WHERE false;", SQL),
    Mutant("fingerprints are not compared", POST, "k.fingerprint = i.fingerprint AS same",
           "true AS same", SQL),
    Mutant("a reuse replays", POST, "ELSE 'idempotency_key_reuse' END", "ELSE 'duplicate' END",
           SQL),
    Mutant("refusals are not stored", POST, "answer, outcome)\n    WHERE i.outcome > 'duplicate'",
           "answer, outcome)\n    WHERE i.outcome = 'completed'", SQL),
    Mutant("receivers get no event", POST,
           "(i.receiver_at, i.receiver_sequence, NULL, NULL, NULL)\n",
           "(i.receiver_at, NULL::bigint, NULL, NULL, NULL)\n", SQL),
    Mutant("refusals leave no audit row", POST,
           "AS i (id, q, outcome, n)\n    WHERE i.outcome IS NOT NULL;",
           "AS i (id, q, outcome, n)\n    WHERE i.id IS NOT NULL;", SQL),
    Mutant("locks in no order", POST, "ORDER BY l.id\n        FOR",
           "ORDER BY random()\n        FOR", SQL),
    Mutant("no locks", POST, "        FOR NO KEY UPDATE\n", "\n", SQL),
    Mutant("a 402 is a 422", LEDGER, "'insufficient_funds' THEN 402",
           "'insufficient_funds' THEN 422", SQL),
    # Bulks.
    Mutant("an atomic bulk keeps what it did", POST, "versions[r]  := versions[r] - 1;", "", SQL),
    Mutant("an atomic bulk keeps the money", POST, "balances[s]  := balances[s] + amounts[undone];",
           "", SQL),
    Mutant("a bulk stops too early", POST, "last  := last + sizes[q];",
           "last  := last + 1;", SQL),
    Mutant("an atomic bulk is independent", POST, "atomic := modes[q] = 'atomic';",
           "atomic := false;", SQL),
    Mutant("a bulk forgets where it began", POST, "version_before + 1, versions[s] + 1,",
           "version_before, versions[s] + 1,", SQL),
    # What else moves or guards money.
    Mutant("funding is done twice", ACCOUNTS,
           "WHERE k.principal_id = system.id AND k.key = of_key;", "WHERE false;", SQL),
    Mutant("funding has one side", ACCOUNTS, "SET balance = a.balance - of_amount,",
           "SET balance = a.balance,", SQL),
    Mutant("a status change tells nobody", ACCOUNTS,
           "INSERT INTO outbox.events (account_id, sequence, created_at, type, data,",
           "INSERT INTO pg_temp.events (account_id, sequence, created_at, type, data,", SQL),
    Mutant("anyone opens system accounts", ACCOUNTS, "LANGUAGE sql STRICT SECURITY DEFINER",
           "LANGUAGE sql SECURITY DEFINER", SQL),
    Mutant("balances may be negative", LEDGER, "user_id IS NULL OR balance - held >= 0", "true",
           SQL),
    Mutant("entries may change", LEDGER, "BEFORE UPDATE OR DELETE ON ledger.entries",
           "BEFORE DELETE ON ledger.entries", SQL),
    Mutant("audit rows may go", OUTBOX, "BEFORE UPDATE OR DELETE ON audit.log",
           "BEFORE UPDATE ON audit.log", SQL),
    Mutant("the app may mint", RIGHTS, "    ledger.post_transfers,",
           "    ledger.post_transfers,\n    ledger.fund,", SQL),
    Mutant("the app writes the ledger", RIGHTS, "ON ALL TABLES IN SCHEMA identity TO finpay_app;",
           "ON ALL TABLES IN SCHEMA identity, ledger TO finpay_app;", SQL),
    Mutant("one bad item fails its batch", BATCHER,
           "if len(requests) == 1:\n                    return [error]\n                break",
           "return [error] * len(requests)", SQL),
    Mutant("repeats share a call", BATCHER, "(again if mark in seen else first)", "first", SQL),
    Mutant("conflicts are final", BATCHER, "            except Conflict:\n                pass",
           "            except Conflict:\n                raise", SQL),
    Mutant("the unknown is forgotten", BATCHER, "may_have_run |= error.may_have_run",
           "may_have_run = error.may_have_run", SQL),
    # Reads that share a statement.
    Mutant("somebody else's page", READS, "pages[place - 1] =", "pages[place % len(pages)] =",
           f"{SQL}/test_reader.py"),
    Mutant("everybody's page is as long", READER, "[one.limit for one in asked]",
           "[asked[0].limit for one in asked]", f"{SQL}/test_reader.py"),
    Mutant("accounts in any order", READS, "[found.get(user) for user in users]",
           "[*found.values(), *[None] * (len(users) - len(found))]", f"{SQL}/test_reader.py"),
    Mutant("a lost line spoils all", READER, "if time.monotonic() - started_s > SOON_S:",
           "if True:", f"{SQL}/test_reader.py"),
    # The gate.
    Mutant("a claim belongs to everybody", SETTLE, "stored == 'C' .. token",
           "string.sub(stored, 1, 1) == 'C'", GATE),
    Mutant("settling an answer overwrites", SETTLE, "if not stored or stored ==",
           "if true or stored ==", GATE),
    Mutant("a released claim is still held", SETTLE, "held[KEYS[k + 1]] = false", "", GATE),
    Mutant("marks stay", SETTLE, "redis.call('HDEL', cache, 'm:' .. token) == 0", "false", GATE),
    Mutant("the unknown leaves no mark", SETTLE, "'gen', generation, 'm:' .. token,",
           "'gen', generation, 'x:' .. token,", GATE),
    Mutant("a lost mark is not missed", SETTLE,
           "outdate(cache, generation, ARGV[a + 6])  --", "--", GATE),
    Mutant("receivers are not told", SETTLE, "for n = 3, keys do", "for n = 4, keys do", GATE),
    Mutant("what is made stays for ever", SETTLE, "cache, 'gen', generation) > 0",
           "cache, 'gen', generation) > 1", GATE),
    Mutant("marks don't count", ADMIT,
           "if tonumber(redis.call('HGET', cache, field)) > now then", "if false then", GATE),
    Mutant("a mark keeps the generation", ADMIT,
           "now + ARGV[a + 7]),\n               'gen', token)", "now + ARGV[a + 7]))", GATE),
    Mutant("stale variants are served", ADMIT,
           "and tonumber(sequence) >= tonumber(kept[2] or 0)", "", GATE),
    Mutant("variants live on", ADMIT, " and tonumber(ends) > now", "", GATE),
    Mutant("another request replays", ADMIT, "string.sub(stored, 2, 17) ~= ARGV[a + 5]", "false",
           GATE),
    Mutant("the dead go on", ADMIT, "if session == 'ended' then", "if false then", GATE),
    Mutant("strangers to Redis pass", ADMIT, "if ARGV[a + 2] ~= '1' then", "if false then", GATE),
    Mutant("fills ignore writes", FILL, "~= ARGV[a + 2] or", "== 'never' or", GATE),
    Mutant("older fills win", FILL, "> tonumber(ARGV[a + 3]) then", "> 9e15 then", GATE),
    Mutant("one more than the limit", LIMITS, "used[n] + cost[n] > limit[n]",
           "used[n] + cost[n] > limit[n] + 1", GATE),
    Mutant("one less than the limit", LIMITS, "used[n] + cost[n] > limit[n]",
           "used[n] + cost[n] >= limit[n]", GATE),
    Mutant("refused requests count", LIMITS, "        if fits then\n", "        if true then\n",
           GATE),
    Mutant("a crowd sees what was, not what is", CROWD, "    held[name] = value\n    redis",
           "    redis", GATE),
    Mutant("whoever fails takes all along", CROWD, "pcall(serve, unpack(call))",
           "true, serve(unpack(call))", GATE),
    Mutant("answers change places", LINE, "zip(asker, told, strict=True)",
           "zip(reversed(asker), told, strict=True)", GATE),
    Mutant("bulks hold Redis up together", LINE, "keys + len(call[0]) > MAX_KEYS", "False", GATE),
    Mutant("a full crowd waits for answers", LINE, "self._waiting >= MAX_CALLS_PER_EVAL", "False",
           "tests/unit/test_pipelined_connection.py"),
    Mutant("Redis is as quick as its last question", LINE, "return self._asked[0][1]",
           "return self._asked[-1][1]", "tests/unit/test_pipelined_connection.py"),
    Mutant("who is about to leave is not watched", LINE,
           "return self._loop.time() if self._waiting else None", "return None",
           "tests/unit/test_pipelined_connection.py"),
    Mutant("what is left waits for ever", LINE, "if self._waiting:\n", "if False:\n",
           "tests/unit/test_pipelined_connection.py"),
    Mutant("a lost line is watched for ever", LINE, "_calls.clear()\n        self._waiting = 0\n",
           "_calls.clear()\n", "tests/unit/test_pipelined_connection.py"),
    # Batches.
    Mutant("nobody waits for company", GATHERING, "range(1, self._linger)", "range(1, 1)",
           "tests/unit/test_micro_batcher.py"),
    Mutant("company is waited for for ever", GATHERING, "if time() > until_s:", "if False:",
           "tests/unit/test_micro_batcher.py"),
    Mutant("all of a big batch at once", GATHERING, "if at % told == 0:", "if False:",
           "tests/unit/test_micro_batcher.py"),
    # Saying no.
    Mutant("goodbye comes a second late", REFUSING, "self._answering.parting or ", "",
           "tests/unit/test_load_shedding.py"),
    Mutant("two requests count as one", REFUSING, "self._begun == 1 and", "",
           "tests/unit/test_load_shedding.py"),
    Mutant("all who wait begin in one turn", TURNSTILE, "min(EACH, len(self._waiting))",
           "len(self._waiting)", "tests/unit/test_pacer.py"),
    Mutant("whoever gave up holds up the others", TURNSTILE, "if not seat.done():", "if True:",
           "tests/unit/test_pacer.py"),
    Mutant("who comes late goes first", TURNSTILE, "if not self._waiting:\n            if self",
           "if True:\n            if self", "tests/unit/test_pacer.py"),
    Mutant("refusals unread change nothing", PIPELINE, "if refusal is not None:\n",
           "if False:\n", "tests/unit/test_pacer.py"),
    Mutant("health waits behind the others", PIPELINE, 'if route.passes == "free":\n',
           'await self._turnstile.pass_through()\n        if route.passes == "free":\n',
           "tests/unit/test_pacer.py"),
    Mutant("a half request is refused", REFUSING, "self._begun == 1 and self._stays",
           "self._begun == 1", "tests/unit/test_load_shedding.py"),
)  # fmt: skip
