-- wrk: every workload of the benchmark; FINPAY_BENCH_WORKLOAD names the one to run.
--
-- FINPAY_BENCH_USERS is a file of users, a line "token account_id email" for each. Requests are put
-- together from prepared pieces: the load generator shares the cores with the servers.
-- FINPAY_BENCH_TARGETS is a file of what captures, refunds and payments are about, a line
-- "number_of_user id" for each: it is used up line by line.
local HEAD = " HTTP/1.1\r\nHost: finpay.test\r\n"
local REPLAYED_KEYS = 500   -- a warm-up of a second uses them all, also on a slow machine
local BATCH_BODIES = 32     -- of up to 64 KiB each: enough that no two in flight are equal

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
            post_hold = "POST /api/v1/holds" .. with_key,
            with_key = with_key,
            post_batch = "POST /api/v1/transactions/batch" .. with_key,
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

local function random_user()
    return math.random(#users)
end

local function next_user()
    return counter % #users + 1
end

local function random_user_except(one)
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
    local from = random_user()
    return transfer(from, random_user_except(from), fresh_key())
end

function workloads.hot_receiver()
    return transfer(random_user_except(1), 1, fresh_key())
end

function workloads.hot_sender()
    return transfer(1, random_user_except(1), fresh_key())
end

function workloads.balance()
    return users[next_user()].balance
end

function workloads.history()
    return users[next_user()].history
end

-- Every second request reads a balance that a write has changed. A closed loop has at most
-- `connections` requests in flight, so the write of twice as many requests ago was answered.
function workloads.after_write()
    local at = math.floor(counter / 2)
    local from
    if counter % 2 == 0 then
        from = random_user()
        senders[at] = from
        return transfer(from, random_user_except(from), fresh_key())
    end
    at = at - connections
    from = senders[at] or random_user()
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
    local body = '{"email":"' .. users[random_user()].email .. '","password":"' .. password .. '"}'
    return with_body("POST /api/v1/auth/login" .. HEAD .. "Content-Type: application/json", body)
end

-- The same requests under the same keys; the warm-up sends each for the first time.
function workloads.replays()
    local number = counter % REPLAYED_KEYS
    local from = number % #users + 1
    return transfer(from, from % #users + 1, "replayed-" .. number)
end

function workloads.holds()
    local from = random_user()
    return with_body(users[from].post_hold .. fresh_key(), '{"receiver_id":"'
                     .. users[random_user_except(from)].account .. '","amount":1}')
end

-- One request for each target; a target too few shows as refusals.
local function on_target(path, action)
    local line = targets[counter] or targets[#targets]
    local number, target = line:match("(%S+) (%S+)")
    return with_body("POST /api/v1/" .. path .. "/" .. target .. action
                     .. users[tonumber(number)].with_key .. fresh_key(), "{}")
end

function workloads.captures()
    return on_target("holds", "/capture")
end

function workloads.refunds()
    return on_target("transactions", "/refunds")
end

function workloads.payments()
    return on_target("payment_requests", "/pay")
end

local function batch_body(from)
    local items = {}
    for at = 1, batch_size do
        items[at] = '{"receiver_id":"' .. users[random_user_except(from)].account .. '","amount":1}'
    end
    return '{"mode":"' .. batch_mode .. '","transactions":[' .. table.concat(items, ",") .. "]}"
end

function workloads.transfer_batches()
    local from = (counter % BATCH_BODIES) % #users + 1
    bodies[from] = bodies[from] or batch_body(from)
    return with_body(users[from].post_batch .. fresh_key(), bodies[from])
end

function init(args)
    users = read_users(os.getenv("FINPAY_BENCH_USERS"))
    run = os.getenv("FINPAY_BENCH_RUN")
    connections = tonumber(os.getenv("FINPAY_BENCH_CONNECTIONS"))
    password = os.getenv("FINPAY_BENCH_PASSWORD")
    batch_size = tonumber(os.getenv("FINPAY_BENCH_BATCH_SIZE"))
    batch_mode = os.getenv("FINPAY_BENCH_BATCH_MODE")
    workload = workloads[os.getenv("FINPAY_BENCH_WORKLOAD")]
    math.randomseed(os.time() * 10 + id)
    counter = 0
    targets = {}
    local file = os.getenv("FINPAY_BENCH_TARGETS")
    if file ~= "" then
        for line in io.lines(file) do targets[#targets + 1] = line end
    end
    senders = {}
    bodies = {}
end

-- With a rate, requests are sent at fixed times: slow answers do not slow down the load while
-- enough connections are free, unlike in a closed loop.
local rate = tonumber(os.getenv("FINPAY_BENCH_RATE"))
if rate > 0 then
    local ffi = require("ffi")
    ffi.cdef("struct timeval { long s; long us; }; int gettimeofday(struct timeval *, void *);")
    local now = ffi.new("struct timeval")
    local next_ms = 0
    function delay()
        ffi.C.gettimeofday(now, nil)
        local now_ms = tonumber(now.s) * 1000 + tonumber(now.us) / 1000
        next_ms = math.max(next_ms + 1000 / rate, now_ms)
        return math.floor(next_ms - now_ms)
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
