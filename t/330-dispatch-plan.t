# POST /plan: which robot for which demand, and why none; what is refused; one
# that fills the supply's and the demands' bounds.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our $Now = now_ms();
our $Json = bearer() . "\nContent-Type: application/json";

sql("delete from coco.resource");

# on a line, a hundredth of a degree apart: by the first demand alone the
# nearest robot is the other's only one
supply('s330-a', 0, 50);
supply('s330-b', 0, 50.02);
supply('s330-held', 0, 50.01,
    row => { held_until => "now() + interval '1 hour'" });
supply('s330-busy', 0, 50.01, row => { demands => 1 });
supply('s330-off', 0, 50.01, ts => $Now - $Coco::Window - 1000);

sub demand {
    my ($id, $longitude, @more) = @_;
    return '{' . join(',', "\"id\":$id",
        "\"pickup\":{\"latitude\":0,\"longitude\":$longitude}",
        "\"dropoff\":{\"latitude\":0,\"longitude\":$longitude}", @more) . '}';
}

sub plans {
    return map { "POST /plan\n$_" } @_;
}

sub demands {
    return '{"demands":[' . join(',', @_) . ']}';
}

# seconds of the way between two longitudes at the equator
sub seconds {
    my ($degrees) = @_;
    return $degrees * atan2(1, 1) / 45 * 6371008.8 * 1.35 / 1.5;
}

my $ok = demand('"ok"', 1);
my $long = 'x' x 129;

# body => the field at fault
our @Bad = (
    '' => 'body', '{' => 'body', '[]' => 'body', '{}' => 'demands',
    '{"demands":{}}' => 'demands', '{"demands":null}' => 'demands',
    '{"demands":[],"robots":[]}' => 'robots',
    demands('1') => 'demands[0]', demands($ok, '[]') => 'demands[1]',
    demands($ok, '{}') => 'demands[1].id',
    (map { (demands(demand($_, 1)) => 'demands[0].id') } '1', 'null', '""',
        "\"$long\"", '["a"]'),
    demands(demand('"a"', 181)) => 'demands[0].pickup.longitude',
    demands($ok, demand('"a"', 1, '"readyAt":"now"')) => 'demands[1].readyAt',
    demands(demand('"a"', 1, '"serial":"r"')) => 'demands[0].serial',
    demands($ok, demand('"x"', 1), $ok) => 'demands[2].id',
    demands($ok, demand('"\u006fk"', 1)) => 'demands[1].id',
);

plan 'no_plan';
run_tests();

sql("delete from coco.resource");

__DATA__

=== TEST 1: as many as can be, then the least cost; in the order of the demands
--- more_headers eval: $::Json
--- request eval
main::plans(main::demands(main::demand('"right"', 50.01), main::demand('"left"', 50.005)))
--- response_body_like eval
my ($far, $near) = map { substr main::seconds($_), 0, 10 } 0.01, 0.005;
my $total = substr main::seconds(0.015), 0, 9;
qr/^\{"assignments":\[\{"demandId":"right","serial":"s330-b","costSeconds":\Q$far\E\d*\},\{"demandId":"left","serial":"s330-a","costSeconds":\Q$near\E\d*\}\],"totalCostSeconds":\Q$total\E\d*,"unassigned":\[\]\}$/



=== TEST 2: what stays without a robot, and why
--- more_headers eval
[($::Json) x 3]
--- request eval
[main::plans(main::demands(map { main::demand("\"$_\"", 50) } 'a' .. 'c'),
 main::demands(main::demand('"far"', 51)), main::demands())]
--- response_body_like eval
[qr/^\{"assignments":\[\{"demandId":"a",.*\{"demandId":"b",[^{]*\],"totalCostSeconds":[\d.]+,"unassigned":\[\{"demandId":"c","reason":"NO_ROBOT"\}\]\}$/,
 qr/^\{"assignments":\[\],"totalCostSeconds":0,"unassigned":\[\{"demandId":"far","reason":"(BATTERY_RANGE|TOO_FAR)"\}\]\}$/,
 qr/^\{"assignments":\[\],"totalCostSeconds":0,"unassigned":\[\]\}$/]



=== TEST 3: a plan reserves nothing; ids are told as they were
--- more_headers eval
[($::Json) x 3]
--- request eval
[main::plans(main::demands(main::demand('"\u00e4\"\\\\"', 50, '"readyAt":null')),
 main::demands(main::demand('"\u00e4\"\\\\"', 50, "\"readyAt\":$::Now"))),
 "POST /quote\n{\"pickup\":{\"latitude\":0,\"longitude\":50},\"dropoff\":{\"latitude\":0,\"longitude\":50}}"]
--- response_body_like eval
[(qr/"demandId":"\\u00e4\\"\\\\","serial":"s330-a","costSeconds":0\}/) x 2,
 qr/"serial":"s330-a"/]



=== TEST 4: what is refused names its field
--- more_headers eval
[($::Json) x (@::Bad / 2)]
--- request eval
[main::plans(map { $::Bad[2 * $_] } 0 .. $#::Bad / 2)]
--- error_code eval
[(400) x (@::Bad / 2)]
--- response_body_like eval
[map { qr/"errors":\[\{"field":"\Q$::Bad[2 * $_ + 1]\E"/ } 0 .. $#::Bad / 2]



=== TEST 5: 2,000 demands with all their digits; one more is too many
--- more_headers eval
[($::Json) x 2]
--- request eval
my @many = map { main::demand("\"demand-$_\"", "50.000000000000$_") } 1000 .. 3000;
[main::plans(main::demands(@many[0 .. 1999]), main::demands(@many))]
--- error_code eval
[200, 413]
--- response_body_like eval
[qr/^\{"assignments":\[(\{[^}]*\},?){2}\],"totalCostSeconds":[\d.]+(e-\d+)?,"unassigned":\[(\{[^}]*"NO_ROBOT"\},?){1998}\]\}$/,
 qr/"detail":"A plan takes up to 2,000 demands."/]



=== TEST 6: no robot at all; more faults than are told
--- http_config eval
Coco::http_config(coco_online_window => '1ms')
--- more_headers eval
[($::Json) x 2]
--- request eval
[main::plans(main::demands(main::demand('"a"', 50)), main::demands(('1') x 100))]
--- error_code eval
[200, 400]
--- response_body_like eval
[qr/^\{"assignments":\[\],"totalCostSeconds":0,"unassigned":\[\{"demandId":"a","reason":"NO_ROBOT"\}\]\}$/,
 qr/"errors":\[(\{[^}]*\},?){16}\]/]



=== TEST 7: outside of the area
--- http_config eval
Coco::http_config(coco_dispatch_area => '-1,49 -1,50.01 1,50.01 1,49')
--- more_headers eval: $::Json
--- request eval
main::plans(main::demands(main::demand('"in"', 50), main::demand('"out"', 50.02)))
--- response_body_like eval
qr/\[\{"demandId":"in","serial":"s330-a",.*"unassigned":\[\{"demandId":"out","reason":"OUT_OF_AREA"\}\]/



=== TEST 8: scopes, methods, and no Postgres
--- http_config eval: Coco::down('postgres')
--- more_headers eval
[Coco::bearer(scope => 'dispatch:write') . "\nContent-Type: application/json",
 Coco::bearer(), $::Json]
--- request eval
["POST /plan\n{}", 'GET /plan', main::plans(main::demands())]
--- error_code eval
[403, 405, 503]
--- no_error_log
[alert]
