# The beacon scope over HTTP: which of our robots a provider means.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our $Beacon = '/fleet/v1/beacon';
our $Bearer = Coco::bearer(scope => 'fleet:read fleet:write');
our $Json = "$Bearer\nContent-Type: application/json";

our ($All, $New) = map "36000000-0000-4000-8000-00000000000$_", 1, 2;

sql(qq{delete from coco.fleet_robot where serial like 's360-%';
delete from coco.external_robot_mapping
 where serial like 's360-%' or provider like 's360%';
delete from coco.idempotency_key where key like 's360-%';
insert into coco.fleet_robot (id, serial, telemetry_ts, healthy, latitude,
       longitude, heading, speed, battery_percent, charging,
       operational_state, needs_movement, undergoing_maintenance,
       needs_maintenance, needs_pickup, has_food, driveable, deployed,
       business_changed_at)
values ('$All', 's360-all', coco.from_ms(1700000000001), false, 37.77,
        -122.41, 90, 0.1, 64.5, true, 'DEPLOYED', true, false, true, false,
        true, false, '{"type": "POD", "id": "p\\u00e91", "latitude": 1.5,
        "longitude": -2}', coco.from_ms(1700000000002));
insert into coco.fleet_robot (id, serial, deployed)
values ('$New', 's360-new', 'null');
insert into coco.external_robot_mapping
values ('s360', 'b', 's360-all'), ('s360', 'a/"1', 's360-all'),
       ('s360', 'c', 's360-new'), ('s360z', 'a', 's360-all'),
       ('s360', 'd', 's360-unheard')});

sub mapping {
    my ($provider, $vehicle, $serial) = @_;
    return qq({"provider":"$provider","providerVehicleId":"$vehicle",)
        . qq("serial":"$serial"});
}

our @Mappings = (mapping('s360', 'a/\"1', 's360-all'),
    mapping('s360', 'b', 's360-all'), mapping('s360', 'c', 's360-new'),
    mapping('s360', 'd', 's360-unheard'));

sub page {
    my ($next, @items) = @_;
    return '{"items":[' . join(',', @items) . '],"nextCursor":'
        . (defined $next ? qq("$next") : 'null') . '}';
}

sub put {
    my ($vehicle, $body) = @_;
    return "PUT $Beacon/external-mappings/$vehicle\n"
        . ($body // '{"serial":"s360-new"}');
}

plan 'no_plan';
run_tests();

is(sql("select string_agg(provider_vehicle_id, ' ' order by created_at)"
    . " from coco.external_robot_mapping where provider = 's360put'"),
    'v 1 é1', 'two vehicles were mapped');

__DATA__

=== TEST 1: a vehicle, with its names by order
--- request eval: "GET $::Beacon/robots/s360-all"
--- response_headers
Content-Type: application/json
--- response_body eval
qq({"serial":"s360-all","id":"$::All","providerVehicles":[)
. qq({"provider":"s360","providerVehicleId":"a/\\"1"},)
. qq({"provider":"s360","providerVehicleId":"b"},)
. qq({"provider":"s360z","providerVehicleId":"a"}]})



=== TEST 2: one without names is not; others are not known
--- request eval
["GET $::Beacon/robots/s360-none", "GET $::Beacon/robots/s360-unheard",
 "GET $::Beacon/robots/a%20b", "GET $::Beacon/robots/"]
--- error_code eval
[404, 404, 400, 404]
--- response_headers eval
[('Content-Type: application/problem+json') x 4]



=== TEST 3: a virtual robot
--- request eval: "GET $::Beacon/virtual-robots/$::All"
--- response_body eval
qq({"id":"$::All","serial":"s360-all","healthy":false,)
. qq("operationalState":"DEPLOYED","latitude":37.77,"longitude":-122.41,)
. qq("heading":90,"speed":0.1,"batteryPercent":64.5,"charging":true,)
. qq("needsMovement":true,"undergoingMaintenance":false,)
. qq("needsMaintenance":true,"needsPickup":false,"hasFood":true,)
. qq("driveable":false,"deployed":{"type":"POD","id":"p\xc3\xa91",)
. qq("latitude":1.5,"longitude":-2},"telemetryTs":1700000000001,)
. qq("businessChangedAt":1700000000002})



=== TEST 4: of which nothing is known
--- request eval: "GET $::Beacon/virtual-robots/$::New"
--- response_body eval
qq({"id":"$::New","serial":"s360-new","healthy":null,)
. qq("operationalState":null,"latitude":null,"longitude":null,)
. qq("heading":null,"speed":null,"batteryPercent":null,"charging":null,)
. qq("needsMovement":null,"undergoingMaintenance":null,)
. qq("needsMaintenance":null,"needsPickup":null,"hasFood":null,)
. qq("driveable":null,"deployed":null,"telemetryTs":null,)
. qq("businessChangedAt":null})



=== TEST 5: ids that are none
--- request eval
[map { "GET $::Beacon/virtual-robots/$_" } 's360-all', '%20',
 substr($::All, 1), '36000000-0000-4000-8000-00000000000f']
--- error_code eval
[404, 404, 404, 404]



=== TEST 6: mappings
--- request eval
[map { "GET $::Beacon/external-mappings?$_" } 'provider=s360',
 'provider=s360&serial=s360-all', 'serial=s360-new', 'provider=s360none',
 'provider=s360z&serial=s360-new', 'provider=s36%30z']
--- response_body eval
[main::page(undef, @::Mappings), main::page(undef, @::Mappings[0, 1]),
 main::page(undef, $::Mappings[2]), main::page(undef), main::page(undef),
 main::page(undef, main::mapping('s360z', 'a', 's360-all'))]



=== TEST 7: page by page
--- request eval
my $page = "GET $::Beacon/external-mappings?limit=2&provider=s360";
[$page, "$page&cursor=" . Coco::cursor(4, 's360b'),
 "$page&cursor=" . Coco::cursor(4, 's360d'),
 "$page&cursor=" . Coco::cursor(3, 's36b')]
--- response_body eval
[main::page(Coco::cursor(4, 's360b'), @::Mappings[0, 1]),
 main::page(undef, @::Mappings[2, 3]), main::page(undef),
 main::page(Coco::cursor(4, 's360b'), @::Mappings[0, 1])]



=== TEST 8: arguments
--- request eval
[map { "GET $::Beacon/external-mappings?$_" } 'provider=', 'provider=%0a',
 'provider=%ff', 'provider=a%00', 'provider=' . 'x' x 129, 'serial=a+b',
 'limit=0', 'limit=501', 'cursor=', 'cursor=x', map { 'cursor=' . $_ }
 Coco::cursor(4, 's360'), Coco::cursor(0, 's360b'), Coco::cursor(9, 's360b'),
 Coco::cursor(4, "s360\xff"), Coco::cursor(4, "s360\0")]
--- error_code eval
[(400) x 15]
--- response_body_like eval
[('"field":"provider"') x 5, '"field":"serial"', ('"field":"limit"') x 2,
 ('"field":"cursor"') x 7]



=== TEST 9: scopes and methods
--- more_headers eval
['X-None: 1', Coco::bearer(scope => 'fleet:write'),
 Coco::bearer(scope => 'fleet:read') . "\nContent-Type: application/json",
 Coco::bearer()]
--- request eval
["GET $::Beacon/robots/s360-all", "GET $::Beacon/robots/s360-all",
 main::put('s360put/v'), "POST $::Beacon/external-mappings\n{}"]
--- error_code eval
[401, 403, 403, 405]



=== TEST 10: a mapping is made, and made again
--- more_headers eval: $::Json
--- request eval
[(main::put('s360put/v%201')) x 2, main::put('s360put/%C3%A91')]
--- error_code eval
[200, 200, 200]
--- response_body eval
[(main::mapping('s360put', 'v 1', 's360-new')) x 2,
 main::mapping('s360put', "\xc3\xa91", 's360-new')]



=== TEST 11: another's is not taken
--- more_headers eval: $::Json
--- request eval
[main::put('s360/b'), main::put('s360/b', '{"serial":"s360-all"}')]
--- error_code eval
[409, 200]
--- response_body_like eval
['mapped to robot s360-all', '"serial":"s360-all"']



=== TEST 12: once under a key
--- more_headers eval: "$::Json\nIdempotency-Key: s360-1"
--- request eval
[main::put('s360key/v'), main::put('s360key/v'),
 main::put('s360key/v', '{"serial":"s360-all"}')]
--- error_code eval
[200, 200, 422]



=== TEST 13: names and bodies that are none
--- more_headers eval: $::Json
--- request eval
[main::put('s360/' . 'x' x 129), main::put('s360/%7f'), main::put('%01/v'),
 main::put('s360/%c3'), main::put('s360/v', '{}'),
 main::put('s360/v', '{"serial":7}'), main::put('s360/v', '{"serial":"a b"}'),
 main::put('s360/v', '{"serial":"s360-all","x":1}'), main::put('s360/v', '[')]
--- error_code eval
[(400) x 9]
--- response_body_like eval
[('"field":"providerVehicleId"') x 2, '"field":"provider"',
 '"field":"providerVehicleId"', ('"field":"serial"') x 3, '"field":"x"',
 '"field":"body"']



=== TEST 14: without Postgres
--- http_config eval: Coco::down('postgres')
--- more_headers eval: $::Json
--- request eval
["GET $::Beacon/robots/s360-all", "GET $::Beacon/virtual-robots/$::All",
 "GET $::Beacon/external-mappings", main::put('s360/v')]
--- error_code eval
[503, 503, 503, 503]
