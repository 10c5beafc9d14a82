-- What a money POST leaves behind, in its sender's keys and in the caches of the other sides.
--
-- KEYS  1 idempotency key  2 cache hash  3… cache hashes of those whose accounts it changed too
-- ARGV  1 token  2 answer to store (fingerprint, status, body), empty: release the claim
--       3 answer_ms  4 what became of it is known: 1 or 0  5 mark_ms  6 hash_ms
-- A claim belongs to its token: nobody else releases or overwrites it.

-- A new generation ends all that is cached, and all that is on its way into the cache.
local function outdate(cache, generation, hash_ms)
    if redis.call('HSET', cache, 'gen', generation) > 0 then
        redis.call('PEXPIRE', cache, hash_ms)
    end
end

local function serve(k, a, keys)
    local token, answer, cache = ARGV[a + 1], ARGV[a + 2], KEYS[k + 2]
    local stored = held[KEYS[k + 1]]
    if not stored or stored == 'C' .. token then
        if answer ~= '' then
            put(KEYS[k + 1], 'A' .. answer, ARGV[a + 3])
        elseif stored then
            held[KEYS[k + 1]] = false
            redis.call('DEL', KEYS[k + 1])
        end
    end
    local generation = token .. '+'  -- no read was ever admitted under it
    if ARGV[a + 4] == '0' then
        redis.call('HSET', cache, 'gen', generation, 'm:' .. token,
                   string.format('%d', now + ARGV[a + 5]))
        redis.call('PEXPIRE', cache, ARGV[a + 6])
    elseif redis.call('HDEL', cache, 'm:' .. token) == 0 then
        outdate(cache, generation, ARGV[a + 6])  -- it had no mark, so reads were cached meanwhile
    end
    for n = 3, keys do
        outdate(KEYS[k + n], generation, ARGV[a + 6])
    end
    return 1
end

return crowd(serve, function(k, _, _, names)
    names[#names + 1] = KEYS[k + 1]
end)
