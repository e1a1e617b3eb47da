# POST /demands, GET of pages, DELETE; what a demand is to its robot.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our $Now = now_ms();
our $Json = bearer() . "\nContent-Type: application/json";
our $Uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
our $Soon = $Now + 3600_000;

sub clean {
    sql("delete from coco.demand where serial like 's340-%'"
        . " or pickup_latitude = 34.0625; delete from coco.outbox"
        . " where payload ->> 'serial' like 's340-%';"
        . "delete from coco.resource where id like 's340-%'");
}

clean();
supply("s340-$_", 34, 34) for qw(a b c page);
supply('s340-gone', 34, 34, row => { demands => 1 });

our $Places = '"pickup":{"latitude":34.0625,"longitude":34},'
    . '"dropoff":{"latitude":34.5,"longitude":-34}';

sub demands {
    return map { "POST /demands\n{$_}" } @_;
}

sub with {
    return map { "$Places,$_" } @_;
}

# body => the field at fault
our @Bad = (
    '' => 'pickup', '"pickup":1,"dropoff":2' => 'pickup',
    map({ ((with($$_[0]))[0] => $$_[1]) }
        ['"serial":"a b"', 'serial'], ['"serial":7', 'serial'],
        ['"type":"pending"', 'type'], ['"type":1', 'type'],
        ['"type":"ACTIVE"', 'serial'], ['"type":"ACTIVE","serial":null',
        'serial'], ['"type":"SCHEDULED"', 'readyAt'],
        ['"readyAt":"soon"', 'readyAt'], ['"readyAt":-1', 'readyAt'],
        ['"readyAt":1.5', 'readyAt'], ['"id":"1"', 'id'],
        ['"deliveryId":null', 'deliveryId']),
);

# three of one robot, times equal by pairs; one of
# another robot, and one of a delivery
our @Id = map { "00000000-0000-4000-8000-00000000340$_" } 0 .. 5;
sql(join "\n", map { <<"END" } 0 .. 2, 4);
insert into coco.demand (id, type, serial, pickup_latitude, pickup_longitude,
       dropoff_latitude, dropoff_longitude, created_at, updated_at)
select '$Id[$_]', (array['PENDING', 'ACTIVE', 'PENDING', '', 'PENDING'])[$_ + 1],
       '@{[ $_ < 4 ? 's340-page' : 's340-gone' ]}', 1, 2, 3, 4, at, at
  from coco.from_ms($Now + 60000 + $_ / 2) at;
END
sql(<<"END");
insert into coco.delivery (id, status, pickup_latitude, pickup_longitude,
       dropoff_latitude, dropoff_longitude, changes, created_at, updated_at)
values ('$Id[3]', 'Created', 34.0625, 2, 3, 4, 1, now(), now());
insert into coco.demand (id, delivery_id, type, pickup_latitude,
       pickup_longitude, dropoff_latitude, dropoff_longitude, created_at,
       updated_at)
values ('$Id[3]', '$Id[3]', 'PENDING', 34.0625, 2, 3, 4, now(), now());
END

sub page {
    my ($next, @at) = @_;
    my $items = join ',', map { qr/\{"id":"$Id[$_]","type":"\w+","deliveryId":null,"serial":"s340-page","pickup":\{"latitude":1,"longitude":2\},"dropoff":\{"latitude":3,"longitude":4\},"readyAt":null,"createdAt":\d{13}\}/ } @at;
    $next = defined $next ? '"' . Coco::cursor(@$next) . '"' : 'null';
    return qr/^\{"items":\[$items\],"nextCursor":\Q$next\E\}$/;
}

plan 'no_plan';
run_tests();

is(sql("select id || ' ' || demands || ' ' || (data #>> '{activeDemand,type}')"
    . " || ' ' || jsonb_array_length(data -> 'futureDemand') || ' '"
    . " || coalesce(data ->> 'tripType', '-') from coco.resource"
    . " where id in ('s340-a', 's340-b') order by id"),
    "s340-a 3 ACTIVE 2 DELIVERY\ns340-b 1 PENDING 0 -",
    'LegacyRobot shows them');
is(sql("select count(*) from coco.demand where pickup_latitude = 34.0625"
    . " and serial is null and delivery_id is null"), 3, 'nothing bad was done');
sql("delete from coco.demand where delivery_id = '$Id[3]';"
    . "delete from coco.delivery where id = '$Id[3]'");
clean();

__DATA__

=== TEST 1: what is told, and what follows when it is not
--- more_headers eval
[($::Json) x 7]
--- request eval
[main::demands($::Places, main::with('"serial":null,"readyAt":null,"type":null',
 "\"readyAt\":$::Soon", '"serial":"s340-a","readyAt":1',
 '"serial":"s340-a","type":"ACTIVE"',
 "\"serial\":\"s340-a\",\"readyAt\":$::Soon,\"type\":\"SCHEDULED\"",
 '"serial":"s340-b","type":"PENDING"'))]
--- error_code eval
[(201) x 7]
--- response_headers_like eval
["Location: /demands/$::Uuid\nContent-Type: application/json", ('') x 6]
--- response_body_like eval
my $places = '"pickup":{"latitude":34.0625,"longitude":34},"dropoff":{"latitude":34.5,"longitude":-34}';
[map { my ($type, $serial, $ready) = @$_;
 qr/^\{"id":"$::Uuid","type":"$type","deliveryId":null,"serial":$serial,\Q$places\E,"readyAt":$ready,"createdAt":\d{13}\}$/ }
 ['PENDING', 'null', 'null'], ['PENDING', 'null', 'null'],
 ['SCHEDULED', 'null', $::Soon], ['PENDING', '"s340-a"', 1],
 ['ACTIVE', '"s340-a"', 'null'], ['SCHEDULED', '"s340-a"', $::Soon],
 ['PENDING', '"s340-b"', 'null']]



=== TEST 2: what is refused names its field
--- more_headers eval
[($::Json) x (@::Bad / 2)]
--- request eval
[main::demands(map { $::Bad[2 * $_] } 0 .. $#::Bad / 2)]
--- error_code eval
[(400) x (@::Bad / 2)]
--- response_body_like eval
[map { qr/"errors":\[\{"field":"\Q$::Bad[2 * $_ + 1]\E"/ } 0 .. $#::Bad / 2]



=== TEST 3: a robot that nobody knows
--- more_headers eval: $::Json
--- request eval
main::demands(main::with('"serial":"s340-nobody"'))
--- error_code: 422
--- response_body_like: "detail":"serial: no robot has this serial."



=== TEST 4: a repeat under a key is answered as the first was
--- more_headers eval
[("$::Json\nIdempotency-Key: s340-$::Now") x 3]
--- request eval
[main::demands(main::with(('"serial":"s340-c"') x 2, '"serial":"s340-b"'))]
--- error_code eval
[201, 201, 422]



=== TEST 5: a robot that has one is not quoted
--- more_headers eval: $::Json
--- request eval
"POST /quote?explain=1\n{\"pickup\":{\"latitude\":34,\"longitude\":34},\"dropoff\":{\"latitude\":34,\"longitude\":34}}"
--- response_body_like eval
qr/(?=.*"s340-a","reasons":\["BUSY"[,\]])(?=.*"s340-b","reasons":\["BUSY"[,\]])(?=.*"s340-c","reasons":\["BUSY"[,\]])(?=.*"s340-page","reasons":\[[^B])?/



=== TEST 6: pages, newest first, by robot and by type
--- request eval
my $url = 'GET /demands?serial=s340-page&limit=';
my $cursor = '&cursor=' . Coco::cursor($::Now + 60000, $::Id[1]);
[$url . 3, $url . 2, $url . 2 . $cursor, $url . '9&type=ACTIVE',
 $url . '9&type=SCHEDULED', 'GET /demands?type=SCHEDULED&serial=s340-a']
--- error_code eval
[(200) x 6]
--- response_body_like eval
my $none = qr/^\{"items":\[\],"nextCursor":null\}$/;
[main::page(undef, 2, 1, 0), main::page([$::Now + 60000, $::Id[1]], 2, 1),
 main::page(undef, 0), main::page(undef, 1), $none,
 qr/^\{"items":\[\{[^{]*\{[^{]*\{[^{]*"readyAt":$::Soon,[^{]*\}\],"nextCursor":null\}$/]



=== TEST 7: filters that are none
--- request eval
[map { "GET /demands?$_" } 'type=active', 'type=', 'serial=a%2Fb', 'limit=501',
 'cursor=x', 'cursor=' . Coco::cursor(1, 'no-uuid')]
--- error_code eval
[(400) x 6]
--- response_body_like eval
[map { qr/"field":"$_"/ } qw(type type serial limit cursor cursor)]



=== TEST 8: deleted, once; a delivery's is not; those that are none
--- request eval
[(map { "DELETE /demands/$::Id[$_]" } 2, 2, 3, 5), 'DELETE /demands/1',
 'GET /demands?serial=s340-page']
--- error_code eval
[204, 404, 409, 404, 404, 200]
--- response_body_like eval
[qr/^$/, qr/No demand has this id/, qr/cancel the delivery/,
 (qr/No demand has this id/) x 2, main::page(undef, 1, 0)]



=== TEST 9: with its last one gone the robot is free again
--- request eval
['GET /supply?serial=s340-gone', "DELETE /demands/$::Id[4]",
 'GET /supply?serial=s340-gone']
--- error_code eval
[200, 204, 200]
--- response_body_like eval
[qr/"usable":false,"reasons":\["BUSY"\]/, qr/^$/,
 qr/"usable":true,"reasons":\[\]/]



=== TEST 10: scopes, methods, and no Postgres
--- http_config eval: Coco::down('postgres')
--- more_headers eval
[Coco::bearer(scope => 'dispatch:read') . "\nContent-Type: application/json",
 Coco::bearer(scope => 'dispatch:write'), Coco::bearer(scope => 'dispatch:read'),
 Coco::bearer(), $::Json, Coco::bearer(), Coco::bearer()]
--- request eval
["POST /demands\n{}", 'GET /demands', "DELETE /demands/$::Id[0]",
 "GET /demands/$::Id[0]", "POST /demands\n{$::Places}", 'GET /demands',
 "DELETE /demands/$::Id[0]"]
--- error_code eval
[403, 403, 403, 405, 503, 503, 503]
--- no_error_log
[alert]
