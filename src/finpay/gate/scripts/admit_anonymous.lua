-- The gate of a route without auth: only rate limits. KEYS tiers; ARGV limit, window_ms, cost each.
local function serve(k, a, keys)
    local fits, report = count(k, a, keys)
    return {fits and 'admitted' or 'limited', report}
end

return crowd(serve, function(k, _, keys, names)
    for n = 1, keys do
        names[#names + 1] = KEYS[k + n]
    end
end)
