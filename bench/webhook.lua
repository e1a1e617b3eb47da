-- Sends one distinct webhook after another.

dofile(os.getenv("WRK_LOAD"))

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
