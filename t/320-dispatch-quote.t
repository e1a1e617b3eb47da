# POST /quote: what is asked and refused, the robot that is there first, why
# the others are not, what a hold does and how it ends; the directives that
# quotes go by.

use Test::Nginx::Socket;
use Coco;
use Math::Trig qw(great_circle_distance deg2rad);

no_shuffle();
no_long_string();

add_block_preprocessor(\&Coco::defaults);

our $Now = now_ms();
our $Json = bearer() . "\nContent-Type: application/json";
our $Uuid = '[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}'
    . '-[0-9a-f]{12}';

# robots at one place, each with one thing against it
our %Against = (
    OFFLINE => { ts => $Now - $Coco::Window - 1000 },
    UNHEALTHY => { healthy => 'false' },
    NOT_DRIVEABLE => { driveable => 'false' },
    MAINTENANCE => { needsMaintenance => 'true' },
    NEEDS_PICKUP => { needsPickup => 'true' },
    HAS_FOOD => { hasFood => 'true' },
    ON_TRIP => { operationState => '"ON_TRIP"' },
    OFF_DUTY => { operationState => '"OFF_DUTY"' },
    GROUNDED => { operationState => '"GROUNDED"' },
    LID_OPEN => { row => { lid_open => 'true', lid_at => 'now()' } },
    HELD => { row => { held_until => "now() + interval '1 hour'" } },
    BUSY => { row => { demands => 1 } },
    LOW_BATTERY => { battery => 14.9 },
);
our @Reasons = qw(OFFLINE UNHEALTHY NOT_DRIVEABLE MAINTENANCE NEEDS_PICKUP
    HAS_FOOD ON_TRIP OFF_DUTY GROUNDED LID_OPEN HELD BUSY LOW_BATTERY);

sub clean {
    sql("delete from coco.resource; delete from coco.quote;"
        . "delete from coco.idempotency_key where key like 's320-%'");
}

clean();
supply("s320-$_", -40, 100, %{ $Against{$_} }) for @Reasons;
supply('s320-all', -40, 100, needsPickup => 'true', hasFood => 'true',
    undergoingMaintenance => 'true', healthy => 'false');
supply('s320-far', -40.5, 100);
supply('s320-near', -40.01, 100);
supply('s320-nearer', -40.005, 100);

# of a tie the serial that sorts first, whoever came first
supply("s320-tie-$_", -30, 100) for qw(b a c);

# two that can only get there, and one that could go on
supply('s320-short', 10, 100, battery => 16);
supply('s320-long', 10.03, 100);

# those that holds share
supply("s320-hold-$_", 20, 100 + $_ / 1000) for 1 .. 4;

# two that are held by quotes whose ids are known
our @Id = map { "00000000-0000-4000-8000-00000000320$_" } 0 .. 2;
for (1, 2) {
    supply("s320-kept-$_", 30, 100 + $_ / 1000, row => { held_by =>
        "'$Id[$_]'", held_until => "now() + interval '1 hour'" });
    sql("insert into coco.quote (id, serial, created_at, expires_at) values"
        . " ('$Id[$_]', 's320-kept-$_', now(), now() + interval '1 hour')");
}

sub place {
    my ($latitude, $longitude) = @_;
    return qq({"latitude":$latitude,"longitude":$longitude});
}

sub trip {
    my ($pickup, $dropoff, @more) = @_;
    return '{' . join(',', '"pickup":' . place(@$pickup),
        '"dropoff":' . place(@$dropoff), @more) . '}';
}

sub quotes {
    return map { "POST /quote\n$_" } @_;
}

# the great circle, metres
sub meters {
    my ($from, $to) = @_;
    return great_circle_distance((map { (deg2rad($$_[1]),
        deg2rad(90 - $$_[0])) } $from, $to), 6371008.8);
}

# what a quote says of a robot at a place with 80 percent, by the defaults
sub answer {
    my ($serial, $from, $pickup, $dropoff) = @_;
    my $way = 1.35 * meters($from, $pickup);
    my $trip = 1.35 * meters($pickup, $dropoff);
    my $eta = $way / 1.5;
    my $end = $eta + 120 + $trip / 1.5;
    my $left = 80 - 2.5 * ($way + $trip) / 1000 - $end / 3600;
    return sprintf '{"feasible":true,"serial":"%s","pickupEtaSeconds":%.0f,'
        . '"dropoffEtaSeconds":%.0f,"distanceMeters":%s,'
        . '"batteryAtEndPercent":%s', $serial, $eta, $end,
        map { sprintf('%.1f', $_) =~ s/\.0$//r } $way + $trip, $left;
}

our ($Here, $There) = ([-40, 100], [-40, 100.01]);
our $Trip = trip($Here, $There);
our $None = '"feasible":false,"serial":null,"pickupEtaSeconds":null,'
    . '"dropoffEtaSeconds":null,"distanceMeters":null,'
    . '"batteryAtEndPercent":null';

# body => the field at fault
our $Soon = $Now + 600_000;
our @Bad = (
    '' => 'body', '{' => 'body', '[]' => 'body', '{}' => 'pickup',
    '{"pickup":' . place(1, 1) . '}' => 'dropoff',
    trip([91, 1], [1, 1]) => 'pickup.latitude',
    trip([1, 1], [1, 180.1]) => 'dropoff.longitude',
    trip(['"1"', 1], [1, 1]) => 'pickup.latitude',
    trip(['null', 1], [1, 1]) => 'pickup.latitude',
    '{"pickup":null,"dropoff":' . place(1, 1) . '}' => 'pickup',
    '{"pickup":{"latitude":1},"dropoff":' . place(1, 1) . '}'
        => 'pickup.longitude',
    (map { (trip([1, 1], [1, 1], qq("at":$_)) => 'at') } '"now"', 'true',
        '1.5', $Now - 120_000, $Now + 8 * 86400_000, '-1'),
    (map { (trip([1, 1], [1, 1], qq("hold":$_)) => 'hold') } '1', '"true"',
        '{}'),
    trip([1, 1], [1, 1], '"serial":"r"') => 'serial',
);

plan 'no_plan';
run_tests();

is(sql("select count(*), count(distinct serial), count(released_at)"
    . " from coco.quote"), '8|6|2', 'each hold is a row, and its release');
clean();

__DATA__

=== TEST 1: the robot that is there first
--- more_headers eval: $::Json
--- request eval
main::quotes($::Trip)
--- response_body_like eval
my $answer = quotemeta main::answer('s320-nearer', [-40.005, 100], $::Here,
    $::There);
qr/^$answer,"expiresAt":\d{13},"rejected":\{"OFFLINE":1,"UNHEALTHY":2,"NOT_DRIVEABLE":1,"MAINTENANCE":2,"NEEDS_PICKUP":2,"HAS_FOOD":2,"ON_TRIP":1,"OFF_DUTY":1,"GROUNDED":1,"LID_OPEN":1,"HELD":3,"BUSY":1,"LOW_BATTERY":1(,"BATTERY_RANGE":\d+)?(,"TOO_FAR":\d+)?\}\}$/



=== TEST 2: a tie goes to the serial that sorts first
--- more_headers eval: $::Json
--- request eval
main::quotes(main::trip([-30, 100], [-30, 100.01]))
--- response_body_like: "serial":"s320-tie-a","pickupEtaSeconds":0,



=== TEST 3: the nearest may not have enough for the trip
--- more_headers eval
[($::Json) x 2]
--- request eval
main::quotes(main::trip([10, 100], [10, 100.04]),
             main::trip([10, 100], [10, 100.001]))
--- response_body_like eval
[qr/"serial":"s320-long".*"rejected":\{.*"BATTERY_RANGE":1/,
 qr/"serial":"s320-short"/]



=== TEST 4: no robot: 200, and how many are ruled out by what
--- more_headers eval
[($::Json) x 2]
--- request eval
main::quotes(main::trip([0, -20], [0, -20.01]))
--- response_body_like eval
qr/^\{$::None,"expiresAt":\d{13},"rejected":\{"OFFLINE":1,.*\}\}$/



=== TEST 5: explained: every robot with its reasons, and all of them counted
--- more_headers eval: $::Json
--- request eval
"POST /quote?explain=1\n$::Trip"
--- response_body_like eval
my @robots = map { "\\{\"serial\":\"s320-$_\",\"reasons\":\\[\"$_\"\\]\\}" }
    @::Reasons;
qr/^\{"feasible":true,"serial":"s320-nearer",.*"rejected":\{"OFFLINE":1,.*"TOO_FAR":\d+\},"robots":\[(?=.*\{"serial":"s320-near","reasons":\[\]\})(?=.*\{"serial":"s320-far","reasons":\[[^\]]*"TOO_FAR"\]\})(?=.*\{"serial":"s320-all","reasons":\["UNHEALTHY","MAINTENANCE","NEEDS_PICKUP","HAS_FOOD"\]\})@{[CORE::join '', map { "(?=.*$_)" } @robots]}/



=== TEST 6: what is refused names its field
--- more_headers eval
[($::Json) x (@::Bad / 2)]
--- request eval
[main::quotes(map { $::Bad[2 * $_] } 0 .. $#::Bad / 2)]
--- error_code eval
[(400) x (@::Bad / 2)]
--- response_body_like eval
[map { qr/"errors":\[\{"field":"\Q$::Bad[2 * $_ + 1]\E"/ } 0 .. $#::Bad / 2]



=== TEST 7: arguments, methods and media types that are none
--- more_headers eval
[($::Json) x 2, (Coco::bearer()) x 2, Coco::bearer() . "\nContent-Type: text/plain"]
--- request eval
["POST /quote?explain=2\n$::Trip", "POST /quote?explain=\n$::Trip",
 'GET /quote', "GET /quote/1", "POST /quote\n$::Trip"]
--- error_code eval
[400, 400, 405, 405, 415]
--- response_body_like eval
[(qr/"field":"explain"/) x 2, (qr/Allow names/) x 2, qr/application.json/]



=== TEST 8: scopes
--- more_headers eval
my $json = "\nContent-Type: application/json";
[(Coco::bearer(scope => 'dispatch:read') . $json) x 3,
 (Coco::bearer(scope => 'dispatch:write') . $json) x 3,
 Coco::bearer(scope => 'dispatch:writer fleet:read') . $json,
 substr($json, 1), Coco::bearer(scope => 'dispatch:read')]
--- request eval
my $held = main::trip([70, 10], [70, 10], '"hold":true');     # by nobody
my $free = main::trip([70, 10], [70, 10], '"hold":false');
[main::quotes($::Trip, $held, $free, $::Trip, $held, $free, $held, $::Trip),
 "DELETE /quote/$::Id[0]"]
--- error_code eval
[200, 403, 200, 403, 200, 403, 403, 401, 403]
--- response_body_like eval
[qr/"feasible"/, qr/lacks the scope dispatch:write\./, qr/"feasible"/,
 qr/lacks the scope dispatch:read\./, qr/"feasible"/, qr/dispatch:read\./,
 qr/none of the scopes dispatch:read dispatch:write\./, qr/401/, qr/403/]



=== TEST 9: for a time to come, the robot waits
--- more_headers eval
[($::Json) x 3]
--- request eval
[main::quotes(main::trip([-30, 100], [-30, 100], "\"at\":$::Soon"),
 main::trip([-30, 100], [-30, 100], '"at":null'),
 main::trip([-30, 100], [-30, 100], '"at":' . ($::Now + 60_000)))]
--- response_body_like eval
[qr/"pickupEtaSeconds":0,"dropoffEtaSeconds":(6\d\d|70\d|71\d|720),/,
 qr/"pickupEtaSeconds":0,"dropoffEtaSeconds":120,/,
 qr/"pickupEtaSeconds":0,"dropoffEtaSeconds":1([2-7]\d|80),/]



=== TEST 10: held robots are nobody else's, until they are released
--- more_headers eval
[($::Json) x 6]
--- request eval
[main::quotes((main::trip([20, 100], [20, 100.001], '"hold":true')) x 5,
 main::trip([20, 100], [20, 100.001]))]
--- response_body_like eval
[(map { qr/"serial":"s320-hold-$_".*,"quoteId":"$::Uuid","expiresAt":\d+,/ }
  1 .. 4), (qr/^\{$::None,"expiresAt":\d+,"rejected":\{.*"HELD":7/) x 2]



=== TEST 11: released, once and again; the next one gets it
--- more_headers eval
[$::Json, (Coco::bearer()) x 2, $::Json]
--- request eval
my ($quote) = main::quotes(main::trip([30, 100], [30, 100.001]));
[$quote, ("DELETE /quote/$::Id[2]") x 2, $quote]
--- error_code eval
[200, 204, 204, 200]
--- response_body_like eval
[qr/"feasible":false/, qr/^$/, qr/^$/, qr/"serial":"s320-kept-2"/]



=== TEST 12: quotes that are none
--- more_headers eval
[(Coco::bearer()) x 2]
--- request eval
["DELETE /quote/$::Id[0]", 'DELETE /quote/1']
--- error_code eval
[404, 404]



=== TEST 13: a repeat under a key is the first answer, whatever holds the robot
--- more_headers eval
my $key = "$::Json\nIdempotency-Key: s320-";
[(Coco::bearer()) x 2, ("${key}a") x 2, ("${key}b") x 3, ("${key}c") x 2]
--- request eval
my @hold = map { main::trip([30, 100], [30, 100 + $_ / 1000], '"hold":true') }
    1, 2;
["DELETE /quote/$::Id[1]", "DELETE /quote/$::Id[2]",
 main::quotes(@hold[0, 0, 0, 0, 1, 0, 0])]
--- error_code eval
[204, 204, (200) x 4, 422, 200, 200]
--- response_body_like eval
[(qr/^$/) x 2, (qr/"serial":"s320-kept-1"/) x 2, (qr/"serial":"s320-kept-2"/) x 2,
 qr/another body/, (qr/"feasible":false/) x 2]



=== TEST 14: without Postgres there is no supply
--- http_config eval: Coco::down('postgres')
--- more_headers eval: $::Json
--- request eval
main::quotes($::Trip)
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: "detail":"Postgres cannot be reached; try again later."
--- no_error_log
[alert]



=== TEST 15: what the directives say is what counts
--- http_config eval
Coco::http_config(coco_dispatch_speed => 3, coco_dispatch_detour => 1,
    coco_dispatch_dwell => '30s', coco_dispatch_energy => 0,
    coco_dispatch_idle => 0, coco_quote_lifetime => '1h',
    coco_dispatch_area => '-41,99 -41,101 -39,101 -39,99')
--- more_headers eval
[($::Json) x 2]
--- request eval
[main::quotes($::Trip, main::trip([-30, 100], [-30, 100]))]
--- response_body_like eval
my $way = main::meters([-40.005, 100], $::Here);
my $trip = main::meters($::Here, $::There);
my ($eta, $end, $sum) = map { sprintf '%.0f', $_ } $way / 3,
    $way / 3 + 30 + $trip / 3, $way + $trip;
my ($from, $to) = map { int(($::Now + $_) / 100_000) } 3_500_000, 3_900_000;
[qr/"pickupEtaSeconds":$eta,"dropoffEtaSeconds":$end,"distanceMeters":@{[sprintf '%.1f', $way + $trip]},"batteryAtEndPercent":80,"expiresAt":(@{[CORE::join '|', $from .. $to]})\d{5},/,
 qr/"feasible":false.*"OUT_OF_AREA":\d/]



=== TEST 16: reach, reserve and the way to a charger
--- http_config eval
Coco::http_config(coco_dispatch_reach => 1000, coco_dispatch_reserve => 20,
    coco_dispatch_charger => '-40,100; coco_dispatch_charger 20,101')
--- more_headers eval
[($::Json) x 3]
--- request eval
[main::quotes($::Trip), "POST /quote?explain=1\n$::Trip",
 "POST /quote?explain=1\n" . main::trip([20, 100], [20, 100.001])]
--- response_body_like eval
[qr/"serial":"s320-nearer"/, qr/"s320-near","reasons":\["TOO_FAR"\]/,
 qr/"feasible":false.*"s320-hold-4","reasons":\[("HELD",)?"BATTERY_RANGE"\]/]
