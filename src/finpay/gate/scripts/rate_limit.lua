-- Fixed windows that begin with the first counted request. A tier is one string key,
-- "used end_ms"; `tiers` of them stand behind KEYS[k], with {limit, window_ms, cost} each behind
-- ARGV[a].
--
-- Counts a request in all its tiers, or in none of them if one is exhausted. Returns whether it was
-- counted, and for each tier what is left and the milliseconds until its window ends.
local function count(k, a, tiers)
    local fits, report = true, {}
    local limit, cost, used, ends = {}, {}, {}, {}
    for n = 1, tiers do
        local window_ms
        limit[n], window_ms, cost[n] =
            tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
        a = a + 3
        local counted, until_ms = string.match(held[KEYS[k + n]] or '', '^(%d+) (%d+)$')
        used[n], ends[n] = tonumber(counted) or 0, tonumber(until_ms) or 0
        if ends[n] <= now then
            used[n], ends[n] = 0, now + window_ms
        end
        if used[n] + cost[n] > limit[n] then
            fits = false
        end
    end
    for n = 1, tiers do
        if fits then
            used[n] = used[n] + cost[n]
            put(KEYS[k + n], string.format('%d %d', used[n], ends[n]), ends[n] - now)
        end
        report[#report + 1] = math.max(limit[n] - used[n], 0)
        report[#report + 1] = ends[n] - now
    end
    return fits, report
end

