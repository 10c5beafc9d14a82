-- wrk: every workload of the benchmark; FINPAY_BENCH_WORKLOAD names the one to run.
--
-- Users come from the file in FINPAY_BENCH_USERS, a line "token account_id email" for each.
-- Requests are put together from pieces that are made once, so that the load generator, which
-- shares the cores with what it measures, costs as little as it can.
local HEAD = " HTTP/1.1\r\nHost: finpay.test\r\n"
local REPLAYED_KEYS = 500   -- a warm-up of a second uses them all, also on a slow day
local BULK_BODIES = 32      -- bodies of up to 64 KiB each: enough that no two in flight are alike

local threads = 0

function setup(thread)
    thread:set("id", threads)
    threads = threads + 1
end

local function read_users(path)
    local found = {}
    for line in io.lines(path) do
        local token, account, email = line:match("(%S+) (%S+) (%S+)")
        local caller = HEAD .. "Authorization: Bearer " .. token .. "\r\n"
        local with_key = caller .. "Content-Type: application/json\r\nX-Idempotency-Key: "
        found[#found + 1] = {
            account = account,
            email = email,
            post = "POST /api/v1/transactions" .. with_key,
            post_bulk = "POST /api/v1/transactions/batch" .. with_key,
            balance = "GET /api/v1/accounts" .. caller .. "\r\n",
            history = "GET /api/v1/transactions?limit=20" .. caller .. "\r\n",
        }
    end
    return found
end

local function with_body(head, body)
    return head .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

local function fresh_key()
    return run .. "-" .. id .. "-" .. counter
end

local function anybody()
    return math.random(#users)
end

local function everybody()
    return counter % #users + 1
end

local function anybody_but(one)
    local other = math.random(#users - 1)
    if other >= one then other = other + 1 end
    return other
end

local function transfer(from, to, key)
    return with_body(users[from].post .. key,
                     '{"receiver_id":"' .. users[to].account .. '","amount":1}')
end

local workloads = {}

function workloads.transfers()
    local from = anybody()
    return transfer(from, anybody_but(from), fresh_key())
end

function workloads.hot_receiver()
    return transfer(anybody_but(1), 1, fresh_key())
end

function workloads.hot_sender()
    return transfer(1, anybody_but(1), fresh_key())
end

function workloads.balance()
    return users[everybody()].balance
end

function workloads.history()
    return users[everybody()].history
end

-- Every second request reads what a write just changed. A closed loop has at most `connections`
-- requests in the air, so the write of twice as many requests ago was answered.
function workloads.after_write()
    local at = math.floor(counter / 2)
    local from
    if counter % 2 == 0 then
        from = anybody()
        senders[at] = from
        return transfer(from, anybody_but(from), fresh_key())
    end
    at = at - connections
    from = senders[at] or anybody()
    senders[at] = nil
    return users[from].balance
end

-- What a wallet app does: four reads (balance and history in turn) for each transfer.
function workloads.mix()
    if counter % 5 == 0 then return workloads.transfers() end
    if counter % 2 == 0 then return workloads.balance() end
    return workloads.history()
end

function workloads.login()
    local body = '{"email":"' .. users[anybody()].email .. '","password":"' .. password .. '"}'
    return with_body("POST /api/v1/auth/login" .. HEAD .. "Content-Type: application/json", body)
end

-- The same requests under the same keys, again and again; the warm-up was their first time.
function workloads.replays()
    local number = counter % REPLAYED_KEYS
    local from = number % #users + 1
    return transfer(from, from % #users + 1, "replayed-" .. number)
end

local function bulk_body(from)
    local items = {}
    for at = 1, bulk_size do
        items[at] = '{"receiver_id":"' .. users[anybody_but(from)].account .. '","amount":1}'
    end
    return '{"mode":"' .. bulk_mode .. '","transactions":[' .. table.concat(items, ",") .. "]}"
end

function workloads.bulk()
    local from = (counter % BULK_BODIES) % #users + 1
    bodies[from] = bodies[from] or bulk_body(from)
    return with_body(users[from].post_bulk .. fresh_key(), bodies[from])
end

function init(args)
    users = read_users(os.getenv("FINPAY_BENCH_USERS"))
    run = os.getenv("FINPAY_BENCH_RUN")
    connections = tonumber(os.getenv("FINPAY_BENCH_CONNECTIONS"))
    password = os.getenv("FINPAY_BENCH_PASSWORD")
    bulk_size = tonumber(os.getenv("FINPAY_BENCH_BULK_SIZE"))
    bulk_mode = os.getenv("FINPAY_BENCH_BULK_MODE")
    workload = workloads[os.getenv("FINPAY_BENCH_WORKLOAD")]
    math.randomseed(os.time() * 10 + id)
    counter = 0
    senders = {}
    bodies = {}
end

-- A pause before each request, drawn around its mean, makes a rate that answers cannot slow down
-- much: an open door instead of a closed loop.
local pause_ms = tonumber(os.getenv("FINPAY_BENCH_PAUSE_MS"))
if pause_ms > 0 then
    function delay()
        return math.floor(pause_ms * (0.5 + math.random()))
    end
end

function request()
    counter = counter + 1
    return workload()
end

function done(summary, latency)
    io.write(string.format(
        "RESULT requests=%d duration_us=%d transport_errors=%d refusals=%d bytes=%d " ..
        "p50_us=%d p99_us=%d p999_us=%d max_us=%d\n",
        summary.requests, summary.duration,
        summary.errors.connect + summary.errors.read
            + summary.errors.write + summary.errors.timeout,
        summary.errors.status, summary.bytes,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
