# GET /robots/{serial}: business from Postgres, the rest from the nearest
# copy, and what is shown when a backend or a copy is missing.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our $Now = now_ms();

robot("s210-$_", ts => $Now, copies => 1, state => 'DEPLOYED',
    details => heartbeat(percent => 64)) for qw(copies patched both pgdown);
driveu('s210-copies', $Now - 5, streamer => 'online', relay => 'odd');
robot("s210-$_", ts => $Now, details => heartbeat(
    rest => ',"lid":{"open":true}')) for qw(miss redisdown);
robot('s210-sick', details => heartbeat(healthy => undef,
    rest => ',"components":{"a":"OK","motor":"ERROR"}'));
robot('s210-well', details => heartbeat(healthy => undef,
    rest => ',"components":{"motor":"DEGRADED"}'));
robot('s210-silent', ts => $Now - $Coco::Window - 1000);
robot('s210-expired', ts => $Now - 2 * $Coco::Window - 1000);
robot('s210-ahead', ts => $Now + 3600_000, received => $Now - $Coco::Window
    - 1000);
robot('s210-new', ts => $Now, operation => undef, state => 'ON_TRIP');
robot('s210-low', details => heartbeat(percent => 14.9));
robot('s210-broken', ts => $Now);
redis('SET', 'robot.heartbeat.cache.s210-broken', '{"serial":', 'PX', $Coco::Window);
redis('SET', 'robot.ephemeral.s210-broken', '[1]', 'PX', $Coco::Window);
robot("s210-$_", ts => $Now) for qw(empty types);
for my $copy ([empty => '{}'], [types => '{"id":1,"ts":"a","receivedAt":null,'
    . '"operationState":2,"battery":[],"location":{}}'])
{
    redis('SET', "robot.$_.s210-$copy->[0]", $copy->[1], 'PX', $Coco::Window)
        for qw(heartbeat.cache ephemeral);
}
robot('s210-list', ts => $Now);
redis('LPUSH', 'robot.heartbeat.cache.s210-list', 1);
sql("update coco.robot_operation set operation_state = 'GROUNDED',"
    . " needs_pickup = true, has_food = false,"
    . " deployed = '{\"type\": \"POD\"}' where serial = 's210-patched'");

plan 'no_plan';
run_tests();

# the two reads of s210-miss filled the copies
my $ttl = redis('PTTL', 'robot.heartbeat.cache.s210-miss');
ok($ttl > 0 && $ttl <= 2 * $Coco::Window, "what remains of the time is kept: $ttl");
like(redis('GET', 'robot.ephemeral.s210-miss'), qr/"lid":\{"open":true\}/,
    'the ephemeral copy');
is(redis('EXISTS', 'robot.heartbeat.cache.s210-expired'), 0,
    'nothing remains of the time of s210-expired');

__DATA__

=== TEST 1: all from the nearest copies
--- request
GET /robots/s210-copies
--- response_headers
Content-Type: application/json
--- response_body eval
qq({"serial":"s210-copies","operationState":"DEPLOYED","business":{)
. qq("needsMovement":null,"undergoingMaintenance":null,)
. qq("needsMaintenance":null,"needsPickup":null,"hasFood":null,)
. qq("driveable":null,"deployed":null,"changedAt":$::Now},"telemetry":{)
. qq("serial":"s210-copies","id":"11111111-1111-8111-8111-111111111111",)
. qq("ts":$::Now,"receivedAt":$::Now,"operationState":"DEPLOYED",)
. qq("healthy":true,"battery":{"percent":64},"location":{"latitude":37.77,)
. qq("longitude":-122.41},"components":{"motor":"OK"}},"connectivity":{)
. qq("online":true,"remotelyControllable":true,"driveu":)
. Coco::driveu_json($::Now - 5, streamer => 'online', relay => 'odd')
. qq(},"lid":{"open":true},"delivery":null,"readiness":{)
. qq("ready":true,"issue":null},"sources":{"business":{"source":"postgres",)
. qq("asOf":$::Now},"telemetry":{"source":"redis","asOf":$::Now},)
. qq("connectivity":{"source":"postgres","asOf":) . ($::Now - 5)
. qq(},"lid":{"source":"redis","asOf":$::Now}},"partial":false})



=== TEST 2: the operation state that stands, in the telemetry too
--- request
GET /robots/s210-patched
--- response_body_like eval
qr/^\{"serial":"s210-patched","operationState":"GROUNDED".*"needsPickup":true,"hasFood":false.*"deployed":\{"type": "POD"\}.*"telemetry":\{.*"operationState":"GROUNDED".*"issue":"NEEDS_PICKUP"/



=== TEST 3: a miss falls back to the state service's record, then it is filled
--- request eval
['GET /robots/s210-miss', 'GET /robots/s210-miss']
--- response_body_like eval
[qr/"lid":\{"open": true\}.*"telemetry":\{"source":"state".*"partial":false/,
 qr/"lid":\{"open":true\}.*"telemetry":\{"source":"redis".*"connectivity":\{"source":"postgres","asOf":null\}.*"partial":false/]
--- error_code eval
[200, 200]



=== TEST 4: health from the components, when it was not said
--- request eval
['GET /robots/s210-sick', 'GET /robots/s210-well']
--- response_body_like eval
[qr/"healthy":false.*"issue":"UNHEALTHY"/, qr/"healthy":true.*"ready":true/]
--- error_code eval
[200, 200]



=== TEST 5: online is heard lately, by our clock
--- request eval
['GET /robots/s210-silent', 'GET /robots/s210-expired',
 'GET /robots/s210-ahead']
--- response_body_like eval
[(qr/"online":false.*"issue":"OFFLINE"/) x 3]
--- error_code eval
[200, 200, 200]



=== TEST 6: the window, the battery and teleoperation are configuration
--- http_config eval
Coco::http_config(coco_online_window => '2h', coco_low_battery => 90,
    coco_require_teleoperation => 'on')
--- request eval
['GET /robots/s210-silent', 'GET /robots/s210-low', 'GET /robots/s210-copies']
--- response_body_like eval
[qr/"online":true.*"issue":"LOW_BATTERY"/, qr/"issue":"LOW_BATTERY"/,
 qr/"issue":"LOW_BATTERY"/]
--- error_code eval
[200, 200, 200]



=== TEST 7: a robot that Operations has not heard of yet
--- request
GET /robots/s210-new
--- response_body_like eval
qr/"operationState":"ON_TRIP","business":\{"needsMovement":null.*"changedAt":null\}.*"telemetry":\{"serial":"s210-new".*"ready":true/



=== TEST 8: copies that are not of their form are passed over
--- request
GET /robots/s210-broken
--- response_body_like: "telemetry":\{"source":"state".*"partial":false
--- error_log
a copy of robot "s210-broken" in redis is not of its form



=== TEST 9: a key of another type is no copy
--- request
GET /robots/s210-list
--- response_body_like: "telemetry":\{"source":"state".*"partial":false



=== TEST 10: an unknown robot, serials and paths that are none
--- request eval
['GET /robots/s210-nobody', 'GET /robots/a%20b', 'GET /robots/s210-a/b',
 'HEAD /robots/s210-nobody', 'HEAD /robots/s210-copies']
--- error_code eval
[404, 400, 404, 404, 200]



=== TEST 11: without Redis: the record, and partial
--- http_config eval: Coco::down('redis')
--- request eval
['GET /robots/s210-redisdown', 'GET /robots/s210-nobody']
--- response_body_like eval
[qr/"needsPickup":null.*"telemetry":\{"source":"state".*"partial":true\}$/,
 qr/"status":404/]
--- error_code eval
[200, 404]



=== TEST 12: without Postgres: what Redis has, and partial
--- http_config eval: Coco::down('postgres')
--- request eval
['GET /robots/s210-pgdown', 'GET /robots/s210-nobody']
--- response_body_like eval
[qr/"operationState":"DEPLOYED","business":null,"telemetry":\{"serial":"s210-pgdown".*"online":true,"remotelyControllable":true,"driveu":\{"streamer":"online"\}\}.*"readiness":null,"sources":\{"telemetry".*"connectivity":\{"source":"redis".*"partial":true\}$/,
 qr/"status":503.*Postgres cannot be reached/]
--- error_code eval
[200, 503]



=== TEST 13: without both
--- http_config eval: Coco::down('postgres', 'redis')
--- request
GET /robots/s210-both
--- error_code: 503
--- response_headers
Retry-After: 1
Content-Type: application/problem+json



=== TEST 14: without Redis in the configuration
--- http_config eval: Coco::http_config(coco_redis => undef)
--- config
location /robots { coco_ops; }
--- request
GET /robots/s210-redisdown
--- response_body_like: "partial":true



=== TEST 15: pipelined on one connection
--- pipelined_requests eval
['GET /robots/s210-copies', 'GET /robots/s210-nobody', 'GET /robots/s210-well',
 'GET /robots/s210-copies']
--- error_code eval
[200, 404, 200, 200]
--- response_body_like eval
[qr/s210-copies/, qr/404/, qr/s210-well/, qr/s210-copies/]



=== TEST 16: copies that lack members, or have others
--- request eval
['GET /robots/s210-empty', 'GET /robots/s210-types']
--- error_code eval
[200, 200]
--- response_body_like eval
[(qr/"telemetry":\{"source":"state".*"connectivity":\{"source":"postgres"/) x 2]
--- error_log
is not of its form
