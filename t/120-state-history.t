# GET /state/{serial}/history: newest first, history and what came late read
# together, pages that end, bounds, and cursors that were tampered with.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

# seven heartbeats, a second apart and two of them at the same time, every
# third among the late ones
our $Ts = now_ms() - 3600_000;
our @Id = map { sprintf '00000000-0000-8000-8000-00000000000%d', $_ } 0 .. 6;
our @Date = map { $Ts + 1000 * ($_ == 4 ? 3 : $_) } 0 .. 6;

sql("delete from coco.state_history where serial = 's120-a';"
    . "delete from coco.state_history_late where serial = 's120-a';"
    . "select coco.state_history_partition_create((now() - $_ * interval"
    . " '1 hour')::date) from generate_series(0, 1) as $_;")
    for 'h';

for my $i (0 .. 6) {
    my $table = $i % 3 == 1 ? 'state_history_late' : 'state_history';
    sql("insert into coco.$table values ('s120-a', coco.from_ms($Date[$i]),"
        . " '$Id[$i]', coco.from_ms($Date[$i] + 5), 'PARKED',"
        . " '{\"n\": $i}')");
}

sub item {
    my ($i) = @_;
    return qq({"id":"$Id[$i]","serial":"s120-a","date":$Date[$i],)
        . qq("ts":$Date[$i],"receivedAt":) . ($Date[$i] + 5)
        . qq(,"state":"PARKED","details":{"n": $i}});
}

sub page {
    my ($next, @items) = @_;
    $next = defined $next ? '"' . cursor($Date[$next], $Id[$next]) . '"'
                          : 'null';
    return '{"items":[' . join(',', map { item($_) } @items)
        . qq(],"nextCursor":$next});
}

sub at {
    my ($i) = @_;
    return cursor($Date[$i], $Id[$i]);
}

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: all of it, newest first
--- request
GET /state/s120-a/history
--- response_body eval
main::page(undef, 6, 5, 4, 3, 2, 1, 0)



=== TEST 2: page by page to the end, across a time that two share
--- request eval
['GET /state/s120-a/history?limit=3',
 'GET /state/s120-a/history?limit=3&cursor=' . main::at(4),
 'GET /state/s120-a/history?limit=3&cursor=' . main::at(1)]
--- response_body eval
[main::page(4, 6, 5, 4), main::page(1, 3, 2, 1), main::page(undef, 0)]
--- error_code eval
[200, 200, 200]



=== TEST 3: a page that is exactly the rest has no next
--- request eval
'GET /state/s120-a/history?limit=4&cursor=' . main::at(4)
--- response_body eval
main::page(undef, 3, 2, 1, 0)



=== TEST 4: from is inclusive, to exclusive
--- request eval
["GET /state/s120-a/history?from=$::Date[1]&to=$::Date[5]",
 "GET /state/s120-a/history?from=$::Date[6]",
 "GET /state/s120-a/history?to=$::Date[0]",
 "GET /state/s120-a/history?from=$::Date[5]&to=$::Date[1]",
 "GET /state/s120-a/history?limit=1&from=$::Date[1]&cursor=" . main::at(2)]
--- response_body eval
[main::page(undef, 4, 3, 2, 1), main::page(undef, 6), main::page(undef),
 main::page(undef), main::page(undef, 1)]
--- error_code eval
[200, 200, 200, 200, 200]



=== TEST 5: an unknown robot has no history
--- request
GET /state/s120-nobody/history
--- response_body chomp
{"items":[],"nextCursor":null}



=== TEST 6: limits that are none
--- request eval
[map { "GET /state/s120-a/history?limit=$_" }
 0, 501, -1, 'x', '', '1e2', '99999999999999999999']
--- error_code eval
[(400) x 7]
--- response_body_like eval
[(qr/"field":"limit"/) x 7]



=== TEST 7: the largest limit
--- request
GET /state/s120-a/history?limit=500
--- response_body eval
main::page(undef, 6, 5, 4, 3, 2, 1, 0)



=== TEST 8: times that are none
--- request eval
['GET /state/s120-a/history?from=yesterday',
 'GET /state/s120-a/history?from=1.5', 'GET /state/s120-a/history?to=',
 'GET /state/s120-a/history?to=-1',
 'GET /state/s120-a/history?to=253402300800000']
--- error_code eval
[(400) x 5]
--- response_body_like eval
[(qr/"field":"from"/) x 2, (qr/"field":"to"/) x 3]



=== TEST 9: cursors tampered with
--- request eval
[map { "GET /state/s120-a/history?cursor=$_" }
 'x', '%00', 'A' x 400, Coco::cursor(1, 'no-uuid'),
 Coco::cursor(-1, $::Id[1]), Coco::cursor('', $::Id[1]),
 Coco::cursor(1, "$::Id[1]\0"), substr(main::at(1), 1), '']
--- error_code eval
[(400) x 9]
--- response_body_like eval
[(qr/"field":"cursor"/) x 9]



=== TEST 10: without Postgres
--- http_config eval: Coco::down('postgres')
--- request
GET /state/s120-a/history
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: Postgres cannot be reached



