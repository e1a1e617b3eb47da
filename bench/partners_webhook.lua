-- Sends one distinct webhook of Uber's after another, signed.

dofile(os.getenv("WRK_LOAD"))

local ffi = require("ffi")
ffi.cdef[[
    const void *EVP_sha256(void);
    unsigned char *HMAC(const void *digest, const void *key, int key_len,
                        const char *data, size_t len, unsigned char *mac,
                        unsigned int *mac_len);
]]

local key = os.getenv("WRK_KEY")
local template = os.getenv("WRK_BODY"):gsub("%%", "%%%%")
                                      :gsub(os.getenv("WRK_ID"), "%%012d")
local sha256 = ffi.C.EVP_sha256()
local mac = ffi.new("unsigned char[32]")
local hex = {}
local head, last = nil, 0

for i = 0, 255 do
    hex[i] = string.format("%02x", i)
end

local function sign(body)
    local text = {}
    ffi.C.HMAC(sha256, key, #key, body, #body, mac, nil)
    for i = 0, 31 do
        text[i + 1] = hex[mac[i]]
    end
    return table.concat(text)
end

function init(args)
    head = string.format("POST %s HTTP/1.1\r\nHost: %s:%s\r\n"
                         .. "Content-Type: application/json\r\n"
                         .. "Content-Length: %d\r\nX-Uber-Signature: ",
                         wrk.path, wrk.host, wrk.port,
                         #string.format(template, 0, 0, 0))
end

function request()
    last = last + 1
    local body = string.format(template, last, last, last)
    return head .. sign(body) .. "\r\n\r\n" .. body
end
