# GET /fleet/v1/labor/robots/{serial}: the heartbeat cache as it stands.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

# bytes, not a document that would be made again
our $Value = '{"serial":"s310-a",  "odd" : "' . 'v' x 9000 . '"}';
redis('SET', 'robot.heartbeat.cache.s310-a', $Value, 'PX', 600_000);
redis('SET', 'robot.heartbeat.cache.s310-b', '{}', 'PX', 600_000);
redis('DEL', 'robot.heartbeat.cache.s310-gone',
    'robot.heartbeat.cache.s310-list');
redis('LPUSH', 'robot.heartbeat.cache.s310-list', 1);

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: as it stands
--- request
GET /fleet/v1/labor/robots/s310-a
--- response_headers
Content-Type: application/json
--- response_body eval: $::Value



=== TEST 2: HEAD
--- request
HEAD /fleet/v1/labor/robots/s310-b
--- response_headers
Content-Length: 2
--- response_body



=== TEST 3: expired or never there
--- request
GET /fleet/v1/labor/robots/s310-gone
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":404



=== TEST 4: serials, paths and methods that are none
--- request eval
['GET /fleet/v1/labor/robots/a%20b', 'GET /fleet/v1/labor/robots/stream',
 'GET /fleet/v1/labor/robots/', 'GET /fleet/v1/labor', 'GET /fleet',
 "POST /fleet/v1/labor/robots/s310-a\n{}"]
--- error_code eval
[400, 400, 404, 404, 404, 405]



=== TEST 5: tokens
--- more_headers eval
['X-None: 1', Coco::bearer(scope => 'robots:read fleet:readx'),
 Coco::bearer(scope => 'fleet:read'), Coco::bearer(exp => 1)]
--- request eval
[('GET /fleet/v1/labor/robots/s310-b') x 4]
--- error_code eval
[401, 403, 200, 401]



=== TEST 6: pipelined on one connection, in order
--- pipelined_requests eval
['GET /fleet/v1/labor/robots/s310-b', 'GET /fleet/v1/labor/robots/s310-gone',
 'GET /fleet/v1/labor/robots/s310-a', 'GET /fleet/v1/labor/robots/s310-b']
--- error_code eval
[200, 404, 200, 200]
--- response_body_like eval
[qr/^\{\}$/, qr/404/, qr/v{9000}/, qr/^\{\}$/]



=== TEST 7: a key that is no string
--- request
GET /fleet/v1/labor/robots/s310-list
--- error_code: 503
--- error_log
redis refused GET: WRONGTYPE



=== TEST 8: without Redis
--- http_config eval: Coco::down('redis')
--- request
GET /fleet/v1/labor/robots/s310-b
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: Redis cannot be reached



=== TEST 9: without Redis in the configuration
--- http_config eval: Coco::http_config(coco_redis => undef)
--- request
GET /fleet/v1/labor/robots/s310-b
--- error_code: 503



=== TEST 10: Postgres is not asked
--- http_config eval: Coco::down('postgres')
--- request
GET /fleet/v1/labor/robots/s310-b
--- response_body chomp
{}
