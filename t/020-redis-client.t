# The Redis client, seen through the readiness of a location and the Fleet
# labor row: connecting, greeting, timeouts, what a server may answer. Where
# Redis cannot be asked, Postgres is: it has no record of s020-a, 404.

use Test::Nginx::Socket 'no_plan';
use Coco;

no_shuffle();
no_long_string();

$ENV{TEST_NGINX_MOCK_PORT} = $ENV{TEST_NGINX_CLOSED_PORT};

our $Postgres = qq(coco_postgres "host=127.0.0.1 )
    . qq(port=$ENV{TEST_NGINX_POSTGRES_PORT} user=coco dbname=coco";\n);
our $Mock = $Postgres . "coco_redis 127.0.0.1:$ENV{TEST_NGINX_MOCK_PORT}";
$ENV{TEST_NGINX_COCO_PASSWORD} = write_file('password', "sesame\nnot this\n");

redis('SET', 'robot.heartbeat.cache.s020-a', '{"serial":"s020-a"}', 'PX',
    600000);
redis('SET', 'robot.heartbeat.cache.s020-big', '"' . 'x' x 100000 . '"',
    'PX', 600000);
redis('DEL', 'robot.heartbeat.cache.s020-list');
redis('RPUSH', 'robot.heartbeat.cache.s020-list', 'a');

# The first attempt to connect comes before the server that the runner plays
# listens, and before the runner reads the log: "wait" is for the next one.
add_block_preprocessor(\&Coco::defaults);
run_tests();

__DATA__

=== TEST 1: the first request waits for the connection that is being made
--- request
GET /fleet/v1/labor/robots/s020-a
--- response_body chomp
{"serial":"s020-a"}
--- no_error_log
[alert]
[error]



=== TEST 2: pipelined requests are answered in their order
--- pipelined_requests eval
["GET /fleet/v1/labor/robots/s020-a", "GET /fleet/v1/labor/robots/s020-none",
 "GET /fleet/v1/labor/robots/s020-a"]
--- error_code eval
[200, 404, 200]
--- no_error_log
[alert]
[error]



=== TEST 3: a reply larger than any buffer
--- request
GET /fleet/v1/labor/robots/s020-big
--- response_body eval
'"' . 'x' x 100000 . '"'
--- no_error_log
[alert]
[error]



=== TEST 4: nobody listens
--- http_config eval: Coco::down('redis')
--- wait: 0.5
--- request
GET /fleet/v1/labor/robots/s020-a
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- error_log
Connection refused
--- no_error_log
[alert]



=== TEST 5: password, database and the liveness check come first
--- http_config eval
$::Mock . " password_file=\$TEST_NGINX_COCO_PASSWORD db=7;"
--- config
    location = /readyz { coco_health ready; }
--- more_headers
--- tcp_listen: $TEST_NGINX_MOCK_PORT
--- tcp_query eval
"*2\r\n\$4\r\nAUTH\r\n\$6\r\nsesame\r\n*2\r\n\$6\r\nSELECT\r\n\$1\r\n7\r\n"
. "*1\r\n\$4\r\nPING\r\n"
--- tcp_reply eval
"-WRONGPASS invalid username-password pair\r\n"
--- wait: 0.5
--- request
GET /readyz
--- error_code: 503
--- response_body_like: "redis":\{"state":"down","detail":"
--- error_log
refused by the server: WRONGPASS
--- no_error_log
sesame



=== TEST 6: a server that is not ready yet
--- http_config eval
Coco::http_config(coco_redis => "127.0.0.1:$ENV{TEST_NGINX_MOCK_PORT}")
--- tcp_listen: $TEST_NGINX_MOCK_PORT
--- tcp_reply eval
"-LOADING Redis is loading the dataset in memory\r\n"
--- wait: 0.5
--- request
GET /fleet/v1/labor/robots/s020-a
--- error_code: 404
--- error_log
refused by the server: LOADING
--- no_error_log
[alert]



=== TEST 7: a server that speaks another protocol
--- http_config eval
Coco::http_config(coco_redis => "127.0.0.1:$ENV{TEST_NGINX_MOCK_PORT}")
--- tcp_listen: $TEST_NGINX_MOCK_PORT
--- tcp_reply eval
"HTTP/1.1 400 Bad Request\r\n\r\n"
--- wait: 0.5
--- request
GET /fleet/v1/labor/robots/s020-a
--- error_code: 404
--- error_log
protocol error
--- no_error_log
[alert]



=== TEST 8: a server that hangs up on the first command
--- http_config eval
Coco::http_config(coco_redis => "127.0.0.1:$ENV{TEST_NGINX_MOCK_PORT}")
--- tcp_listen: $TEST_NGINX_MOCK_PORT
--- tcp_reply eval
"+PONG\r\n"
--- wait: 0.5
--- request
GET /fleet/v1/labor/robots/s020-a
--- error_code: 404
--- error_log eval
# a reset, when it hangs up before it has read all
qr/closed by the server|reset by peer/
--- no_error_log
[alert]



=== TEST 9: a server that accepts and says nothing
--- http_config eval
Coco::http_config(coco_redis => "127.0.0.1:$ENV{TEST_NGINX_MOCK_PORT}",
    coco_redis_timeout => '50ms')
--- tcp_listen: $TEST_NGINX_MOCK_PORT
--- tcp_no_close
--- tcp_reply:
--- wait: 0.5
--- request
GET /fleet/v1/labor/robots/s020-a
--- error_code: 404
--- no_error_log
[alert]
