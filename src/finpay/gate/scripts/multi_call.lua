-- Calls that came together are one call: a command inside a script costs Redis two to three
-- microseconds, so what can be asked or done once for all is.
local now  -- in milliseconds, one moment for all
local held = {}  -- the strings that they need, by name; false: there is none

local function put(name, value, lifetime_ms)
    held[name] = value
    redis.call('SET', name, value, 'PX', lifetime_ms)
end

-- KEYS are those of each call in turn. ARGV has, of each in turn, how many keys and how many
-- arguments are its own, and these: its keys stand behind KEYS[k], its arguments behind ARGV[a].
-- `needs(k, a, keys, names)` adds the strings that it will look at. Returns for each what
-- `serve(k, a, keys)` does. Whoever fails, on a key that somebody spoiled, gets the error, and the
-- others what they asked for.
local function crowd(serve, needs)
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
    local calls, names, k, a = {}, {}, 0, 0
    while a < #ARGV do
        local keys = tonumber(ARGV[a + 1])
        needs(k, a + 2, keys, names)
        calls[#calls + 1] = {k, a + 2, keys}
        k, a = k + keys, a + 2 + ARGV[a + 2]
    end
    if #names > 0 then
        for n, value in ipairs(redis.call('MGET', unpack(names))) do
            held[names[n]] = value
        end
    end
    local replies = {}
    for n, call in ipairs(calls) do
        local served, reply = pcall(serve, unpack(call))
        if not served and type(reply) ~= 'table' then
            reply = {err = tostring(reply)}
        end
        replies[n] = reply
    end
    return replies
end

