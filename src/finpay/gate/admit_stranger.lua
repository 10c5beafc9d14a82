-- The gate of a route without auth: only rate limits. KEYS tiers; ARGV limit, window_ms, cost each.
local tiers = {}
for n, key in ipairs(KEYS) do
    local at = (n - 1) * 3
    tiers[n] = {key = key, limit = tonumber(ARGV[at + 1]),
                window_ms = tonumber(ARGV[at + 2]), cost = tonumber(ARGV[at + 3])}
end
local fits, report = count(tiers)
return {fits and 'admitted' or 'limited', report}
