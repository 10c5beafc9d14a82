-- wrk: each request is a transfer between two users, under a key that is used once.
-- Users come from the file in FINPAY_BENCH_USERS: "token account_id" per line.
local counter = 0
local threads = 0

function setup(thread)
    thread:set("id", threads)
    threads = threads + 1
end

function init(args)
    users = {}
    for line in io.lines(os.getenv("FINPAY_BENCH_USERS")) do
        local token, account = line:match("(%S+) (%S+)")
        users[#users + 1] = {token = token, account = account}
    end
    run = os.getenv("FINPAY_BENCH_RUN")
    math.randomseed(id + 1)
    counter = 0
    bad = 0
end

function request()
    counter = counter + 1
    local from = math.random(#users)
    local to = math.random(#users - 1)
    if to >= from then to = to + 1 end
    local headers = {
        ["Authorization"] = "Bearer " .. users[from].token,
        ["Content-Type"] = "application/json",
        ["X-Idempotency-Key"] = run .. "-" .. id .. "-" .. counter,
    }
    local body = '{"receiver_id":"' .. users[to].account .. '","amount":1}'
    return wrk.format("POST", "/api/v1/transactions", headers, body)
end

function response(status)
    if status ~= 201 then bad = bad + 1 end
end

function done(summary, latency)
    io.write(string.format(
        "RESULT %d %d %d %d %.3f %.3f %.3f\n",
        summary.requests, summary.duration,
        summary.errors.connect + summary.errors.read
            + summary.errors.write + summary.errors.timeout,
        summary.errors.status,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        latency:percentile(99.9) / 1000))
end
