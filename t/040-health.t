# Health and readiness: each backend is really asked.

use Test::Nginx::Socket 'no_plan';
use Coco;

no_shuffle();
no_long_string();

our $Health = <<'END';
location = /healthz { coco_health live; }
location = /readyz { coco_health ready; }
END

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(config => $Health) unless defined $block->config;
    Coco::defaults($block);
});

run_tests();

__DATA__

=== TEST 1: the process is up, without any backend
--- http_config eval: Coco::down('redis', 'postgres')
--- request
GET /healthz
--- response_body chomp
{"status":"ok"}
--- response_headers
Content-Type: application/json



=== TEST 2: both backends answer
--- request
GET /readyz
--- response_body chomp
{"status":"ok","backends":{"redis":{"state":"up"},"postgres":{"state":"up"}}}
--- response_headers
Content-Type: application/json
--- no_error_log
[alert]
[error]



=== TEST 3: asked many times over one connection
--- pipelined_requests eval: [("GET /readyz", "GET /healthz") x 20]
--- error_code eval: [(200) x 40]
--- no_error_log
[alert]
[error]



=== TEST 4: HEAD
--- request
HEAD /readyz
--- response_body
--- error_code: 200



=== TEST 5: a body is read and ignored
--- request
GET /readyz
what is this
--- error_code: 200



=== TEST 6: another method
--- request
POST /readyz
--- error_code: 405
--- response_headers
Allow: GET, HEAD
Content-Type: application/problem+json



=== TEST 7: Redis is away
--- http_config eval: Coco::down('redis')
--- request
GET /readyz
--- error_code: 503
--- response_body chomp
{"status":"unavailable","backends":{"redis":{"state":"down","detail":"cannot connect"},"postgres":{"state":"up"}}}



=== TEST 8: Postgres is away
--- http_config eval: Coco::down('postgres')
--- request
GET /readyz
--- error_code: 503
--- response_body chomp
{"status":"unavailable","backends":{"redis":{"state":"up"},"postgres":{"state":"down","detail":"cannot connect"}}}



=== TEST 9: the schema is not there: up, and yet not ready
--- http_config eval
Coco::http_config(coco_postgres => qq("host=127.0.0.1 )
    . qq(port=$ENV{TEST_NGINX_POSTGRES_PORT} user=coco dbname=postgres"))
--- config eval: $::Health . Coco::locations()
--- request
GET /readyz
--- error_code: 503
--- response_body_like: "detail":"a statement cannot be prepared \(SQLSTATE (3F000|42P01)\)"



=== TEST 10: Redis is not configured: it is not asked
--- http_config eval: Coco::http_config(coco_redis => undef)
--- request
GET /readyz
--- response_body chomp
{"status":"ok","backends":{"postgres":{"state":"up"}}}



=== TEST 11: a body that nobody wants is not the next request
--- pipelined_requests eval
["POST /healthz\nGET /healthz HTTP/1.1\r\nHost: body\r\n\r\n", 'GET /readyz']
--- error_code eval
[405, 200]
--- response_body_like eval
[qr/"status":405/, qr/"backends"/]
