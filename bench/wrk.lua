-- Asks for one robot after another: WRK_PREFIX .. serial, for as many robots
-- as WRK_ROBOTS says. Every request is made beforehand.

dofile(os.getenv("WRK_LOAD"))

local requests = {}

function init(args)
    local count = tonumber(os.getenv("WRK_ROBOTS"))
    wrk.headers["Authorization"] = "Bearer " .. os.getenv("WRK_TOKEN")
    for i = 1, count do
        requests[i] = wrk.format("GET", os.getenv("WRK_PREFIX")
                                 .. string.format("sim-%04d", i))
    end
end

request = replay(requests)
