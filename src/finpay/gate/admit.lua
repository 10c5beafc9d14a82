-- The gate of a request with a token. All keys carry the user's hash tag.
--
-- KEYS  1 session marker  2 idempotency key  3 cache hash  4… rate limit tiers
-- ARGV  1 mode: count | key | read   2 session is proven by PostgreSQL: 1 or 0
--       3 marker_ms  4 token of this request  5 fingerprint  6 claim_ms  7 mark_ms  8 hash_ms
--       9 variant   10… limit, window_ms, cost of each tier
-- Returns {verdict, report, …}:
--   revoked | unknown                     counted nowhere
--   limited                               counted nowhere, report tells the tiers
--   in_progress | reuse | replayed answer
--   hit payload | admitted generation     generation '-' means: do not fill
local mode, token = ARGV[1], ARGV[4]

local session = redis.call('GET', KEYS[1])
if session == 'ended' then
    return {'revoked', {}}
elseif not session then
    if ARGV[2] ~= '1' then
        return {'unknown', {}}
    end
    redis.call('SET', KEYS[1], 'alive', 'PX', ARGV[3])
end

local tiers = {}
for n = 4, #KEYS do
    local at = 10 + (n - 4) * 3
    tiers[#tiers + 1] = {key = KEYS[n], limit = tonumber(ARGV[at]),
                         window_ms = tonumber(ARGV[at + 1]), cost = tonumber(ARGV[at + 2])}
end
local fits, report, now = count(tiers)
if not fits then
    return {'limited', report}
end

if mode == 'key' then
    local stored = redis.call('GET', KEYS[2])
    if stored then
        if string.sub(stored, 1, 1) == 'C' then
            return {'in_progress', report}
        elseif string.sub(stored, 2, 17) ~= ARGV[5] then
            return {'reuse', report}
        end
        return {'replayed', report, string.sub(stored, 18)}
    end
    redis.call('SET', KEYS[2], 'C' .. token, 'PX', ARGV[6])
    redis.call('HSET', KEYS[3], 'm:' .. token, string.format('%d', now + ARGV[7]), 'gen', token)
    redis.call('PEXPIRE', KEYS[3], ARGV[8])
    return {'admitted', report, '-'}
elseif mode == 'read' then
    for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
        if string.sub(field, 1, 2) == 'm:' then
            if tonumber(redis.call('HGET', KEYS[3], field)) > now then
                return {'admitted', report, '-'}  -- a write of this user may be under way
            end
            redis.call('HDEL', KEYS[3], field)
        end
    end
    local found = redis.call('HMGET', KEYS[3], 'gen', 'seq', 'v:' .. ARGV[9])
    if found[3] then
        local generation, sequence, ends, payload =
            string.match(found[3], '^(%S*) (%d+) (%d+) (.*)$')
        if generation == (found[1] or '') and tonumber(ends) > now
                and tonumber(sequence) >= tonumber(found[2] or 0) then
            return {'hit', report, payload}
        end
    end
    if not found[1] then
        -- Never '': it would stand again after a flush, for reads from before it.
        found[1] = token
        redis.call('HSET', KEYS[3], 'gen', token)
        redis.call('PEXPIRE', KEYS[3], ARGV[8])
    end
    return {'admitted', report, found[1]}
end
return {'admitted', report, '-'}
