# Answers that are streams: whole at every page's edge, over all that HTTP has
# for their end, beside filters that hold output back.

use Test::Nginx::Socket;
use Coco;
use POSIX qw(strftime);

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our $Provider = 'c0c0b07e-5f1d-4c58-9f6e-2b7f0d3a9e41';
our $Location = "coco_ops; coco_mds_provider $Provider;";
our $Headers = bearer(scope => 'mds:read')
    . "\nAccept: application/vnd.mds+json;version=2.0";

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(config => "location /mds { $Location }")
        if $block->config !~ /coco_mds/;
    $block->set_value(more_headers => $Headers)
        if $block->more_headers !~ /Accept/;
});

our $Day = int(now_ms() / 86400_000) * 86400_000 - 86400_000;

# events in the hours from 0 on, a page having 1000; those of the last hour are
# all of one time, of a vehicle each, so that ids alone divide its pages
our @Events = (0, 1, 999, 1000, 1001, 2500, 2300);

sub hour {
    my ($n) = @_;
    return strftime '%Y-%m-%dT%H', gmtime $Day / 1000 + 3600 * $n;
}

sub clean {
    sql("delete from coco.mds_event; delete from coco.mds_trip;"
        . "delete from coco.mds_vehicle; delete from coco.state_history where"
        . " serial like 's391%'; update coco.mds_progress set since = null,"
        . " up_to = '-infinity'");
}

clean();
sql("update coco.mds_progress set since = coco.from_ms($Day), up_to = now();"
    . "select coco.state_history_partition_create(coco.from_ms($Day)::date);"

    # 2,300 vehicles, of which few have moved
    . "insert into coco.mds_vehicle (serial, device_id, registered_at, memory,"
    . " vehicle_state) select 's391-' || lpad(n::text, 4, '0'),"
    . " ('0000000d-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, now(),"
    . " '{}', 'available' from generate_series(1, 2300) n;"

    . join '', map {
        "insert into coco.mds_event (event_id, device_id, vehicle_state,"
        . " event_types, ts, publication_time) select ('0000000$_-0000-4000-"
        . "8000-' || lpad(n::text, 12, '0'))::uuid, ('0000000d-0000-4000-8000-'"
        . " || lpad((n % 2300 + 1)::text, 12, '0'))::uuid, 'available',"
        . " '{service_start}', coco.from_ms($Day + $_ * 3600000 + 1000 * n),"
        . " coco.from_ms($Day) from generate_series(1, $Events[$_]) n;"
    } 0 .. 5);

sql("insert into coco.mds_event (event_id, device_id, vehicle_state,"
    . " event_types, ts, publication_time) select ('00000006-0000-4000-8000-'"
    . " || lpad(n::text, 12, '0'))::uuid, v.device_id, 'available',"
    . " '{service_start}', coco.from_ms($Day + 6 * 3600000),"
    . " coco.from_ms($Day) from (select row_number() over (order by serial) n,"
    . " device_id from coco.mds_vehicle) v");

# Heartbeats of the vehicles at the edges of what one call looks at, and one
# with more than a page.
our %Beats = (1 => 1, 1000 => 2, 1001 => 1000, 1500 => 1, 2000 => 3, 2300 => 1);
sql(join '', map { "insert into coco.state_history select 's391-"
    . sprintf('%04d', $_) . "', coco.from_ms($Day + n), gen_random_uuid(),"
    . " now(), 'PARKED', '{\"location\": {\"latitude\": 1, \"longitude\":"
    . " 2}}' from generate_series(1, $Beats{$_}) n;" } sort keys %Beats);

sub events {
    my ($hour) = @_;
    return '{"version":"2.0.2","events":[' . join(',', map {
        my $device = ($hour == 6 ? $_ - 1 : $_ % 2300) + 1;
        sprintf('{"provider_id":"%s","device_id":"0000000d-0000-4000-8000-'
            . '%012d","event_id":"0000000%d-0000-4000-8000-%012d",'
            . '"vehicle_state":"available","event_types":["service_start"],'
            . '"timestamp":%d,"publication_time":%d,"event_geographies":[]}',
            $Provider, $device, $hour, $_, $Day + $hour * 3600_000
            + ($hour == 6 ? 0 : 1000 * $_), $Day)
        } 1 .. $Events[$hour]) . ']}';
}

sub asked {
    return map { 'GET /mds/events/historical?event_time=' . hour($_) } @_;
}

# What is said of each vehicle, in order, without the ids of its heartbeats.
sub beats {
    return '^\{"version":"2.0.2","telemetry":\[' . join(',', map {
        my $device = sprintf '0000000d-0000-4000-8000-%012d', $_;
        map { sprintf '\{"provider_id":"[^"]+","device_id":"%s",'
            . '"telemetry_id":"[^"]{14}5[^"]+","timestamp":%d,[^}]*\}\}',
            $device, $Day + $_ } 1 .. $Beats{$_}
        } sort { $a <=> $b } keys %Beats) . '\]\}$';
}

plan 'no_plan';
run_tests();

clean();

__DATA__

=== TEST 1: whole at every page's edge
--- request eval
[main::asked(0 .. 6)]
--- response_body eval
[map { main::events($_) } 0 .. 6]
--- raw_response_headers_like eval
[('Transfer-Encoding: chunked') x 7]
--- error_code eval
[(200) x 7]



=== TEST 2: vehicles that have nothing to tell between those that have
--- request eval
'GET /mds/telemetry?telemetry_time=' . main::hour(0)
--- response_body_like eval: main::beats()



=== TEST 3: nothing at all, of many vehicles
--- request eval
'GET /mds/telemetry?telemetry_time=' . main::hour(1)
--- response_body chomp
{"version":"2.0.2","telemetry":[]}



=== TEST 4: one after another on one connection
--- pipelined_requests eval
[main::asked(5, 1, 4, 0)]
--- response_body eval
[map { main::events($_) } 5, 1, 4, 0]
--- error_code eval
[(200) x 4]



=== TEST 5: HTTP/1.0, whose end is that of the connection
--- request eval
join('', main::asked(5)) . ' HTTP/1.0'
--- response_body eval: main::events(5)
--- raw_response_headers_unlike: Transfer-Encoding



=== TEST 6: HEAD asks for no page
--- request eval
'HEAD /mds/events/historical?event_time=' . main::hour(5)
--- response_body
--- error_code: 200



=== TEST 7: at a rate
--- config eval: "location /mds { $::Location limit_rate 1m; sendfile on; }"
--- request eval
main::asked(5)
--- response_body eval: main::events(5)
--- timeout: 10



=== TEST 8: beside filters that keep some of it
--- config eval
"location /mds { $::Location sub_filter_types *; sub_filter_once off;
 sub_filter service_start service_end; postpone_output 100000; }"
--- request eval
main::asked(5)
--- response_body eval: main::events(5) =~ s/service_start/service_end/gr



=== TEST 9: the first page cannot be had
--- http_config eval: Coco::down('postgres')
--- request eval
main::asked(5)
--- error_code: 503
--- response_headers
Content-Type: application/problem+json
