-- Sends one request after another of a file, WRK_SIZE bytes each.

dofile(os.getenv("WRK_LOAD"))

local size = tonumber(os.getenv("WRK_SIZE"))
local requests, last

function init(args)
    local file = assert(io.open(os.getenv("WRK_FILE"), "rb"))
    requests = file:read("*a")
    file:close()
    last = #requests
end

function request()
    last = last < #requests and last or 0
    last = last + size
    return requests:sub(last - size + 1, last)
end
