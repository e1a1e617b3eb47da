# MDS over HTTP: which media types are served, what is refused and how, every
# object to the letter, pages in both directions, and the hours' rules.

use Test::Nginx::Socket;
use Coco;
use POSIX qw(strftime);

no_shuffle();
no_long_string();

our $Provider = 'c0c0b07e-5f1d-4c58-9f6e-2b7f0d3a9e41';
our $Accept = 'application/vnd.mds+json;version=2.0';
our $Token = bearer(scope => 'mds:read');
our $Headers = "$Token\nAccept: $Accept";
our $Config = "location /mds { coco_ops; coco_mds_provider \U$Provider\E; }\n";

add_block_preprocessor(\&Coco::defaults);
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(config => $Config) unless defined $block->config;
    $block->set_value(more_headers => $Headers)
        unless defined $block->more_headers || defined $block->must_die;
});

# the hours of yesterday: all is over
our $Now = now_ms();
our $Day = int($Now / 86400_000) * 86400_000 - 86400_000;
our $Ten = $Day + 10 * 3600_000;

sub hour {
    my ($ms) = @_;
    return strftime('%Y-%m-%dT%H', gmtime int($ms / 1000));
}

# ids by number
sub id {
    my ($kind, $n) = @_;
    return sprintf '%08x-0000-4000-8000-%012x', $kind, $n;
}

sub device { return id(0xd, @_) }
sub event { return id(0xe, @_) }
sub trip { return id(0xf, @_) }
sub delivery { return id(0xde, @_) }

sub clean {
    sql("delete from coco.mds_event; delete from coco.mds_trip;"
        . "delete from coco.mds_vehicle; delete from coco.robot_state"
        . " where serial like 's390%'; delete from coco.state_history"
        . " where serial like 's390%'; delete from coco.state_history_late"
        . " where serial like 's390%'; delete from coco.mds_fact");
}

# A vehicle whose newest event is of $ago seconds ago.
sub vehicle {
    my ($n, $serial, $state, $ago) = @_;
    my ($device, $event) = (device($n), event($n));
    my $ts = "coco.from_ms($Now) - $ago * interval '1 second'";
    sql("insert into coco.mds_vehicle (serial, device_id, registered_at,"
        . " memory, vehicle_state, event_id, event_at) values ('$serial',"
        . " '$device', now(), '{}', '$state', '$event', $ts);"
        . "insert into coco.mds_event (event_id, device_id, vehicle_state,"
        . " event_types, ts, publication_time, latitude, longitude,"
        . " battery_percent) values ('$event', '$device', '$state',"
        . " '{comms_lost}', $ts, $ts, 1.5, -2.25, 77)");
}

clean();
sql("update coco.mds_progress set since = coco.from_ms($Day + 1800000),"
    . " up_to = coco.from_ms($Day + 20 * 3600000);"
    . "select coco.state_history_partition_create((coco.from_ms($Day)"
    . " + $_ * interval '1 day')::date) from generate_series(0, 1) as $_;")
    for 'd';

vehicle(1, 's390-a', 'available', 60);
vehicle(2, 's390-b', 'removed', 89 * 60);
vehicle(3, 's390-c', 'elsewhere', 91 * 60);
vehicle(4, 's390-d', 'missing', 29 * 86400);
vehicle(5, 's390-e', 'removed', 31 * 86400);
vehicle(6, 's390-f', 'non_operational', 40 * 86400);
sql("insert into coco.mds_vehicle (serial, device_id, registered_at, memory,"
    . " vehicle_state) values ('s390-g', '" . device(7) . "', now(), '{}',"
    . " 'available')");

robot("s390-$_", ts => $Now - 5000, operation => undef,
    details => '{"battery":{"percent":64.5},"location":{"latitude":37.5,'
        . '"longitude":-122.25,"heading":90,"speed":1.25,"accuracy":2}}')
    for 'a' .. 'f';

# the telemetry's id is the heartbeat's with the version of a digest
sql("update coco.robot_state set id = '11111111-1111-8111-8111-111111111111'"
    . " where serial = 's390-a'");

# Trips: one that is over, one under way, one whose places nobody knows.
sub trip_row {
    my ($n, $device, $start, $end, $places, $requested) = @_;
    my ($id, $for) = (trip($n), delivery($n));
    sql("insert into coco.mds_trip values ('$id', '" . device($device)
        . "', '$for', " . ($requested // 'null') . ", coco.from_ms($start), "
        . ($places ? '1.5, 2.5' : 'null, null') . ', '
        . (defined $end ? "coco.from_ms($end)" : 'null') . ', '
        . ($places ? '3.5, -4.5, 1234.56' : 'null, null, null') . ')');
}

trip_row(1, 1, $Ten, $Ten + 1_200_499, 1, "coco.from_ms($Ten - 60000)");
trip_row(2, 1, $Now - 60_000, undef, 1);
trip_row(3, 1, $Ten + 100_000, $Ten + 3_600_000, 0);

sub shared {
    my ($device) = @_;
    return qq("provider_id":"$Provider","device_id":") . device($device) . '"';
}

sub trip_json {
    my ($n, $device, $start, $end, $duration, $rest, $attributes) = @_;
    return '{' . shared($device) . ',"trip_id":"' . trip($n)
        . qq(","trip_type":"delivery","trip_attributes":{"driver_type":)
        . qq("semi_autonomous"$attributes},"start_time":$start,"end_time":$end)
        . qq(,"duration":$duration,$rest});
}

sub vehicle_json {
    my ($n, $serial, $attributes) = @_;
    return '{' . shared($n) . qq(,"vehicle_id":"$serial","vehicle_type":)
        . qq("delivery_robot","propulsion_types":["electric"],)
        . ($attributes // '')
        . qq("accessibility_attributes":{"remote_open":true}});
}

sub event_json {
    my ($n, $state, $ts, $place, $rest) = @_;
    return '{' . shared($n) . ',"event_id":"' . event($n)
        . qq(","vehicle_state":"$state","event_types":["comms_lost"],)
        . qq("timestamp":$ts,"publication_time":$ts,)
        . ($place // '"location":{"lat":1.5,"lng":-2.25}')
        . ($rest // ',"battery_percent":77') . '}';
}

sub status_json {
    my ($n, $state, $ago, $id, $trips) = @_;
    return '{' . shared($n) . ',"last_event":'
        . event_json($n, $state, $Now - $ago * 1000)
        . ',"last_telemetry":{' . shared($n) . qq(,"telemetry_id":"$id",)
        . '"timestamp":' . ($Now - 5000) . qq(,"trip_ids":$trips,"journey_id":)
        . 'null,"location":{"lat":37.5,"lng":-122.25,"heading":90,"speed":'
        . '1.25,"horizontal_accuracy":2},"battery_percent":65}}';
}

our $Latency = '"version":"2.0.2","last_updated":' . ($Day + 20 * 3600_000)
    . ',"ttl":1000';

sub links {
    my ($path, $prev, $next) = @_;
    my $query = $path =~ /\?/ ? '&' : '?';
    my @links = map { defined $_ ? "\"http://localhost$path${query}cursor=$_\""
        : 'null' } $prev, $next;
    return qq("links":{"first":"http://localhost$path","prev":$links[0],)
        . qq("next":$links[1]});
}

sub refusal {
    my ($error, $detail) = @_;
    return qr/^\{"error":"$error","error_description":"[^"]+","error_details":\["$detail/;
}

our $Events = '/mds/events/recent?start_time=' . ($Now - 100_000_000)
    . "&end_time=$Now";
our @Long = map { sprintf 'p390-%04d', $_ } 1 .. 1203;

# Many more vehicles, each with an event at the same two times.
sub many {
    sql("insert into coco.mds_vehicle (serial, device_id, registered_at,"
        . " memory, vehicle_state, event_id, event_at) select 'p390-'"
        . " || lpad(n::text, 4, '0'), ('0000000c-0000-4000-8000-' || lpad(n::text,"
        . " 12, '0'))::uuid, now(), '{}', 'available', ('0000000a-0000-4000-8000-'"
        . " || lpad(n::text, 12, '0'))::uuid, coco.from_ms($Now - 50000000)"
        . " from generate_series(1, 1203) n;"
        . "insert into coco.mds_event (event_id, device_id, vehicle_state,"
        . " event_types, ts, publication_time) select event_id, device_id,"
        . " 'available', '{service_start}', event_at + case when serial >"
        . " 'p390-0700' then interval '1 microsecond' else interval '0' end,"
        . " now() from coco.mds_vehicle where serial like 'p390%'");
}

# A key of the events' pages.
sub key {
    my ($n) = @_;
    my $us = ($Now - 50_000_000) * 1000 + ($n > 700 ? 1 : 0);
    return sprintf "$us.0000000a-0000-4000-8000-%012d", $n;
}

sub items {
    my ($first, $last) = @_;
    return join '.*', map { sprintf '"vehicle_id":"p390-%04d"', $_ } $first,
        $last;
}

plan 'no_plan';
run_tests();

clean();
sql("update coco.mds_progress set since = null, up_to = '-infinity'");

__DATA__

=== TEST 1: media types that are served
--- request eval
[('GET /mds/vehicles') x 10]
--- more_headers eval
[map { "$::Token\nAccept: $_" }
 'application/vnd.mds+json;version=2.0',
 'application/vnd.mds+json; version=2.0',
 "Application/VND.MDS+json \t;\t VERSION=2.0",
 'application/vnd.mds+json;version="2.0"',
 'application/vnd.mds+json;version="2\.0";q=0.001',
 'application/vnd.mds+json;charset=utf-8;version=2.0;q=1.000',
 'text/html, application/vnd.mds+json;version=1.2, application/vnd.mds+json;version=2.0;q=0.5',
 'text/plain;a="x,\"y";q=1,,application/vnd.mds+json;version=2.0',
 'nonsense, a/b;=;, application/vnd.mds+json;version=2.0',
 "text/html\nAccept: application/vnd.mds+json;version=2.0"]
--- error_code eval
[(200) x 10]
--- response_headers eval
["Content-Type: $::Accept\nVary: Accept", ("Content-Type: $::Accept") x 9]



=== TEST 2: media types that are not
--- request eval
[('GET /mds/vehicles') x 20]
--- more_headers eval
[$::Token, map { "$::Token\nAccept: $_" }
 '', '*/*', 'application/*', 'application/json', 'application/vnd.mds+json',
 'application/vnd.mds+json;version=2', 'application/vnd.mds+json;version=2.1',
 'application/vnd.mds+json;version=2.0.2',
 'application/vnd.mds+json;version=2.0;q=0',
 'application/vnd.mds+json;version=2.0;q=0.000',
 'application/vnd.mds+json;version=2.0;q=2',
 'application/vnd.mds+json;version=2.0;q=0.0001',
 'application/vnd.mds+json;version=2.0;q=',
 'application/vnd.mds+json version=2.0',
 'application/vnd.mds+json;version=2.0 x',
 'application/vnd.mds+jsonx;version=2.0',
 'text/html;x="application/vnd.mds+json;version=2.0"',
 'text/html;x="y, application/vnd.mds+json;version=2.0',
 'application/vnd.mds+json;version="2.0\\']
--- error_code eval
[(406) x 20]
--- response_headers eval
["Content-Type: $::Accept\nVary: Accept", ("Content-Type: $::Accept") x 19]
--- response_body_like eval
[(main::refusal('not_acceptable', quotemeta "$::Accept\"]}")) x 20]



=== TEST 3: who may not ask, and what there is not
--- request eval
['GET /mds/vehicles', 'GET /mds/trips', 'POST /mds/vehicles', 'GET /mds/stops',
 'GET /mds/vehicles/', 'GET /mds/vehicles/status/' . main::device(1) . '/x']
--- more_headers eval
["Accept: $::Accept", main::bearer() . "\nAccept: $::Accept",
 ($::Headers) x 4]
--- error_code eval
[401, 403, 405, 404, 404, 404]
--- response_headers eval
[('Content-Type: application/problem+json') x 6]



=== TEST 4: a location without a provider
--- config
location /mds { coco_ops; }
location /mds/trips { coco_ops; coco_mds_provider off; }
--- request eval
['GET /mds/vehicles', 'GET /mds/trips']
--- error_code eval
[404, 404]
--- response_body_like eval
[(qr/has no coco_mds_provider/) x 2]



=== TEST 5: vehicles, without those that left over 30 days ago
--- request
GET /mds/vehicles
--- response_body eval
"{$::Latency,\"vehicles\":[" . join(',', map { main::vehicle_json(@$_) }
 [1, 's390-a'], [2, 's390-b'], [3, 's390-c'], [4, 's390-d'], [6, 's390-f'])
 . '],' . main::links('/mds/vehicles') . '}'



=== TEST 6: their attributes are configured, and inherited
--- config
coco_mds_provider 11111111-2222-4333-8444-555555555555;
coco_mds_vehicle make=Coco "model=One \"S\"" year=2026 top_speed=2
                 inspection_date=2026-01-31;
location /mds {
    coco_ops;
    coco_mds_provider c0c0b07e-5f1d-4c58-9f6e-2b7f0d3a9e41;
}
location /mds/vehicles/status { coco_ops; coco_mds_vehicle off; }
--- request eval
['GET /mds/vehicles/' . main::device(1),
 'GET /mds/vehicles/status/' . main::device(1)]
--- response_body_like eval
[quotemeta('[' . main::vehicle_json(1, 's390-a',
 '"vehicle_attributes":{"make":"Coco","model":"One \"S\"","year":2026,'
 . '"top_speed":2,"inspection_date":"2026-01-31"},') . ']}'),
 '"provider_id":"11111111-2222-4333-8444-555555555555"']
--- error_code eval
[200, 200]



=== TEST 7: where they are; those that left are shown for 90 minutes
--- request
GET /mds/vehicles/status
--- response_body_like eval
'^' . quotemeta("{$::Latency,\"vehicles_status\":["
 . main::status_json(1, 'available', 60,
 '11111111-1111-5111-8111-111111111111', '["' . main::trip(2) . '"]') . ',{'
 . main::shared(2) . ',"last_event":' . main::event_json(2, 'removed',
 $::Now - 89 * 60_000)) . ',"last_telemetry":\{[^}]*\}[^}]*\}\},\{'
 . quotemeta(main::shared(6)) . '.*"trip_ids":null.*'
 . quotemeta('],' . main::links('/mds/vehicles/status') . '}') . '$'



=== TEST 8: one of them
--- request eval
['GET /mds/vehicles/' . uc main::device(1),
 'GET /mds/vehicles/status/' . main::device(1)]
--- response_body eval
["{$::Latency,\"vehicles\":[" . main::vehicle_json(1, 's390-a') . ']}',
 "{$::Latency,\"vehicles_status\":[" . main::status_json(1, 'available', 60,
 '11111111-1111-5111-8111-111111111111', '["' . main::trip(2) . '"]') . ']}']
--- error_code eval
[200, 200]



=== TEST 9: none of them
--- request eval
[map { "GET /mds/vehicles/$_" } main::device(5), main::device(7),
 main::device(99), 's390-a', 'status/' . main::device(3),
 'status/' . main::device(99), 'status/x']
--- error_code eval
[(404) x 7]
--- response_headers eval
[("Content-Type: $::Accept") x 7]
--- response_body_like eval
[(main::refusal('not_found', 'device_id ')) x 7]



=== TEST 10: events lately, from start_time until before end_time
--- request eval
["GET $::Events", 'GET /mds/events/recent?start_time=' . ($::Now - 89 * 60_000)
 . '&end_time=' . ($::Now - 60_000)]
--- response_body eval
['{"version":"2.0.2","events":[' . main::event_json(3, 'elsewhere',
 $::Now - 91 * 60_000) . ',' . main::event_json(2, 'removed',
 $::Now - 89 * 60_000) . ',' . main::event_json(1, 'available',
 $::Now - 60_000) . '],' . main::links($::Events) . '}',
 '{"version":"2.0.2","events":[' . main::event_json(2, 'removed',
 $::Now - 89 * 60_000) . '],' . main::links('/mds/events/recent?start_time='
 . ($::Now - 89 * 60_000) . '&end_time=' . ($::Now - 60_000)) . '}']
--- error_code eval
[200, 200]



=== TEST 11: times that are missing, wrong or too long ago
--- request eval
[map { "GET /mds/events/recent$_" } '', "?end_time=$::Now",
 "?start_time=$::Now", "?start_time=x&end_time=$::Now",
 "?start_time=$::Now&end_time=-1", '?start_time=' . ($::Now - 1209700_000)
 . "&end_time=$::Now", "?start_time=$::Now&end_time=" . ($::Now - 1)]
--- error_code eval
[(400) x 7]
--- response_headers eval
[("Content-Type: $::Accept") x 7]
--- response_body_like eval
[map { main::refusal(@$_) } ['missing_param', 'start_time '],
 ['missing_param', 'start_time '], ['missing_param', 'end_time '],
 ['bad_param', 'start_time '], ['bad_param', 'end_time '],
 ['bad_param', 'start_time '], ['bad_param', 'end_time ']]



=== TEST 12: pages of vehicles, forward and back to the first one
--- init
main::many();
--- request eval
['GET /mds/vehicles', map { 'GET /mds/vehicles?cursor=' . Coco::cursor(@$_) }
 [0, 'p390-0500'], [0, 'p390-1000'], [1, 'p390-1001'], [1, 'p390-0501'],
 [1, 'p390-0001'], [0, 's390-f']]
--- response_body_like eval
my $at = sub { Coco::cursor(@_) };
my $links = sub { quotemeta(main::links('/mds/vehicles', @_)) . '\}$' };
[main::items(1, 500) . '.*' . $links->(undef, $at->(0, 'p390-0500')),
 main::items(501, 1000) . '.*' . $links->($at->(1, 'p390-0501'),
 $at->(0, 'p390-1000')),
 main::items(1001, 1203) . '.*' . $links->($at->(1, 'p390-1001'), undef),
 main::items(501, 1000) . '.*' . $links->($at->(1, 'p390-0501'),
 $at->(0, 'p390-1000')),
 main::items(1, 500) . '.*' . $links->(undef, $at->(0, 'p390-0500')),
 '"vehicles":\[\],' . $links->(undef, $at->(0, 'p390-0001')),
 '"vehicles":\[\],' . $links->($at->(1, 's390-f'), undef)]
--- error_code eval
[(200) x 7]



=== TEST 13: pages of events, over times that many share
--- request eval
["GET $::Events", map { "GET $::Events&cursor=" . Coco::cursor(@$_) }
 [0, main::key(500)], [0, main::key(1000)], [1, main::key(1001)]]
--- response_body_like eval
my $links = sub { quotemeta(main::links($::Events, @_)) . '\}$' };
my $of = sub { sprintf '"event_id":"0000000a-0000-4000-8000-%012d"', @_ };
[map { $_->[0] . '.*' . $_->[1] }
 ['"events":\[[^\]]*' . $of->(1), $of->(500) . '[^\]]*\][^\]]*\]\}\],' . $links->(undef,
 Coco::cursor(0, main::key(500)))],
 ['"events":\[[^\]]*' . $of->(501), $of->(1000) . '[^\]]*\][^\]]*\]\}\],' . $links->(
 Coco::cursor(1, main::key(501)), Coco::cursor(0, main::key(1000)))],
 ['"events":\[[^\]]*' . $of->(1001), main::event(1) . '.*'
 . $links->(Coco::cursor(1, main::key(1001)), undef)],
 ['"events":\[[^\]]*' . $of->(501), $of->(1000) . '[^\]]*\][^\]]*\]\}\],' . $links->(
 Coco::cursor(1, main::key(501)), Coco::cursor(0, main::key(1000)))]]
--- error_code eval
[(200) x 4]



=== TEST 14: without a place nothing is invented
--- request eval
"GET $::Events"
--- response_body_like chomp
"event_types":\["service_start"\],"timestamp":\d+,"publication_time":\d+,"event_geographies":\[\]\}



=== TEST 15: cursors tampered with
--- request eval
[map { my $c = $_; map { "GET $_?cursor=$c&start_time=$::Now&end_time=$::Now" }
 '/mds/vehicles/status', '/mds/events/recent' }
 'x', Coco::cursor(2, 's390-a'), Coco::cursor(0, ''), Coco::cursor(0, 'a/b'),
 Coco::cursor(0, '1.a/b'), Coco::cursor(-1, 's390-a'), '']
--- error_code eval
[(400) x 14]
--- response_body_like eval
[(main::refusal('bad_param', 'cursor ')) x 14]



=== TEST 16: hours that are none
--- request eval
[map { ("GET /mds/trips?end_time=$_", "GET /mds/telemetry?telemetry_time=$_",
 "GET /mds/events/historical?event_time=$_") } '2026-01-01',
 '2026-01-01T0', '2026-01-01T24', '2026-02-29T00', '2026-13-01T00',
 '2026-00-10T00', '2026-01-00T00', '2026-01-01t00', '2026-01-01T00Z',
 '2026-01-01T00:00', '1969-12-31T23', '1767225600000', '+026-01-01T00', '']
--- error_code eval
[(400) x 42]
--- response_body_like eval
[map { main::refusal('bad_param', $_) } (('end_time '), ('telemetry_time '),
 ('event_time ')) x 14]



=== TEST 17: no hour, under another name, none at all
--- request eval
['GET /mds/trips', 'GET /mds/telemetry?end_time=2026-01-01T00',
 'GET /mds/events/historical']
--- error_code eval
[(400) x 3]
--- response_body_like eval
[map { main::refusal('missing_param', $_) } 'end_time ', 'telemetry_time ',
 'event_time ']



=== TEST 18: before there was operation, and after now
--- request eval
[map { 'GET /mds/events/historical?event_time=' . main::hour($_) }
 $::Day - 3600_000, $::Now + 7200_000, $::Now + 86400_000 * 400]
--- error_code eval
[(404) x 3]
--- response_body_like eval
[(main::refusal('not_found', 'There was no')),
 (main::refusal('not_found', 'This hour has not begun')) x 2]



=== TEST 19: the first hour, a leap day's, and those that are not ready
--- request eval
[map { "GET /mds/trips?end_time=$_" } main::hour($::Day), '2024-02-29T00',
 main::hour($::Day + 19 * 3600_000), main::hour($::Day + 20 * 3600_000),
 main::hour($::Now)]
--- error_code eval
[200, 404, 200, 202, 202]
--- response_headers_like eval
["Content-Type: \Q$::Accept\E", "Content-Type: \Q$::Accept\E",
 "Content-Type: \Q$::Accept\E", "Retry-After: 10", "Retry-After: \\d+"]
--- response_body_like eval
[(quotemeta '{"version":"2.0.2","trips":[]}'), main::refusal('not_found', ''),
 (quotemeta '{"version":"2.0.2","trips":[]}'),
 (main::refusal('not_ready', '')) x 2]



=== TEST 20: trips of the hour in which they have ended
--- request eval
['GET /mds/trips?end_time=' . main::hour($::Ten),
 'GET /mds/trips?end_time=' . main::hour($::Ten + 3600_000)]
--- response_body eval
['{"version":"2.0.2","trips":[' . main::trip_json(1, 1, $::Ten,
 $::Ten + 1_200_499, 1200, '"distance":1235,"start_location":{"lat":1.5,"lng":'
 . '2.5},"end_location":{"lat":3.5,"lng":-4.5}', ',"requested_time":'
 . ($::Ten - 60_000)) . ']}',
 '{"version":"2.0.2","trips":[' . main::trip_json(3, 1, $::Ten + 100_000,
 $::Ten + 3_600_000, 3500, '"distance":0', '') . ']}']
--- error_code eval
[200, 200]



=== TEST 21: telemetry of an hour, in order, of what came late too
--- init
my @at = ($main::Ten - 1, $main::Ten, $main::Ten + 1_200_498,
    $main::Ten + 1_200_499, $main::Ten + 3_599_999, $main::Ten + 3_600_000);
for my $i (0 .. $#at) {
    my $table = $i == 2 ? 'state_history_late' : 'state_history';
    my $place = $i == 3 ? '"x"' : '{"latitude": ' . $i . ', "longitude": -0.5}';
    Coco::sql("insert into coco.$table values ('s390-a', coco.from_ms($at[$i]),"
        . " '00000000-0000-8000-9000-00000000000$i', now(), 'PARKED',"
        . " '{\"location\": $place, \"battery\": {\"percent\": 99.5}}')");
}
Coco::sql("insert into coco.state_history values ('s390-h', coco.from_ms("
    . "$main::Ten), gen_random_uuid(), now(), 'PARKED', '{\"location\":"
    . " {\"latitude\": 9, \"longitude\": 9}}')");
--- request eval
'GET /mds/telemetry?telemetry_time=' . main::hour($::Ten)
--- response_body eval
'{"version":"2.0.2","telemetry":[' . join(',', map { '{' . main::shared(1)
 . ",\"telemetry_id\":\"00000000-0000-5000-9000-00000000000$_->[0]\","
 . '"timestamp":' . ($::Ten + $_->[1]) . ",\"trip_ids\":$_->[2],"
 . "\"journey_id\":null,\"location\":{\"lat\":$_->[0],\"lng\":-0.5},"
 . '"battery_percent":100}' }
 [1, 0, '["' . main::trip(1) . '"]'],
 [2, 1_200_498, '["' . main::trip(1) . '","' . main::trip(3) . '"]'],
 [4, 3_599_999, '["' . main::trip(3) . '"]']) . ']}'



=== TEST 22: events of an hour
--- init
my ($id, $device, $trip) = (main::event(21), main::device(1), main::trip(1));
Coco::sql("insert into coco.mds_event values ('$id', '$device', 'on_trip',"
    . " '{trip_start,comms_restored}', coco.from_ms($main::Ten),"
    . " coco.from_ms($main::Ten + 7), 1e-7, -180, 0, '{$trip}');"
    . "insert into coco.mds_event values (gen_random_uuid(), '$device',"
    . " 'stopped', '{trip_pause}', coco.from_ms($main::Ten + 3600000), now())");
--- request eval
'GET /mds/events/historical?event_time=' . main::hour($::Ten)
--- response_body eval
'{"version":"2.0.2","events":[{' . main::shared(1) . ',"event_id":"'
 . main::event(21) . '","vehicle_state":"on_trip","event_types":["trip_start",'
 . '"comms_restored"],"timestamp":' . $::Ten . ',"publication_time":'
 . ($::Ten + 7) . ',"location":{"lat":1e-07,"lng":-180},"battery_percent":0,'
 . '"trip_ids":["' . main::trip(1) . '"]}]}'



=== TEST 23: HEAD
--- request eval
['HEAD /mds/vehicles', 'HEAD /mds/trips?end_time=' . main::hour($::Ten),
 'HEAD /mds/trips?end_time=' . main::hour($::Now), 'HEAD /mds/trips']
--- error_code eval
[200, 200, 202, 400]
--- response_headers eval
[("Content-Type: $::Accept") x 4]
--- response_body eval
[('') x 4]



=== TEST 24: Postgres is away
--- http_config eval: Coco::down('postgres')
--- request eval
[map { "GET $_" } '/mds/vehicles', $::Events, '/mds/vehicles/status/'
 . main::device(1), '/mds/telemetry?telemetry_time=' . main::hour($::Ten)]
--- error_code eval
[(503) x 4]
--- response_headers eval
[('Content-Type: application/problem+json') x 4]



=== TEST 25: no robot was heard of yet
--- init
Coco::sql("update coco.mds_progress set since = null, up_to = '-infinity'");
--- request eval
['GET /mds/telemetry?telemetry_time=' . main::hour($::Now),
 'GET /mds/vehicles/status']
--- error_code eval
[404, 200]
--- response_body_like eval
[main::refusal('not_found', 'There was no operation'), '"last_updated":\d{13},']



=== TEST 26: a provider that is no UUID
--- config
location /mds { coco_ops; coco_mds_provider coco; }
--- must_die
--- error_log
coco_mds_provider "coco" is no UUID



=== TEST 27: a provider twice
--- config
location /mds {
    coco_ops;
    coco_mds_provider c0c0b07e-5f1d-4c58-9f6e-2b7f0d3a9e41;
    coco_mds_provider c0c0b07e-5f1d-4c58-9f6e-2b7f0d3a9e41;
}
--- must_die
--- error_log
"coco_mds_provider" directive is duplicate



=== TEST 28: an attribute that the standard does not know
--- config
location /mds { coco_ops; coco_mds_vehicle colour=red; }
--- must_die
--- error_log
coco_mds_vehicle "colour=red" is none of the standard's vehicle_attributes



=== TEST 29: a number that is none
--- config
location /mds { coco_ops; coco_mds_vehicle year=new; }
--- must_die
--- error_log
coco_mds_vehicle "year=new" is not a whole number



=== TEST 30: links of a proxy in front
--- config
coco_mds_url https://mds.example.com/cities/mds;
location /mds {
    coco_ops;
    coco_mds_provider c0c0b07e-5f1d-4c58-9f6e-2b7f0d3a9e41;
}
location /mds/vehicles/status {
    coco_ops;
    coco_mds_provider c0c0b07e-5f1d-4c58-9f6e-2b7f0d3a9e41;
    coco_mds_url off;
}
--- request eval
['GET /mds/vehicles', 'GET ' . $::Events, 'GET /mds/vehicles/status']
--- error_code eval
[200, 200, 200]
--- response_body_like eval
['"first":"https://mds\.example\.com/cities/mds/vehicles"',
 '"first":"https://mds\.example\.com/cities'
 . quotemeta($::Events) . '"',
 '"first":"http://localhost/mds/vehicles/status"']



=== TEST 31: an address that is none
--- config
location /mds { coco_ops; coco_mds_url mds.example.com/mds; }
--- must_die
--- error_log
coco_mds_url "mds.example.com/mds" is not like https://mds.example.com/mds



=== TEST 32: an address that is none
--- config
location /mds { coco_ops; coco_mds_url https:///mds; }
--- must_die
--- error_log
coco_mds_url "https:///mds" is not like https://mds.example.com/mds



=== TEST 33: an address that is none
--- config
location /mds { coco_ops; coco_mds_url https://mds.example.com/mds/; }
--- must_die
--- error_log
coco_mds_url "https://mds.example.com/mds/" is not like https://mds.example.com/mds



=== TEST 34: an address that is none
--- config
location /mds { coco_ops; coco_mds_url https://$host/mds; }
--- must_die
--- error_log
coco_mds_url "https://$host/mds" is not like https://mds.example.com/mds



=== TEST 35: an address that is none
--- config
location /mds { coco_ops; coco_mds_url https://mds.example.com/mds?a=b; }
--- must_die
--- error_log
coco_mds_url "https://mds.example.com/mds?a=b" is not like https://mds.example.com/mds
