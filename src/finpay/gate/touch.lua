-- The other sides of transfers: what is cached of them below their sequences is old.
-- KEYS cache hashes   ARGV 1 hash_ms  2… the sequence of each
for n, key in ipairs(KEYS) do
    if tonumber(ARGV[n + 1]) > tonumber(redis.call('HGET', key, 'seq') or -1) then
        redis.call('HSET', key, 'seq', ARGV[n + 1])
        redis.call('PEXPIRE', key, ARGV[1])
    end
end
return 1
