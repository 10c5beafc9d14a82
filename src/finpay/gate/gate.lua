-- The gate in Redis: sessions, rate limits, idempotency keys and cached reads of many concurrent
-- requests in one call. A command inside a script costs Redis two to three microseconds, so strings
-- are read with one MGET for all of them.
--
-- KEYS  1 what data the keys belong to  2… the keys of each request in turn
-- ARGV  1 the data that the caller knows
--       2… of each request in turn: operation, number of keys, number of arguments, arguments
-- Returns the reply of each request in turn. An error in one request (a key of the wrong type) is
-- the reply of that request alone. The error OTHERDATA: the keys belong to other data, nothing was
-- done.
--
-- redis_client.py puts the constants before this text: SESSION_MARKER_TTL_MS, CLAIM_TTL_MS, …
-- A function of an operation gets k and a: the keys of its request are KEYS[k + 1], KEYS[k + 2], …,
-- its arguments ARGV[a + 1], ARGV[a + 2], …

local now       -- milliseconds, one moment for all requests
local values = {}  -- string values by key; false: the key does not exist

local function put(key, value, ttl_ms)
    values[key] = value
    redis.call('SET', key, value, 'PX', ttl_ms)
end

-- Rate limits: fixed windows that begin with the first counted request. A window is one string,
-- "used end_ms". `tiers` keys are behind KEYS[k]; limit, window_ms and cost of each behind ARGV[a].
-- Counts the request in all tiers, or in none if one is exhausted; tier number `exempt` counts but
-- never refuses. Returns whether it was counted, and for each tier what is left and the ms
-- until its window ends. With a cost of 0 nothing is counted; the
-- result says whether a request of cost 1 would be.
local function count(k, a, tiers, exempt)
    local fits, report = true, {}
    local limit, cost, used, ends = {}, {}, {}, {}
    for n = 1, tiers do
        local window_ms
        limit[n], window_ms, cost[n] =
            tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
        a = a + 3
        local counted, until_ms = string.match(values[KEYS[k + n]] or '', '^(%d+) (%d+)$')
        used[n], ends[n] = tonumber(counted) or 0, tonumber(until_ms) or 0
        if ends[n] <= now then
            used[n], ends[n] = 0, now + window_ms
        end
        if used[n] + math.max(cost[n], 1) > limit[n] and n ~= exempt then
            fits = false
        end
    end
    for n = 1, tiers do
        if fits and cost[n] > 0 then
            used[n] = used[n] + cost[n]
            put(KEYS[k + n], string.format('%d %d', used[n], ends[n]), ends[n] - now)
        end
        report[#report + 1] = math.max(limit[n] - used[n], 0)
        report[#report + 1] = ends[n] - now
    end
    return fits, report
end

-- KEYS  1 session marker  2 idempotency key  3 cache hash
-- ARGV  4 token of this request  5 fingerprint
local function claim(k, a, report)
    local stored, token = values[KEYS[k + 2]], ARGV[a + 4]
    if stored then
        if string.sub(stored, 1, 1) == 'C' then
            return {'in_progress', report}
        elseif string.sub(stored, 2, 17) ~= ARGV[a + 5] then
            return {'key_reused', report}
        end
        return {'replayed', report, string.sub(stored, 18)}
    end
    put(KEYS[k + 2], 'C' .. token, CLAIM_TTL_MS)
    redis.call('HSET', KEYS[k + 3],
               'w:' .. token, string.format('%d', now + WRITE_MARKER_TTL_MS), 'gen', token)
    redis.call('PEXPIRE', KEYS[k + 3], CACHE_HASH_TTL_MS)
    return {'admitted', report, '-'}
end

local function has_write_marker(cache)
    for _, field in ipairs(redis.call('HKEYS', cache)) do
        if string.sub(field, 1, 2) == 'w:' then
            if tonumber(redis.call('HGET', cache, field)) > now then
                return true
            end
            redis.call('HDEL', cache, field)
        end
    end
    return false
end

local function look_up(k, a, report)
    local cache = KEYS[k + 3]
    if has_write_marker(cache) then
        return {'admitted', report, '-'}
    end
    local stored = redis.call('HMGET', cache, 'gen', 'seq', 'v:' .. ARGV[a + 5])
    if stored[3] then
        local generation, sequence, ends, payload =
            string.match(stored[3], '^(%S*) (%d+) (%d+) (.*)$')
        if generation == (stored[1] or '') and tonumber(ends) > now
                and tonumber(sequence) >= tonumber(stored[2] or 0) then
            return {'cache_hit', report, payload}
        end
    end
    if not stored[1] then
        -- Never '': after a flush it would be equal for reads that began before the flush.
        stored[1] = ARGV[a + 4]
        redis.call('HSET', cache, 'gen', stored[1])
        redis.call('PEXPIRE', cache, CACHE_HASH_TTL_MS)
    end
    return {'admitted', report, stored[1]}
end

local operations = {}

-- A request with a token. All keys carry the user's hash tag. The session marker is 'revoked' or
-- the highest generation that PostgreSQL has confirmed. PostgreSQL confirms each generation before
-- its first use; earlier ones need no call, as their use was recorded when their refresh token was
-- exchanged.
--
-- KEYS  1 session marker  2 idempotency key  3 cache hash  4… rate limit tiers
-- ARGV  1 mode: count_only | idempotent_write | cached_read
--       2 PostgreSQL confirmed the session: 1 or 0   3 generation of the access token
--       4 token of this request   5 fingerprint or cache variant
--       6… limit, window_ms, cost of each tier
-- Returns {decision, report, …}:
--   revoked | unknown                     not counted
--   limited                               not counted, the report has the tiers
--   in_progress | key_reused | replayed, response
--   cache_hit, response | admitted, generation    '-': the response must not be cached
operations.admit = function(k, a, keys)
    local session = values[KEYS[k + 1]]
    if session == 'revoked' then
        return {'revoked', {}}
    elseif (tonumber(session or '') or -1) < tonumber(ARGV[a + 3]) then
        if ARGV[a + 2] ~= '1' then
            return {'unknown', {}}
        end
        put(KEYS[k + 1], ARGV[a + 3], SESSION_MARKER_TTL_MS)
    end
    local fits, report = count(k + 3, a + 5, keys - 3)
    if not fits then
        return {'limited', report}
    elseif ARGV[a + 1] == 'idempotent_write' then
        return claim(k, a, report)
    elseif ARGV[a + 1] == 'cached_read' then
        return look_up(k, a, report)
    end
    return {'admitted', report, '-'}
end

-- A request without a token: rate limits only. A known address is one from which the user of the
-- e-mail logged in before: failed logins from other addresses can't lock that user out.
--
-- KEYS  1… tiers, then, if ARGV 1 is not 0, the marker of a known address
-- ARGV  1 number of the tier that does not refuse known addresses, 0: none
--       2… limit, window_ms, cost of each tier
operations.admit_anonymous = function(k, a, keys)
    local exempt = tonumber(ARGV[a + 1])
    local tiers = exempt > 0 and keys - 1 or keys
    if exempt > 0 and not values[KEYS[k + keys]] then
        exempt = 0
    end
    local fits, report = count(k, a + 1, tiers, exempt)
    return {fits and 'admitted' or 'limited', report}
end

-- Sets a new generation: cached reads are invalid, and reads in flight will not be cached.
local function invalidate(cache, generation)
    if redis.call('HSET', cache, 'gen', generation) > 0 then
        redis.call('PEXPIRE', cache, CACHE_HASH_TTL_MS)
    end
end

-- The end of a write. A claim is released or overwritten only by the request that made it.
--
-- KEYS  1 idempotency key  2 cache hash  3… cache hashes of the other accounts that changed
-- ARGV  1 token  2 response to store (fingerprint, status, body); empty: release the claim
--       3 the outcome is known: 1 or 0
operations.complete = function(k, a, keys)
    local token, response, cache = ARGV[a + 1], ARGV[a + 2], KEYS[k + 2]
    local stored = values[KEYS[k + 1]]
    if not stored or stored == 'C' .. token then
        if response ~= '' then
            put(KEYS[k + 1], 'A' .. response, RESPONSE_TTL_MS)
        elseif stored then
            values[KEYS[k + 1]] = false
            redis.call('DEL', KEYS[k + 1])
        end
    end
    local generation = token .. '+'  -- no read was admitted under it
    if ARGV[a + 3] == '0' then
        redis.call('HSET', cache, 'gen', generation,
                   'w:' .. token, string.format('%d', now + WRITE_MARKER_TTL_MS))
        redis.call('PEXPIRE', cache, CACHE_HASH_TTL_MS)
    elseif redis.call('HDEL', cache, 'w:' .. token) == 0 then
        invalidate(cache, generation)  -- without a marker, reads were cached meanwhile
    end
    for n = 3, keys do
        invalidate(KEYS[k + n], generation)
    end
    return 1
end

-- Stores a read, if no write began or ended since its own admission: each write changes the
-- generation. The generation is kept with the variant, so that the next write ends it even if the
-- field 'gen' was evicted. Of two reads the one with the higher sequence stays.
--
-- KEYS  1 cache hash
-- ARGV  1 variant  2 generation of the admission  3 sequence of the read  4 response
operations.store_read = function(k, a)
    local cache, variant = KEYS[k + 1], 'v:' .. ARGV[a + 1]
    local stored = redis.call('HMGET', cache, 'gen', 'seq')
    if (stored[1] or '') ~= ARGV[a + 2] or tonumber(stored[2] or -1) > tonumber(ARGV[a + 3]) then
        return 0
    end
    if redis.call('HLEN', cache) > MAX_VARIANTS then
        local variants = 0
        for _, field in ipairs(redis.call('HKEYS', cache)) do
            if string.sub(field, 1, 2) == 'v:' and field ~= variant then
                variants = variants + 1
                if variants >= MAX_VARIANTS then
                    redis.call('HDEL', cache, field)
                end
            end
        end
    end
    local ends = string.format('%d', now + VARIANT_TTL_MS)
    redis.call('HSET', cache, 'seq', ARGV[a + 3], variant,
               ARGV[a + 2] .. ' ' .. ARGV[a + 3] .. ' ' .. ends .. ' ' .. ARGV[a + 4])
    return 1
end

-- KEYS  1 idempotency key. Returns 1 if a request with it is in progress, else 0.
operations.is_claimed = function(k)
    local stored = values[KEYS[k + 1]]
    return stored and string.sub(stored, 1, 1) == 'C' and 1 or 0
end

-- Adds the keys whose string values an operation reads to `names`.
local prefetched = {
    admit = function(k, a, keys, names)
        names[#names + 1] = KEYS[k + 1]
        if ARGV[a + 1] == 'idempotent_write' then
            names[#names + 1] = KEYS[k + 2]
        end
        for n = 4, keys do
            names[#names + 1] = KEYS[k + n]
        end
    end,
    admit_anonymous = function(k, _, keys, names)
        for n = 1, keys do
            names[#names + 1] = KEYS[k + n]
        end
    end,
    complete = function(k, _, _, names)
        names[#names + 1] = KEYS[k + 1]
    end,
    is_claimed = function(k, _, _, names)
        names[#names + 1] = KEYS[k + 1]
    end,
    store_read = function() end,
}

local data = redis.call('HGET', KEYS[1], 'history')
if not data and redis.call('DBSIZE') < 2 then  -- empty, but for the key of a probe
    redis.call('HSET', KEYS[1], 'history', ARGV[1], 'position', 0)
elseif data ~= ARGV[1] then
    return redis.error_reply('OTHERDATA the keys belong to other data')
end
local time = redis.call('TIME')
now = time[1] * 1000 + math.floor(time[2] / 1000)
local requests, names, k, a = {}, {}, 1, 1
while a < #ARGV do
    local operation, keys = ARGV[a + 1], tonumber(ARGV[a + 2])
    prefetched[operation](k, a + 3, keys, names)
    requests[#requests + 1] = {operation, k, a + 3, keys}
    k, a = k + keys, a + 3 + ARGV[a + 3]
end
if #names > 0 then
    for n, value in ipairs(redis.call('MGET', unpack(names))) do
        values[names[n]] = value
    end
end
local replies = {}
for n, request in ipairs(requests) do
    local done, reply = pcall(operations[request[1]], request[2], request[3], request[4])
    if not done and type(reply) ~= 'table' then
        reply = {err = tostring(reply)}
    end
    replies[n] = reply
end
return replies
