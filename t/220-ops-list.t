# GET /robots: filters, pages, and the database's readiness against the
# core's, over every combination of what it depends on.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our $Now = now_ms();

# in a place of their own, on both sides of the antimeridian
my @longitudes = (179.5, 179.9, -179.9, -179.5);
robot("s220-$_", ts => $Now, state => $_ % 2 ? 'PARKED' : 'GROUNDED',
    details => heartbeat(latitude => -71.5, longitude => $longitudes[$_]))
    for 0 .. 3;

# every combination, in another place: 3^4 flags x 5 states x 2 (heard)
# x 3 (healthy: said, not said, component) x 3 (battery)
sql(<<'END');
delete from coco.robot_operation where serial like 's220.%';
delete from coco.robot_state where serial like 's220.%';
create temporary table combination as
select 's220.' || lpad((row_number() over ())::text, 5, '0') as serial,
       um, nm, np, dr, op, heard, healthy, battery
  from unnest(array[null, false, true]) um,
       unnest(array[null, false, true]) nm,
       unnest(array[null, false, true]) np,
       unnest(array[null, false, true]) dr,
       unnest(array['GROUNDED', 'ON_TRIP', 'PARKED', 'OFF_DUTY', 'DEPLOYED'])
           op,
       unnest(array[now(), now() - interval '1 hour']) heard,
       unnest(array['{"healthy": false}', '{"components": {"a": "ERROR"}}',
                    '{"components": {"a": "OK"}}']::jsonb[]) healthy,
       unnest(array['{"percent": 14.99}', '{"percent": 15}',
                    '{"percent": 100}']::jsonb[]) battery;
insert into coco.robot_operation (serial, operation_state,
       undergoing_maintenance, needs_maintenance, needs_pickup, driveable,
       changed_at)
select serial, op, um, nm, np, dr, now() from combination;
insert into coco.robot_state
select serial, gen_random_uuid(), op, heard, heard, heard,
       healthy || jsonb_build_object('battery', battery, 'location',
           '{"latitude": -72.5, "longitude": 0}'::jsonb) from combination;
analyze coco.robot_operation;
analyze coco.robot_state;
END

our $Combinations = 81 * 5 * 2 * 3 * 3;

# 2^4 flags do not block, nor do 3 states, being heard, one of the healths
# and 2 levels
our $Ready = 16 * 3 * 2;
our $Box = 'bbox=-1,-72.6,1,-72.4';

# So that those that were heard lately still are, however long it took to get
# here.
sub heard {
    sql("update coco.robot_state set ts = now(), received_at = now(),"
        . " order_ts = now() where serial like 's220.%'"
        . " and ts > now() - interval '30 minutes'");
    return;
}

# Whole pages of the combinations: their cursors are known.
sub pages {
    my ($filter) = @_;
    return map { "GET /robots?$Box&limit=500$filter&cursor="
        . cursor(0, sprintf 's220.%05d', 500 * $_) }
        0 .. int(($Combinations - 1) / 500);
}

our @Pages = pages('');

sub listed {
    my @serials = @_;
    my $items = join '.*', map { qq("serial":"$_","operationState") } @serials;
    my $others = join '|', map { "(?!$_\")" } @serials;
    my $count = @serials;
    return qr/^\{"items":\[(?=(?:(?:(?!"operationState":"[A-Z_]+","business")
        .)*"operationState":"[A-Z_]+","business"){$count}
        (?!.*"operationState":"[A-Z_]+","business")).*$items/xs if $count;
    return qr/^\{"items":\[\],"nextCursor":null\}$/;
}

plan 'no_plan';
run_tests();

sql("delete from coco.robot_operation where serial like 's220.%';"
    . "delete from coco.robot_state where serial like 's220.%'");

__DATA__

=== TEST 1: items are what the single read shows
--- request
GET /robots?bbox=179.4,-71.6,179.6,-71.4
--- response_body_like eval
qr/^\{"items":\[\{"serial":"s220-0","operationState":"GROUNDED","business":\{.*\},"telemetry":\{"serial":"s220-0".*"connectivity":\{"online":true.*"lid":null,"delivery":null,"readiness":\{"ready":false,"issue":"GROUNDED"\},"sources":\{"business":\{"source":"postgres","asOf":$::Now\},"telemetry":\{"source":"state","asOf":$::Now\}.*"partial":false\}\],"nextCursor":null\}$/



=== TEST 2: boxes, over the antimeridian too
--- request eval
['GET /robots?bbox=179,-72,180,-71', 'GET /robots?bbox=179.8,-72,-179.8,-71',
 'GET /robots?bbox=-180,-71.5,-179,-71.5', 'GET /robots?bbox=10,-72,11,-71']
--- response_body_like eval
[main::listed('s220-0', 's220-1'), main::listed('s220-1', 's220-2'),
 main::listed('s220-2', 's220-3'), main::listed()]
--- error_code eval
[200, 200, 200, 200]



=== TEST 3: states and readiness
--- request eval
my $box = 'bbox=170,-72,-170,-71';
["GET /robots?$box&operationState=PARKED", "GET /robots?$box&ready=true",
 "GET /robots?$box&ready=false",
 "GET /robots?$box&ready=true&operationState=GROUNDED"]
--- response_body_like eval
[main::listed('s220-1', 's220-3'), main::listed('s220-1', 's220-3'),
 main::listed('s220-0', 's220-2'), main::listed()]
--- error_code eval
[200, 200, 200, 200]



=== TEST 4: page by page to the end
--- request eval
my $box = 'bbox=170,-72,-170,-71&limit=3';
["GET /robots?$box", "GET /robots?$box&cursor=" . Coco::cursor(0, 's220-2')]
--- response_body_like eval
[qr/"s220-2".*"nextCursor":"@{[Coco::cursor(0, 's220-2')]}"\}$/,
 qr/^\{"items":\[\{"serial":"s220-3".*"nextCursor":null\}$/]
--- error_code eval
[200, 200]



=== TEST 5: arguments that are none
--- request eval
[map { "GET /robots?$_" } 'operationState=FLYING', 'operationState=',
 'operationState=parked', 'ready=maybe', 'ready=', 'ready=TRUE', 'bbox=1,2,3',
 'bbox=1,2,3,4,5', 'bbox=a,b,c,d', 'bbox=nan,0,1,1', 'bbox=0x1,0,1,1',
 'bbox=0,0,1e400,1', 'bbox=-181,0,1,1', 'bbox=0,-91,1,1', 'bbox=0,5,1,4',
 'bbox=%200,0,1,1', 'limit=501', 'cursor=AAAA',
 'cursor=' . Coco::cursor(0, 'a b'), 'cursor=' . Coco::cursor(0, '')]
--- error_code eval
[(400) x 20]
--- response_body_like eval
[(qr/"field":"operationState"/) x 3, (qr/"field":"ready"/) x 3,
 (qr/"field":"bbox"/) x 10, qr/"field":"limit"/, (qr/"field":"cursor"/) x 3]



=== TEST 6: all combinations are there
--- request eval
[@::Pages]
--- response_body_like eval
[(qr/"nextCursor":"/) x (@::Pages - 1), qr/"nextCursor":null/]
--- error_code eval
[(200) x @::Pages]
--- timeout: 20



=== TEST 7: what the database takes for ready is so for the core
--- init
main::heard();
--- request eval
"GET /robots?$::Box&limit=500&ready=true"
--- response_body_like eval
qr/^(?!.*"ready":false)(?:.*?"ready":true){$::Ready}(?!.*"ready":true)/s
--- timeout: 20



=== TEST 8: and what it does not is not
--- init
main::heard();
--- request eval
[main::pages('&ready=false')]
--- response_body_unlike eval
[('"ready":true') x @::Pages]
--- error_code eval
[(200) x @::Pages]
--- timeout: 20



=== TEST 9: so too where teleoperation is required: nobody is ready
--- http_config eval
Coco::http_config(coco_require_teleoperation => 'on')
--- request eval
["GET /robots?$::Box&ready=true",
 "GET /robots?bbox=170,-72,-170,-71&operationState=PARKED&ready=false"]
--- response_body_like eval
[main::listed(), qr/NOT_REMOTELY_CONTROLLABLE/]
--- error_code eval
[200, 200]
--- timeout: 20



=== TEST 10: without Redis nothing is missing, without Postgres everything
--- http_config eval: Coco::down('redis')
--- request
GET /robots?bbox=179.4,-71.6,179.6,-71.4
--- response_body_like: "serial":"s220-0"



=== TEST 11: without Postgres
--- http_config eval: Coco::down('postgres')
--- request
GET /robots
--- error_code: 503
