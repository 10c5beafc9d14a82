-- Fixed windows that begin with the first counted request. A tier is one string key,
-- "used end_ms"; `tiers` is a list of {key, limit, window_ms, cost}.
--
-- Counts a request in all its tiers, or in none of them if one is exhausted. Returns whether it was
-- counted, and for each tier what is left and the milliseconds until its window ends.
local function count(tiers)
    local now_s, now_us = unpack(redis.call('TIME'))
    local now = now_s * 1000 + math.floor(now_us / 1000)
    local fits = true
    for _, tier in ipairs(tiers) do
        local used, ends = string.match(redis.call('GET', tier.key) or '', '^(%d+) (%d+)$')
        tier.used, tier.ends = tonumber(used) or 0, tonumber(ends) or 0
        if tier.ends <= now then
            tier.used, tier.ends = 0, now + tier.window_ms
        end
        if tier.used + tier.cost > tier.limit then
            fits = false
        end
    end
    local report = {}
    for _, tier in ipairs(tiers) do
        if fits then
            tier.used = tier.used + tier.cost
            redis.call('SET', tier.key, string.format('%d %d', tier.used, tier.ends),
                       'PX', tier.ends - now)
        end
        report[#report + 1] = math.max(tier.limit - tier.used, 0)
        report[#report + 1] = tier.ends - now
    end
    return fits, report, now
end
