-- Sends one distinct webhook after another. WRK_PERIOD is how many ms a
-- connection lets pass from one to the next, on average; 0 without a pause.

local period = tonumber(os.getenv("WRK_PERIOD"))
local units = { "streamer", "node", "relay" }
local time = tonumber(os.getenv("WRK_TIME"))
local last = 0

function init(args)
    math.randomseed(time % 1000000007)
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    wrk.headers["X-DriveU-Token"] = os.getenv("WRK_TOKEN")
end

function request()
    last = last + 1
    return wrk.format(nil, nil, nil, string.format(
        '{"eventName":"status","unit":"%s","status":"online",'
        .. '"uuid":"0f6c9c1e-%d","vin":"coco-%04d","time":%.0f}',
        units[last % 3 + 1], last % 500, last % 500, time + last))
end

if period > 0 then
    function delay()
        return math.random(0, 2 * period)
    end
end

function done(summary, latency)
    local e = summary.errors
    print(string.format("RESULT %.1f %d %d %d",
          summary.requests / summary.duration * 1e6, latency:percentile(99),
          e.connect + e.read + e.write + e.status + e.timeout,
          summary.requests))
end
