-- Stores a read, if nothing was written since its own gate call.
--
-- KEYS  1 cache hash
-- ARGV  1 variant  2 generation seen  3 sequence read  4 payload  5 variant_ms  6 hash_ms
--       7 most variants
-- Each mark changes the generation, so an equal one means that no write of this user has begun. It
-- is kept with the variant: should the mark be evicted, the next write still ends what was stored.
if (redis.call('HGET', KEYS[1], 'gen') or '') ~= ARGV[2] then
    return 0
end
if tonumber(redis.call('HGET', KEYS[1], 'seq') or -1) > tonumber(ARGV[3]) then
    return 0
end
local now_s, now_us = unpack(redis.call('TIME'))
local now = now_s * 1000 + math.floor(now_us / 1000)
if redis.call('HEXISTS', KEYS[1], 'v:' .. ARGV[1]) == 0 then
    local kept = 0
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
        if string.sub(field, 1, 2) == 'v:' then
            kept = kept + 1
            if kept >= tonumber(ARGV[7]) then
                redis.call('HDEL', KEYS[1], field)
            end
        end
    end
end
redis.call('HSET', KEYS[1], 'seq', ARGV[3], 'v:' .. ARGV[1],
           ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. string.format('%d', now + ARGV[5]) .. ' ' .. ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1
