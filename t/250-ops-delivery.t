# POST /deliveries: what is said, what is refused, what is told by default;
# GET of one, of pages, and of a robot that has one. No reply shows a PIN.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();

# 8362 is the PIN of all
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(no_error_log => ['[alert]', '[error]', '8362'])
        unless defined $block->no_error_log;
});
add_block_preprocessor(\&Coco::defaults);

our $Now = now_ms();
our $Json = bearer() . "\nContent-Type: application/json";
our $Uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';

sub clean {
    my $mine = "select id from coco.delivery where provider like 's250%'"
        . " or store like 's250%' or serial like 's250-%'"
        . " or pickup_address = 's250'";
    sql("delete from coco.outbox where payload #>> '{data,deliveryId}'"
        . " in (select id::text from ($mine) d);"
        . "delete from coco.delivery_event where delivery_id in ($mine);"
        . "delete from coco.delivery_attempt where delivery_id in ($mine);"
        . "delete from coco.delivery where id in ($mine)");
}

clean();
sql(<<'END');
delete from coco.integration where store like 's250%';
insert into coco.integration (provider, store, loading_flow, pin)
values ('s250', 's250-qr', 'QR', null),
       ('s250', 's250-pin', 'PIN', '8362'),
       ('s250', 's250-none', null, null),
       ('uber', 's250-uber', 'PINLESS', '8362');
END

our $Places = '"pickup":{"latitude":37.5,"longitude":-122.25,'
    . '"address":"s250"},"dropoff":{"latitude":-1,"longitude":180}';

sub posts {
    return map { "POST /deliveries\n$_" } @_;
}

# of the places alone, and one member more
sub with {
    return map { "{$Places,$_}" } @_;
}

my $long = 'x' x 129;
my $wide = '\u00e4' x 65;

# body => the field at fault
our @Bad = (
    '' => 'pickup', '{' => 'body', '[]' => 'body', '"a"' => 'body',
    '{}' => 'pickup', '{"pickup":{"latitude":1,"longitude":1}}' => 'dropoff',
    (map { ("{\"pickup\":$$_[0],\"dropoff\":{\"latitude\":1,\"longitude\":1}}",
            $$_[1]) }
        ['null', 'pickup'], ['[]', 'pickup'], ['"a"', 'pickup'],
        ['{}', 'pickup.latitude'],
        ['{"latitude":1}', 'pickup.longitude'],
        ['{"latitude":"1","longitude":1}', 'pickup.latitude'],
        ['{"latitude":null,"longitude":1}', 'pickup.latitude'],
        ['{"latitude":90.001,"longitude":1}', 'pickup.latitude'],
        ['{"latitude":1,"longitude":-180.1}', 'pickup.longitude'],
        ['{"latitude":1e-400,"longitude":1}', 'pickup.latitude'],
        ['{"latitude":1,"longitude":1,"address":7}', 'pickup.address'],
        ['{"latitude":1,"longitude":1,"address":""}', 'pickup.address'],
        ['{"latitude":1,"longitude":1,"address":"' . 'x' x 257 . '"}',
         'pickup.address'],
        ['{"latitude":1,"longitude":1,"zip":"1"}', 'pickup.zip']),
    (map { ((with($$_[0]))[0], $$_[1]) }
        ['"dropoff":{}', 'dropoff'], ['"status":"Created"', 'status'],
        ['"serial":"r1"', 'serial'], ['"id":"a"', 'id'],
        map({ ["\"$_\":\"\"", $_], ["\"$_\":7", $_], ["\"$_\":\"$long\"", $_],
              ["\"$_\":\"$wide\"", $_], ["\"$_\":\"a\\u0000\"", $_] }
            qw(provider externalId store)),
        map({ ["\"loadingFlow\":$_", 'loadingFlow'] }
            '"qr"', '"OPERATOR"', '""', '1'),
        map({ ["\"pin\":$_", 'pin'] } '8362', '"123"', '"12345"', '"12a4"',
            '" 123"', '"-123"', '"1.23"', '""', 'true', '["8362"]'),
        map({ ["\"readyAt\":$_", 'readyAt'] } '-1', '1.5', '"1700000000000"',
            '253402300800000', '1e400', 'true')),
);

our @Unknown = ("00000000-0000-4000-8000-000000000250", 'a', 'stream',
    '00000000-0000-4000-8000-00000000025g');

# a robot with one delivery that is over, two that are not, in this order
robot("s250-$_", ts => $Now) for qw(busy free);
our @Id = map { sprintf '25000000-0000-4000-8000-00000000000%d', $_ } 0 .. 4;
my @status = qw(Canceled AtPickup Assigned Completed Created);
my @serial = ("'s250-busy'") x 4;
sql(join "\n", map { <<"END" } 0 .. 4);
insert into coco.delivery (id, provider, status, serial, pin, pickup_latitude,
       pickup_longitude, dropoff_latitude, dropoff_longitude, changes,
       created_at, updated_at)
values ('$Id[$_]', 's250', '$status[$_]', @{[ $serial[$_] // 'null' ]}, '8362',
        1, 2, 3, 4, 1, coco.from_ms($Now + 60000 + $_ / 2),
        coco.from_ms($Now + 60000 + $_ / 2));
insert into coco.delivery_event (delivery_id, number, id, status, ts)
select '$Id[$_]', n, gen_random_uuid(), 'Created', coco.from_ms($Now + n)
  from generate_series(1, 5) n;
END

# A page of those; times are equal by pairs, so that pages are cut within one.
sub page {
    my ($next, @at) = @_;
    my $items = join ',', map { qr/\{"id":"$Id[$_]","status":"[^{]*[^}]*\}[^}]*\}[^]]*\][^}]*\}/ } @at;
    $next = defined $next ? '"' . Coco::cursor(@$next) . '"' : 'null';
    return qr/^\{"items":\[$items\],"nextCursor":\Q$next\E\}$/;
}

plan 'no_plan';
run_tests();

is(sql("select string_agg(status || ' ' || coalesce(previous_status, '-')"
    . " || ' ' || number || ' ' || changes, ',') from coco.delivery_event e"
    . " join coco.delivery d using (status) where d.id = e.delivery_id"
    . " and d.external_id = 's250-all'"), 'Created - 1 1', 'delivery_event');
is(sql("select o.name, o.serial = d.id::text, o.payload - 'id' - 'ts'"
    . " = jsonb_build_object('name', o.name, 'serial', d.id, 'data',"
    . " jsonb_build_object('deliveryId', d.id, 'status', 'Created',"
    . " 'previousStatus', null)), o.id = e.id, o.id = coco.id_derive("
    . "'Deliveries.DeliveryEvent' || d.id || 1),"
    . " o.payload -> 'ts' = to_jsonb(coco.to_ms(d.created_at))"
    . " from coco.delivery d join coco.delivery_event e on e.delivery_id = d.id"
    . " join coco.outbox o on o.payload #>> '{data,deliveryId}' = d.id::text"
    . " where d.external_id = 's250-all'"),
    'Deliveries.DeliveryEvent|t|t|t|t|t', 'Deliveries.DeliveryEvent');
is(sql("select string_agg(external_id || ' ' || coalesce(loading_flow, '-')"
    . " || ' ' || coalesce(pin, '-'), ', ' order by external_id)"
    . " from coco.delivery where external_id like 's250-flow%'"),
    join(', ', 's250-flow0 QR -', 's250-flow1 PIN 8362', 's250-flow2 - -',
        's250-flow3 - -', 's250-flow4 PINLESS 8362', 's250-flow5 MAGIC_LID -',
        's250-flow6 MAGIC_LID -', 's250-flow7 QR 0001', 's250-flow8 PIN 0001',
        's250-flow9 - -'), 'what is not said is as the store has it');
is(sql("select count(*) from coco.delivery where external_id = 's250-twice'"
    . " and provider = 's250'"), 1, 'one of a provider and its id');
is(sql("select count(*) from coco.delivery where store = 's250-idem'"), 2,
    'a repeat under a key makes none');
is(sql("select count(*) from coco.delivery where pickup_address = 's250'"
    . " and store is null and external_id is null"), 0, 'nothing bad was done');
clean();

__DATA__

=== TEST 1: everything said
--- more_headers eval: $::Json
--- request eval
main::posts(main::with('"provider":"s250","externalId":"s250-all",'
. '"store":"s250 \u00e4\"","loadingFlow":"PIN","pin":"8362",'
. "\"readyAt\":$::Now"))
--- error_code: 201
--- response_headers_like eval
"Location: /deliveries/$::Uuid\nContent-Type: application/json"
--- response_body_like eval
qr/^\{"id":"$::Uuid","status":"Created","serial":null,"provider":"s250","externalId":"s250-all","store":"s250 \xc3\xa4\\"","loadingFlow":"PIN","pickup":\{"latitude":37.5,"longitude":-122.25,"address":"s250"\},"dropoff":\{"latitude":-1,"longitude":180,"address":null\},"readyAt":$::Now,"attempts":\[\],"cancelReason":null,"createdAt":(\d{13}),"updatedAt":\1\}$/



=== TEST 2: what is refused names its field
--- more_headers eval
[($::Json) x (@::Bad / 2)]
--- request eval
[main::posts(map { $::Bad[2 * $_] } 0 .. $#::Bad / 2)]
--- error_code eval
[(400) x (@::Bad / 2)]
--- response_body_like eval
[map { qr/"errors":\[\{"field":"\Q$::Bad[2 * $_ + 1]\E(\[[^"]*)?","detail":"(?!.*8362)[^"]/ }
 0 .. $#::Bad / 2]



=== TEST 3: of several bad members each is named
--- more_headers eval: $::Json
--- request
POST /deliveries
{"provider":"","colour":2,"pickup":{"latitude":91,"x":1},"loadingFlow":"PIN","pin":8362}
--- error_code: 400
--- response_body_like eval
qr/"errors":\[\{"field":"provider",[^}]*\},\{"field":"colour",[^}]*\},\{"field":"pickup.latitude",[^}]*\},\{"field":"pickup.x",[^}]*\},\{"field":"pickup.longitude",[^}]*\},\{"field":"pin",[^}]*\},\{"field":"dropoff",[^}]*\}\]/



=== TEST 4: flow and PIN that are not said
--- more_headers eval
[($::Json) x 10]
--- request eval
my @said = ('"provider":"s250","store":"s250-qr"',
    '"provider":"s250","store":"s250-pin","pin":null,"loadingFlow":null',
    '"provider":"s250","store":"s250-none"',
    '"provider":"s250-other","store":"s250-pin"',
    '"provider":"uber","store":"s250-uber"',
    '"provider":"uber","store":"s250-none"', '"provider":"uber"',
    '"provider":"s250","store":"s250-pin","pin":"0001","loadingFlow":"QR"',
    '"provider":"s250","store":"s250-pin","pin":"0001"', '"store":"s250-pin"');
[main::posts(main::with(map { "$said[$_],\"externalId\":\"s250-flow$_\"" }
 0 .. 9))]
--- error_code eval
[(201) x 10]
--- response_body_like eval
[map { qr/"loadingFlow":$_,(?!.*"pin"|.*8362|.*0001)/ } '"QR"', '"PIN"', 'null',
 'null', '"PINLESS"', '"MAGIC_LID"', '"MAGIC_LID"', '"QR"', '"PIN"', 'null']



=== TEST 5: a provider's id comes once; without a provider it is nobody's
--- more_headers eval
[($::Json) x 5]
--- request eval
[main::posts(main::with('"provider":"s250","externalId":"s250-twice"',
 '"provider":"s250","externalId":"s250-twice","pin":"8362"',
 '"provider":"s250-b","externalId":"s250-twice"',
 ('"store":"s250","externalId":"s250-twice"') x 2))]
--- error_code eval
[201, 409, 201, 201, 201]
--- response_body_like eval
[qr/Created/, qr/"detail":"Delivery $::Uuid has this provider and externalId/,
 (qr/Created/) x 3]



=== TEST 6: a repeat under a key is answered as the first was
--- more_headers eval
my $key = "$::Json\nIdempotency-Key: s250-$::Now";
[$key, $key, $key, "$::Json\nIdempotency-Key: s250-b-$::Now"]
--- request eval
[main::posts(main::with(('"store":"s250-idem"') x 2, '"store":"s250-other"',
 '"store":"s250-idem"'))]
--- error_code eval
[201, 201, 422, 201]
--- response_headers_like eval
[("Location: /deliveries/$::Uuid") x 2, 'Content-Type: .*problem.json',
 "Location: /deliveries/$::Uuid"]



=== TEST 7: one delivery, its events, and those that are none
--- request eval
["GET /deliveries/$::Id[1]", "GET /deliveries/$::Id[1]/events",
 map { ("GET /deliveries/$_", "GET /deliveries/$_/events") } @::Unknown]
--- error_code eval
[200, 200, (404) x (2 * @::Unknown)]
--- response_body_like eval
[qr/^\{"id":"$::Id[1]","status":"AtPickup","serial":"s250-busy",(?!.*8362)/,
 qr/^\{"items":\[(\{"id":"$::Uuid","status":"Created","previousStatus":null,"serial":null,"ts":\d{13},"reason":null\},?){5}\],"nextCursor":null\}$/,
 (qr/"detail":"No delivery has this id."/) x (2 * @::Unknown)]



=== TEST 8: pages of events, oldest first
--- request eval
my $url = "GET /deliveries/$::Id[1]/events?limit=2";
[$url, "$url&cursor=" . Coco::cursor(2, 2), "$url&cursor=" . Coco::cursor(4, 4),
 "$url&cursor=" . Coco::cursor(5, 5), "$url&cursor=x",
 "GET /deliveries/$::Id[1]/events?limit=0"]
--- error_code eval
[200, 200, 200, 200, 400, 400]
--- response_body_like eval
my ($one, $two) = (Coco::cursor(2, 2), Coco::cursor(4, 4));
my $item = sub { '\{[^}]*"ts":' . ($::Now + $_[0]) . '[^}]*\}' };
[qr/^\{"items":\[@{[$item->(1)]},@{[$item->(2)]}\],"nextCursor":"$one"\}$/,
 qr/^\{"items":\[@{[$item->(3)]},@{[$item->(4)]}\],"nextCursor":"$two"\}$/,
 qr/^\{"items":\[@{[$item->(5)]}\],"nextCursor":null\}$/,
 qr/^\{"items":\[\],"nextCursor":null\}$/, qr/"field":"cursor"/,
 qr/"field":"limit"/]



=== TEST 9: pages of deliveries, newest first, by robot and by status
--- request eval
my $url = 'GET /deliveries?serial=s250-busy&limit=';
my $cursor = '&cursor=' . Coco::cursor($::Now + 60001, $::Id[2]);
[$url . 4, $url . 2, $url . 2 . $cursor, $url . 1 . $cursor,
 $url . '9&status=AtPickup', $url . '9&status=EnrouteToDropoff',
 'GET /deliveries?serial=s250-nobody', 'GET /deliveries?status=Created&limit=1']
--- error_code eval
[(200) x 8]
--- response_body_like eval
my $at = $::Now + 60000;
my $none = qr/^\{"items":\[\],"nextCursor":null\}$/;
[main::page(undef, 3, 2, 1, 0), main::page([$at + 1, $::Id[2]], 3, 2),
 main::page(undef, 1, 0), main::page([$at, $::Id[1]], 1), main::page(undef, 1),
 $none, $none, main::page([$at + 2, $::Id[4]], 4)]



=== TEST 10: filters that are none
--- request eval
[map { "GET /deliveries?$_" } 'status=created', 'status=', 'serial=a%2Fb',
 'serial=', 'serial=a%00', 'limit=501', 'limit=x', 'cursor=x',
 'cursor=' . Coco::cursor(1, 'no-uuid')]
--- error_code eval
[(400) x 9]
--- response_body_like eval
[map { qr/"field":"$_"/ } qw(status status serial serial serial limit limit
 cursor cursor)]



=== TEST 11: a robot shows its newest delivery that is not over
--- request eval
['GET /robots/s250-busy', 'GET /robots/s250-free',
 'GET /robots?cursor=' . Coco::cursor(0, 's250-a')]
--- error_code eval
[200, 200, 200]
--- response_body_like eval
my $busy = '"delivery":\{"id":"' . $::Id[2] . '","status":"Assigned"\}';
my $at = $::Now + 60001;
[qr/$busy.*"delivery":\{"source":"postgres","asOf":$at\}/,
 qr/"delivery":null(?!.*"delivery":)/,
 qr/"serial":"s250-busy"(?:(?!"serial":"s250-).)*$busy.*"serial":"s250-free"(?:(?!"serial").)*"delivery":null/]



=== TEST 12: scopes, methods and media types
--- more_headers eval
[Coco::bearer(scope => 'deliveries:read') . "\nContent-Type: application/json",
 (Coco::bearer(scope => 'deliveries:write')) x 3, 'X-None: 1',
 Coco::bearer() . "\nContent-Type: text/plain", (Coco::bearer()) x 2]
--- request eval
["POST /deliveries\n{}", "GET /deliveries", "GET /deliveries/$::Id[0]",
 "GET /deliveries/$::Id[0]/events", "GET /deliveries", "POST /deliveries\n{}",
 "DELETE /deliveries/$::Id[0]", "PUT /deliveries\n{}"]
--- error_code eval
[403, 403, 403, 403, 401, 415, 405, 405]



=== TEST 13: without Postgres
--- http_config eval: Coco::down('postgres')
--- more_headers eval
[($::Json) x 3]
--- request eval
[main::posts(main::with('"store":"s250-down"')), 'GET /deliveries',
 "GET /deliveries/$::Id[0]"]
--- error_code eval
[503, 503, 503]
--- no_error_log
[alert]
