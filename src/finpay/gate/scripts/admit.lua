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
local function claimed(k, a, report)
    local stored, token = held[KEYS[k + 2]], ARGV[a + 4]
    if stored then
        if string.sub(stored, 1, 1) == 'C' then
            return {'in_progress', report}
        elseif string.sub(stored, 2, 17) ~= ARGV[a + 5] then
            return {'reuse', report}
        end
        return {'replayed', report, string.sub(stored, 18)}
    end
    put(KEYS[k + 2], 'C' .. token, ARGV[a + 6])
    redis.call('HSET', KEYS[k + 3], 'm:' .. token, string.format('%d', now + ARGV[a + 7]),
               'gen', token)
    redis.call('PEXPIRE', KEYS[k + 3], ARGV[a + 8])
    return {'admitted', report, '-'}
end

local function found(k, a, report)
    local cache = KEYS[k + 3]
    for _, field in ipairs(redis.call('HKEYS', cache)) do
        if string.sub(field, 1, 2) == 'm:' then
            if tonumber(redis.call('HGET', cache, field)) > now then
                return {'admitted', report, '-'}  -- a write of this user may be under way
            end
            redis.call('HDEL', cache, field)
        end
    end
    local kept = redis.call('HMGET', cache, 'gen', 'seq', 'v:' .. ARGV[a + 9])
    if kept[3] then
        local generation, sequence, ends, payload =
            string.match(kept[3], '^(%S*) (%d+) (%d+) (.*)$')
        if generation == (kept[1] or '') and tonumber(ends) > now
                and tonumber(sequence) >= tonumber(kept[2] or 0) then
            return {'hit', report, payload}
        end
    end
    if not kept[1] then
        -- Never '': it would stand again after a flush, for reads from before it.
        kept[1] = ARGV[a + 4]
        redis.call('HSET', cache, 'gen', kept[1])
        redis.call('PEXPIRE', cache, ARGV[a + 8])
    end
    return {'admitted', report, kept[1]}
end

local function serve(k, a, keys)
    local session = held[KEYS[k + 1]]
    if session == 'ended' then
        return {'revoked', {}}
    elseif not session then
        if ARGV[a + 2] ~= '1' then
            return {'unknown', {}}
        end
        put(KEYS[k + 1], 'alive', ARGV[a + 3])
    end
    local fits, report = count(k + 3, a + 9, keys - 3)
    if not fits then
        return {'limited', report}
    elseif ARGV[a + 1] == 'key' then
        return claimed(k, a, report)
    elseif ARGV[a + 1] == 'read' then
        return found(k, a, report)
    end
    return {'admitted', report, '-'}
end

return crowd(serve, function(k, a, keys, names)
    names[#names + 1] = KEYS[k + 1]
    if ARGV[a + 1] == 'key' then
        names[#names + 1] = KEYS[k + 2]
    end
    for n = 4, keys do
        names[#names + 1] = KEYS[k + n]
    end
end)
