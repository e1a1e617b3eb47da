# PATCH /robots/{serial}: what is changed, what is refused, what is emitted,
# and repeats under an Idempotency-Key.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our $Now = now_ms();
our $Json = bearer() . "\nContent-Type: application/json";

sql("delete from coco.fleet_robot where serial like 's230-%';"
    . "delete from coco.resource where id like 's230-%';"
    . "delete from coco.outbox where serial like 's230-%';"
    . "delete from coco.robot_state_history where robot_serial like 's230-%'");
robot("s230-$_", ts => $Now, copies => 1) for qw(a b c same idem race);

# changed an hour from now, by another clock
our $Ahead = $Now + 3600_000;
robot('s230-ahead', ts => $Ahead, received => $Now);

sub patches {
    my (@bodies) = @_;
    return map { "PATCH /robots/s230-b\n$_" } @bodies;
}

our $Place = '"type":"POD","id":"p1","latitude":1.5,"longitude":-2';

our @Bad = (
    '' => 'body', '{' => 'body', '[]' => 'body', '"hasFood"' => 'body',
    '{}' => 'body', '{"hasFood":true} {}' => 'body',
    '{"hasFood":1}' => 'hasFood', '{"hasFood":"true"}' => 'hasFood',
    '{"hasFood":true,"colour":1}' => 'colour', '{"serial":"x"}' => 'serial',
    '{"operationState":null}' => 'operationState',
    '{"operationState":"FLYING"}' => 'operationState',
    '{"operationState":"parked"}' => 'operationState',
    '{"hasFood":true,"hasFood":false}' => 'hasFood',
    '{"deployed":"POD"}' => 'deployed', '{"deployed":[]}' => 'deployed',
    '{"deployed":{}}' => 'deployed.type',
    '{"deployed":{"type":"MOON","id":"a","latitude":1,"longitude":1}}'
        => 'deployed.type',
    '{"deployed":{"type":"MRO","latitude":1,"longitude":1}}' => 'deployed.id',
    '{"deployed":{"type":"MRO","id":"","latitude":1,"longitude":1}}'
        => 'deployed.id',
    '{"deployed":{"type":"MRO","id":"a","latitude":90.1,"longitude":1}}'
        => 'deployed.latitude',
    '{"deployed":{"type":"MRO","id":"a","latitude":9,"longitude":-181}}'
        => 'deployed.longitude',
    '{"deployed":{"type":"MRO","id":"a","latitude":9,"longitude":1e400}}'
        => 'deployed.longitude',
    "{\"deployed\":{$Place,\"x\":1}}" => 'deployed.x',
    '{"needsPickup":' . '[' x 40 . ']' x 40 . '}' => 'needsPickup',
);

plan 'no_plan';
run_tests();

my $flags = 'needs_movement, undergoing_maintenance, needs_maintenance,'
    . ' needs_pickup, has_food, driveable, deployed';

is(sql("select operation_state, $flags from coco.robot_operation"
    . " where serial = 's230-a'"), 'GROUNDED|||t||f|t|', 'robot_operation');
is(sql("select operational_state, $flags from coco.fleet_robot"
    . " where serial = 's230-a'"), 'GROUNDED|||t||f|t|', 'fleet_robot');
is(sql("select string_agg(operation_state || ' ' || coalesce(needs_pickup"
    . "::text, '-'), ', ' order by changed_at) from coco.robot_state_history"
    . " where robot_serial = 's230-a'"), 'PARKED true, GROUNDED -',
    'robot_state_history');
is(sql("select string_agg(name, ' ' order by seq) from coco.outbox"
    . " where serial = 's230-a'"), 'Robots.BusinessStateChange'
    . ' DispatchEngine.SupplyEvent Robots.StateChange'
    . ' Robots.BusinessStateChange DispatchEngine.SupplyEvent', 'the events');
is(sql("select payload -> 'data' from coco.outbox where serial = 's230-a'"
    . " and name = 'Robots.StateChange'"),
    '{"to": "GROUNDED", "from": "PARKED"}', 'Robots.StateChange');
is(sql("select payload - 'ts' - 'id' = jsonb_build_object('name', name,"
    . " 'serial', 's230-a', 'data', jsonb_build_object('operationState',"
    . " 'GROUNDED', 'needsMovement', null, 'undergoingMaintenance', null,"
    . " 'needsMaintenance', true, 'needsPickup', null, 'hasFood', false,"
    . " 'driveable', true, 'deployed', null)), payload ->> 'id' = id::text,"
    . " payload -> 'ts' = to_jsonb(coco.to_ms(changed_at))"
    . " from coco.outbox o join coco.robot_operation r using (serial)"
    . " where serial = 's230-a' and name = 'Robots.BusinessStateChange'"
    . " order by seq desc limit 1"), 't|t|t', 'Robots.BusinessStateChange');
is(sql("select payload -> 'data' from coco.outbox where serial = 's230-a'"
    . " and name = 'DispatchEngine.SupplyEvent' order by seq desc limit 1"),
    '{"deployed": null, "driveable": true, "needsPickup": null,'
    . ' "operationState": "GROUNDED", "needsMaintenance": true}',
    'DispatchEngine.SupplyEvent: what changed');
is(sql("select count(*) from coco.outbox where serial = 's230-same'"
    . " and name like 'Robots.%'"), 1,
    'what changes nothing emits nothing');
is(sql("select count(*) from coco.outbox where serial = 's230-idem'"
    . " and name like 'Robots.%'"), 2,
    'a repeat under a key does nothing');
is(sql("select count(*) from coco.robot_state_history"
    . " where robot_serial = 's230-b'"), 1, 'nothing bad was done');

__DATA__

=== TEST 1: flags and a place; the reply is the business state
--- more_headers eval: $::Json
--- request eval
"PATCH /robots/s230-a\n"
. qq({"needsPickup":true,"hasFood":false,"deployed":{$::Place}})
--- response_headers
Content-Type: application/json
--- response_body_like eval
qr/^\{"serial":"s230-a","operationState":"PARKED","business":\{"needsMovement":null,"undergoingMaintenance":null,"needsMaintenance":null,"needsPickup":true,"hasFood":false,"driveable":null,"deployed":\{"id": "p1", "type": "POD", "latitude": 1.5, "longitude": -2\},"changedAt":\d{13}\}\}$/



=== TEST 2: the next read shows it, from Redis and Postgres
--- request
GET /robots/s230-a
--- response_body_like eval
qr/"operationState":"PARKED".*"needsPickup":true,"hasFood":false.*"deployed":\{"id": "p1".*"source":"redis"/



=== TEST 3: a state; null clears
--- more_headers eval: $::Json
--- request
PATCH /robots/s230-a
{ "operationState" : "GROUNDED", "needsPickup" : null, "deployed" : null, "needsMaintenance": true, "driv\u0065able": true }
--- response_body_like eval
qr/^(?=.*"operationState":"GROUNDED")(?=.*"needsPickup":null)(?=.*"deployed":null)(?=.*"driveable":true)/



=== TEST 4: the state that was set stands, in the telemetry too
--- request eval
['GET /robots/s230-a', 'GET /state/s230-a']
--- response_body_like eval
[qr/"operationState":"GROUNDED".*"operationState":"GROUNDED"/,
 qr/"state":"PARKED"/]
--- error_code eval
[200, 200]



=== TEST 5: what changes nothing is answered alike
--- more_headers eval
[($::Json) x 2]
--- request eval
[("PATCH /robots/s230-same\n{\"hasFood\":true}") x 2]
--- error_code eval
[200, 200]
--- response_body_like eval
[(qr/"hasFood":true/) x 2]



=== TEST 6: what is refused names its field
--- more_headers eval
[($::Json) x (@::Bad / 2)]
--- request eval
[main::patches(map { $::Bad[2 * $_] } 0 .. $#::Bad / 2)]
--- error_code eval
[(400) x (@::Bad / 2)]
--- response_body_like eval
[map { qr/"errors":\[\{"field":"\Q$::Bad[2 * $_ + 1]\E(\[[^"]*)?","detail":"[^"]/ }
 0 .. $#::Bad / 2]



=== TEST 7: media types
--- more_headers eval
[map { Coco::bearer() . $_ } '', "\nContent-Type: text/plain",
 "\nContent-Type: application/jsonx", "\nContent-Type: json",
 "\nContent-Type: application/xml+json2",
 "\nContent-Type: Application/JSON ; charset=utf-8",
 "\nContent-Type: application/merge-patch+json"]
--- request eval
[main::patches(('{"hasFood":true}') x 7)]
--- error_code eval
[415, 415, 415, 415, 415, 200, 200]



=== TEST 8: bodies up to 256 KiB, in memory or in a file
--- http_config eval
Coco::http_config(client_body_buffer_size => '1k')
--- more_headers eval
[($::Json) x 3]
--- request eval
[main::patches('{"hasFood":true' . ' ' x (262144 - 16) . '}',
 '{"hasFood":true' . ' ' x (262144 - 15) . '}', '{"hasFood":true}')]
--- error_code eval
[200, 413, 200]



=== TEST 9: a chunked body, in pieces
--- raw_request eval
["PATCH /robots/s230-c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n$::Json\r\n"
 =~ s/(?<!\r)\n/\r\n/gr . "Transfer-Encoding: chunked\r\n\r\n4\r\n{\"ha\r\n",
 "e\r\nsFood\" : true}\r\n0\r\n\r\n"]
--- raw_request_middle_delay: 0.05
--- response_body_like: "hasFood":true



=== TEST 10: a chunked body that is too large
--- raw_request eval
"PATCH /robots/s230-c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n$::Json\r\n"
=~ s/(?<!\r)\n/\r\n/gr . "Transfer-Encoding: chunked\r\n\r\n40001\r\n"
. ' ' x 0x40001 . "\r\n0\r\n\r\n"
--- error_code: 413
--- response_body_like: "title":"Content Too Large"



=== TEST 11: an unknown robot, tokens that may only read or are none
--- more_headers eval
[$::Json, map { $_ . "\nContent-Type: application/json" }
 Coco::bearer(scope => 'robots:read'), 'X-None: 1']
--- request eval
["PATCH /robots/s230-nobody\n{\"hasFood\":true}",
 main::patches('{"hasFood":false}', '{"hasFood":false}')]
--- error_code eval
[404, 403, 401]



=== TEST 12: methods that are none
--- request eval
["PUT /robots/s230-a\n{}", 'DELETE /robots/s230-a', "PATCH /robots\n{}"]
--- error_code eval
[405, 405, 405]
--- response_headers eval
['Allow: GET, HEAD, PATCH', 'Allow: GET, HEAD, PATCH', 'Allow: GET, HEAD']



=== TEST 13: a repeat under a key is answered as the first was
--- more_headers eval
my $key = "$::Json\nIdempotency-Key: s230-$::Now";
[$key, $::Json, $key, $key, Coco::bearer()]
--- request eval
[(map { "PATCH /robots/s230-idem\n{\"hasFood\":$_}" }
  'true', 'false', 'true', 'null'), 'GET /robots/s230-idem']
--- error_code eval
[200, 200, 200, 422, 200]
--- response_body_like eval
[qr/"hasFood":true/, qr/"hasFood":false/, qr/"hasFood":true/,
 qr/"status":422/, qr/"hasFood":false/]



=== TEST 14: a key is of its caller and route, and not kept by a refusal
--- more_headers eval
my $key = "\nContent-Type: application/json\nIdempotency-Key: k230-$::Now";
[Coco::bearer() . $key, Coco::bearer(sub => 'other') . $key,
 Coco::bearer(sub => undef) . $key, (Coco::bearer(sub => 'new') . $key) x 2]
--- request eval
["PATCH /robots/s230-c\n{\"hasFood\":true}",
 "PATCH /robots/s230-c\n{\"hasFood\":false}",
 "PATCH /robots/s230-c\n{\"hasFood\":null}",
 "PATCH /robots/s230-nobody\n{\"hasFood\":true}",
 "PATCH /robots/s230-nobody\n{\"hasFood\":null}"]
--- error_code eval
[200, 200, 200, 404, 404]
--- response_body_like eval
[qr/"hasFood":true/, qr/"hasFood":false/, qr/"hasFood":null/, qr/404/,
 qr/404/]



=== TEST 15: keys that are none
--- more_headers eval
[map { "$::Json\nIdempotency-Key: $_" } 'a b', 'x' x 256, "a\tb"]
--- request eval
[main::patches(('{"hasFood":false}') x 3)]
--- error_code eval
[400, 400, 400]
--- response_body_like eval
[(qr/"field":"Idempotency-Key"/) x 3]



=== TEST 16: without Redis a write is a write; without Postgres it is none
--- http_config eval: Coco::down('redis')
--- more_headers eval: $::Json
--- request
PATCH /robots/s230-race
{"hasFood":true}
--- response_body_like: "hasFood":true



=== TEST 17: without Postgres
--- http_config eval: Coco::down('postgres')
--- more_headers eval: $::Json
--- request
PATCH /robots/s230-race
{"hasFood":false}
--- error_code: 503
--- response_headers
Retry-After: 1



=== TEST 18: of several bad members each is named
--- more_headers eval: $::Json
--- request
PATCH /robots/s230-b
{"hasFood":1,"colour":2,"driveable":true,"operationState":"FLYING","deployed":{"type":"MOON","x":1,"id":"a","latitude":91}}
--- error_code: 400
--- response_body_like eval
qr/"errors":\[\{"field":"hasFood",[^}]*\},\{"field":"colour",[^}]*\},\{"field":"operationState",[^}]*\},\{"field":"deployed.type",[^}]*\},\{"field":"deployed.x",[^}]*\},\{"field":"deployed.latitude",[^}]*\},\{"field":"deployed.longitude",[^}]*\}\]/



=== TEST 19: a change is later than the one before it, whatever the clock
--- more_headers eval
[($::Json) x 2]
--- request eval
[map { "PATCH /robots/s230-ahead\n{\"hasFood\":$_}" } 'true', 'false']
--- error_code eval
[200, 200]
--- response_body_like eval
[map { my $at = $::Ahead + $_; qr/"changedAt":$at\}/ } 1, 2]



=== TEST 20: a refused body is not asked for, and is no request
--- more_headers
Content-Type: application/json
Expect: 100-continue
--- pipelined_requests eval
[("PATCH /robots/s230-b\nGET / HTTP/1.0\r\n\r\n") x 3]
--- error_code eval
[401, 401, 401]
--- response_body_like eval
[(qr/"status":401/) x 3]



=== TEST 21: a caller of any length
--- http_config eval
Coco::http_config(large_client_header_buffers => '4 16k')
--- more_headers eval
my $key = "\nContent-Type: application/json\nIdempotency-Key: k230-$::Now";
srand 21;
my $long = CORE::join '', map { chr 97 + rand 26 } 1 .. 5000;
[(Coco::bearer(sub => $long) . $key) x 2, Coco::bearer(sub => "${long}x") . $key]
--- request eval
[map { "PATCH /robots/s230-c\n{\"hasFood\":$_}" } 'true', 'true', 'false']
--- error_code eval
[200, 200, 200]
--- response_body_like eval
[qr/"hasFood":true/, qr/"hasFood":true/, qr/"hasFood":false/]
