# The base module's directives: what they take, and that nginx refuses to start
# with what they do not, in words that name the directive.

use Test::Nginx::Socket 'no_plan';

no_shuffle();
no_long_string();

run_tests();

__DATA__

=== TEST 1: without any directive of ours
--- config
    location = /healthz { coco_health live; }
--- request
GET /healthz
--- response_body chomp
{"status":"ok"}
--- no_error_log
[alert]
[error]



=== TEST 2: all of them
--- http_config
    coco_redis 127.0.0.1:$TEST_NGINX_REDIS_PORT db=1;
    coco_postgres "host=127.0.0.1 port=$TEST_NGINX_POSTGRES_PORT user=coco
        dbname=coco" points=2 connections=1;
    coco_redis_timeout 1s;
    coco_postgres_timeout 5s;
    coco_online_window 90s;
    coco_heartbeat_ttl 3m;
    coco_low_battery 0;
    coco_require_teleoperation on;
    coco_auth_issuer me;
    coco_auth_audience them;
--- config
    location = /readyz { coco_health ready; }
--- request
GET /readyz
--- response_body chomp
{"status":"ok","backends":{"redis":{"state":"up"},"postgres":{"state":"up"}}}
--- no_error_log
[alert]
[error]



=== TEST 3: coco_redis: a name
--- http_config
    coco_redis redis.example:6379;
--- config
--- must_die
--- error_log
"coco_redis": "redis.example" is a name
--- no_error_log
[alert]



=== TEST 4: coco_redis: no address
--- http_config
    coco_redis 127.0.0.1:notaport;
--- config
--- must_die
--- error_log
"coco_redis": invalid address "127.0.0.1:notaport": invalid port
--- no_error_log
[alert]



=== TEST 5: coco_redis: unknown parameter
--- http_config
    coco_redis 127.0.0.1:6379 user=x;
--- config
--- must_die
--- error_log
"coco_redis": invalid parameter "user=x"
--- no_error_log
[alert]



=== TEST 6: coco_redis: bad database
--- http_config
    coco_redis 127.0.0.1:6379 db=one;
--- config
--- must_die
--- error_log
"coco_redis": invalid parameter "db=one"
--- no_error_log
[alert]



=== TEST 7: coco_redis: password file is missing
--- http_config
    coco_redis 127.0.0.1:6379 password_file=/nonexistent/file;
--- config
--- must_die
--- error_log
"coco_redis": open() "/nonexistent/file" failed
--- no_error_log
[alert]



=== TEST 8: coco_redis: twice
--- http_config
    coco_redis 127.0.0.1:6379;
    coco_redis 127.0.0.1:6380;
--- config
--- must_die
--- error_log
"coco_redis" directive is duplicate
--- no_error_log
[alert]



=== TEST 9: coco_postgres: a name
--- http_config
    coco_postgres "host=db.example user=coco";
--- config
--- must_die
--- error_log
"coco_postgres": "db.example" is not one address
--- no_error_log
[alert]



=== TEST 10: coco_postgres: several servers
--- http_config
    coco_postgres "host=127.0.0.1,127.0.0.2 user=coco";
--- config
--- must_die
--- error_log
"coco_postgres": "127.0.0.1,127.0.0.2" is not one address
--- no_error_log
[alert]



=== TEST 11: coco_postgres: no host
--- http_config
    coco_postgres "user=coco";
--- config
--- must_die
--- error_log
"coco_postgres" needs "host="
--- no_error_log
[alert]



=== TEST 12: coco_postgres: no user
--- http_config
    coco_postgres "host=127.0.0.1";
--- config
--- must_die
--- error_log
"coco_postgres" needs "user="
--- no_error_log
[alert]



=== TEST 13: coco_postgres: a password is never echoed
--- http_config
    coco_postgres "host=127.0.0.1 user=coco password=sesame";
--- config
--- must_die
--- error_log
"coco_postgres" takes name=value pairs, and the password by "password_file=" only
--- no_error_log
sesame



=== TEST 14: coco_postgres: a URI
--- http_config
    coco_postgres "postgresql://coco:sesame@127.0.0.1/coco";
--- config
--- must_die
--- error_log
"coco_postgres" takes name=value pairs
--- no_error_log
sesame



=== TEST 15: coco_postgres: a service file
--- http_config
    coco_postgres "host=127.0.0.1 user=coco service=x";
--- config
--- must_die
--- error_log
"coco_postgres": "service" and "passfile"
--- no_error_log
[alert]



=== TEST 16: coco_postgres: what libpq does not know
--- http_config
    coco_postgres "host=127.0.0.1 user=coco colour=red";
--- config
--- must_die
--- error_log
"coco_postgres": invalid connection option "colour"
--- no_error_log
[alert]



=== TEST 17: coco_postgres: too many connections
--- http_config
    coco_postgres "host=127.0.0.1 user=coco" connections=65;
--- config
--- must_die
--- error_log
"coco_postgres": invalid parameter "connections=65"
--- no_error_log
[alert]



=== TEST 18: coco_postgres: no point connection
--- http_config
    coco_postgres "host=127.0.0.1 user=coco" points=0;
--- config
--- must_die
--- error_log
"coco_postgres": invalid parameter "points=0"
--- no_error_log
[alert]



=== TEST 19: coco_redis_timeout: no time
--- http_config
    coco_redis_timeout soon;
--- config
--- must_die
--- error_log
"coco_redis_timeout" directive invalid value
--- no_error_log
[alert]



=== TEST 20: coco_postgres_timeout: zero
--- http_config
    coco_postgres_timeout 0;
--- config
--- must_die
--- error_log
"coco_redis_timeout" and "coco_postgres_timeout" must not be 0
--- no_error_log
[alert]



=== TEST 21: coco_low_battery: beyond a hundred percent
--- http_config
    coco_low_battery 101;
--- config
--- must_die
--- error_log
"coco_low_battery" must be 0 to 100 percent
--- no_error_log
[alert]



=== TEST 22: coco_require_teleoperation: neither on nor off
--- http_config
    coco_require_teleoperation maybe;
--- config
--- must_die
--- error_log
invalid value "maybe" in "coco_require_teleoperation" directive, it must be "on" or "off"
--- no_error_log
[alert]



=== TEST 23: a location that needs Postgres without any
--- config
    location = /readyz { coco_health ready; }
--- must_die
--- error_log
no "coco_postgres" is given
--- no_error_log
[alert]



=== TEST 24: coco_health: another word
--- config
    location = /healthz { coco_health sleepy; }
--- must_die
--- error_log
"coco_health" directive must be "live" or "ready"
--- no_error_log
[alert]



=== TEST 25: coco_health: beside another handler
--- config
    location = /healthz { coco_health live; coco_health live; }
--- must_die
--- error_log
"coco_health" directive cannot be used where another handler is
--- no_error_log
[alert]
