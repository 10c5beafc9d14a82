-- What a money POST leaves behind, in its sender's keys.
--
-- KEYS  1 idempotency key  2 cache hash
-- ARGV  1 token  2 answer to store (fingerprint, status, body), empty: release the claim
--       3 answer_ms  4 sender's new sequence or ''  5 forget the mark: 1 or 0  6 hash_ms
-- A claim belongs to its token: nobody else releases or overwrites it.
local stored = redis.call('GET', KEYS[1])
if not stored or stored == 'C' .. ARGV[1] then
    if ARGV[2] ~= '' then
        redis.call('SET', KEYS[1], 'A' .. ARGV[2], 'PX', ARGV[3])
    elseif stored then
        redis.call('DEL', KEYS[1])
    end
end
if ARGV[4] ~= '' and tonumber(ARGV[4]) > tonumber(redis.call('HGET', KEYS[2], 'seq') or -1) then
    redis.call('HSET', KEYS[2], 'seq', ARGV[4])
    redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
if ARGV[5] == '1' then
    redis.call('HDEL', KEYS[2], 'm:' .. ARGV[1])
end
return 1
