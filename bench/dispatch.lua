-- Posts one line of the file WRK_BODIES after another.

dofile(os.getenv("WRK_LOAD"))

local requests = {}

function init(args)
    math.randomseed(1)
    wrk.headers["Authorization"] = "Bearer " .. os.getenv("WRK_TOKEN")
    wrk.headers["Content-Type"] = "application/json"
    for body in io.lines(os.getenv("WRK_BODIES")) do
        requests[#requests + 1] = wrk.format("POST", os.getenv("WRK_PREFIX"),
                                             nil, body)
    end
end

request = replay(requests)
