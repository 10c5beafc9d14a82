-- Stores a read, if nothing was written since its own gate call.
--
-- KEYS  1 cache hash
-- ARGV  1 variant  2 generation seen  3 sequence read  4 payload  5 variant_ms  6 most variants
-- Each write changes the generation, so an equal one means that none of this user's has begun, and
-- none of the others' was settled. It is kept with the variant: should all be evicted, the next
-- write still ends what was stored. Of two reads the one that saw more stays.
local function serve(k, a)
    local cache, variant = KEYS[k + 1], 'v:' .. ARGV[a + 1]
    local kept = redis.call('HMGET', cache, 'gen', 'seq')
    if (kept[1] or '') ~= ARGV[a + 2] or tonumber(kept[2] or -1) > tonumber(ARGV[a + 3]) then
        return 0
    end
    local most = tonumber(ARGV[a + 6])
    if redis.call('HLEN', cache) > most then
        local variants = 0
        for _, field in ipairs(redis.call('HKEYS', cache)) do
            if string.sub(field, 1, 2) == 'v:' and field ~= variant then
                variants = variants + 1
                if variants >= most then
                    redis.call('HDEL', cache, field)
                end
            end
        end
    end
    redis.call('HSET', cache, 'seq', ARGV[a + 3], variant,
               ARGV[a + 2] .. ' ' .. ARGV[a + 3] .. ' ' .. string.format('%d', now + ARGV[a + 5])
                   .. ' ' .. ARGV[a + 4])
    return 1
end

return crowd(serve, function() end)
