-- What the scripts for wrk share: how it reports, and how it pauses. Each loads
-- this by WRK_LOAD. WRK_PERIOD is how many ms a connection lets pass from one
-- request to the next, on average; 0: none.

local period = tonumber(os.getenv("WRK_PERIOD"))

if period > 0 then
    function delay()
        return math.random(0, 2 * period)
    end
end

-- rate, p99 in us, failures, and how many requests
function done(summary, latency)
    local e = summary.errors
    print(string.format("RESULT %.1f %d %d %d",
          summary.requests / summary.duration * 1e6, latency:percentile(99),
          e.connect + e.read + e.write + e.status + e.timeout,
          summary.requests))
end

-- requests that were made beforehand, one after another, again and again
function replay(requests)
    local last = 0
    return function()
        last = last % #requests + 1
        return requests[last]
    end
end
