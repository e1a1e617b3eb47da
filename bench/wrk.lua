-- Asks for one robot after another: WRK_PREFIX .. serial, for as many robots
-- as WRK_ROBOTS says. Every request is made beforehand.

local requests = {}
local last = 0

function init(args)
    local count = tonumber(os.getenv("WRK_ROBOTS"))
    wrk.headers["Authorization"] = "Bearer " .. os.getenv("WRK_TOKEN")
    for i = 1, count do
        requests[i] = wrk.format("GET", os.getenv("WRK_PREFIX")
                                 .. string.format("sim-%04d", i))
    end
end

function request()
    last = last % #requests + 1
    return requests[last]
end

function done(summary, latency)
    local e = summary.errors
    print(string.format("RESULT %.1f %d %d",
          summary.requests / summary.duration * 1e6, latency:percentile(99),
          e.connect + e.read + e.write + e.status + e.timeout))
end
