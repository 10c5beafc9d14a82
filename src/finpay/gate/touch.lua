-- The other side of a transfer: what is cached of it below this sequence is old.
-- KEYS 1 cache hash   ARGV 1 sequence  2 hash_ms
if tonumber(ARGV[1]) > tonumber(redis.call('HGET', KEYS[1], 'seq') or -1) then
    redis.call('HSET', KEYS[1], 'seq', ARGV[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
