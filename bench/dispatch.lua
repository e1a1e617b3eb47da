-- Posts one line of the file WRK_BODIES after another. WRK_PERIOD is how many
-- ms a connection lets pass from one to the next, on average; 0: none.

local period = tonumber(os.getenv("WRK_PERIOD"))
local requests = {}
local last = 0

function init(args)
    math.randomseed(1)
    wrk.headers["Authorization"] = "Bearer " .. os.getenv("WRK_TOKEN")
    wrk.headers["Content-Type"] = "application/json"
    for body in io.lines(os.getenv("WRK_BODIES")) do
        requests[#requests + 1] = wrk.format("POST", os.getenv("WRK_PREFIX"),
                                             nil, body)
    end
end

function request()
    last = last % #requests + 1
    return requests[last]
end

if period > 0 then
    function delay()
        return math.random(0, 2 * period)
    end
end

function done(summary, latency)
    local e = summary.errors
    print(string.format("RESULT %.1f %d %d",
          summary.requests / summary.duration * 1e6, latency:percentile(99),
          e.connect + e.read + e.write + e.status + e.timeout))
end
