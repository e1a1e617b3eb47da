# GET /state/{serial}: the newest state, and what every route refuses before
# a backend is asked.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our $Ts = now_ms() - 4000;

robot('s110-a', ts => $Ts, received => $Ts + 7, state => 'ON_TRIP',
    details => heartbeat(percent => 61.5));

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: the newest state, as the record has it
--- request
GET /state/s110-a
--- response_body eval
qq({"serial":"s110-a","state":"ON_TRIP","ts":$::Ts,"receivedAt":)
. ($::Ts + 7) . qq(,"details":{"battery": {"percent": 61.5}, "healthy": )
. qq(true, "location": {"latitude": 37.77, "longitude": -122.41}, )
. qq("components": {"motor": "OK"}},"driveu":null,)
. qq("remotelyControllable":false})
--- response_headers
Content-Type: application/json



=== TEST 2: HEAD has the length and no body
--- request
HEAD /state/s110-a
--- response_headers_like
Content-Length: 2\d\d
--- response_body



=== TEST 3: nobody has heard of it: the problem says so
--- request
GET /state/s110-nobody
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body chomp
{"type":"about:blank","title":"Not Found","status":404,"detail":"No heartbeat of this serial is known.","instance":"/state/s110-nobody"}



=== TEST 4: serials that are none
--- request eval
['GET /state/a%20b', 'GET /state/..x%00', 'GET /state/' . 'x' x 65,
 'GET /state/stream', 'GET /state/%C3%A4', 'GET /state/a%0Ab']
--- error_code eval
[400, 400, 400, 400, 400, 400]
--- response_body_like eval
[qr/"field":"serial"/, qr/400/, (qr/"field":"serial"/) x 4]



=== TEST 5: paths that are none
--- request eval
['GET /state', 'GET /state/', 'GET /state/a/b', 'GET /state/a/history/',
 'GET /stateless', 'GET /state/a%2Fb']
--- error_code eval
[404, 404, 404, 404, 404, 404]
--- response_body_like eval
[(qr/"title":"Not Found"/) x 6]



=== TEST 6: methods that are none
--- request eval
["POST /state/s110-a\n{}", 'DELETE /state/s110-a',
 "PUT /state/s110-a/history\n{}"]
--- error_code eval
[405, 405, 405]
--- response_headers eval
[("Allow: GET, HEAD\nContent-Type: application/problem+json") x 3]
--- response_body_like eval
[(qr/"status":405/) x 3]



=== TEST 7: several requests on one connection, a refused body between
--- pipelined_requests eval
['GET /state/s110-a', "DELETE /state/s110-a\nbody", 'GET /state/s110-nobody',
 'GET /state/s110-a']
--- error_code eval
[200, 405, 404, 200]
--- response_body_like eval
[qr/ON_TRIP/, qr/"status":405/, qr/"status":404/, qr/ON_TRIP/]



=== TEST 8: without Postgres
--- http_config eval: Coco::down('postgres')
--- request
GET /state/s110-a
--- error_code: 503
--- response_headers
Retry-After: 1
Content-Type: application/problem+json
--- response_body_like: Postgres cannot be reached
