# GET /anomalies: what they show, pages, and filters.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our @Kind = qw(NO_DELIVERY SEVERAL_DELIVERIES NEVER_CLOSED CLOSE_WITHOUT_OPEN
    RESYNC);
our @Id = map { sprintf '25200000-0000-8000-8000-00000000000%d', $_ } 0 .. 5;
our ($One, $Two, $Cycle) = map { '25200000-0000-4000-8000-00000000000' . $_ }
    1 .. 3;

# newer than whatever else is found meanwhile; the last two at one time
our $At = now_ms() + 1000_000;
our @At = map { $At + ($_ < 5 ? $_ : 4) } 0 .. 5;

sql("delete from coco.anomaly where serial like 's252-%'");
sql(join "\n", map { <<"END" } 0 .. 5);
insert into coco.anomaly (id, kind, serial, ts, reason, candidates, cycle_id)
values ('$Id[$_]', '$Kind[$_ % 5]', 's252-@{[ $_ % 2 ]}', coco.from_ms($At[$_]),
        's252 "reason"', case when $_ = 1 then array['$One', '$Two']::uuid[]
                              else '{}' end,
        case when $_ > 0 then '$Cycle'::uuid end);
END

sub item {
    my ($i) = @_;
    return qq({"id":"$Id[$i]","kind":"$Kind[$i % 5]","serial":"s252-)
        . $i % 2 . qq(","ts":$At[$i],"reason":"s252 \\"reason\\"",)
        . '"candidates":[' . ($i == 1 ? qq("$One","$Two") : '')
        . '],"cycleId":' . ($i ? qq("$Cycle") : 'null') . '}';
}

sub page {
    my ($last, @items) = @_;
    return '{"items":[' . join(',', map { item($_) } @items)
        . '],"nextCursor":' . (defined $last
            ? '"' . Coco::cursor($At[$last], $Id[$last]) . '"' : 'null') . '}';
}

plan 'no_plan';
run_tests();

sql("delete from coco.anomaly where serial like 's252-%'");

__DATA__

=== TEST 1: newest first, cut within one time
--- request eval
['GET /anomalies?limit=6', 'GET /anomalies?limit=1',
 'GET /anomalies?limit=2&cursor=' . Coco::cursor($::At[5], $::Id[5])]
--- error_code eval
[200, 200, 200]
--- response_body_like eval
my $all = CORE::join ',', map { main::item($_) } 5, 4, 3, 2, 1, 0;
[qr/^\{"items":\[\Q$all\E\],"nextCursor":/,
 map { qr/^\Q$_\E$/ } main::page(5, 5), main::page(3, 4, 3)]



=== TEST 2: of a robot, of a kind, of both
--- request eval
[map { "GET /anomalies?$_" } 'serial=s252-1', 'serial=s252-1&limit=2',
 'kind=RESYNC&limit=1', 'kind=NO_DELIVERY&serial=s252-0',
 'kind=NO_DELIVERY&serial=s252-1', 'kind=RESYNC&serial=s252-1']
--- error_code eval
[(200) x 6]
--- response_body_like eval
[map { qr/^\Q$_\E/ } main::page(undef, 5, 3, 1), main::page(3, 5, 3),
 '{"items":[' . main::item(4) . ']', main::page(undef, 0),
 main::page(undef, 5), main::page(undef)]



=== TEST 3: filters that are none
--- request eval
[map { "GET /anomalies?$_" } 'kind=resync', 'kind=', 'serial=a%2Fb',
 'limit=0', 'cursor=x', 'cursor=' . Coco::cursor(1, 'a')]
--- error_code eval
[(400) x 6]
--- response_body_like eval
[map { qr/"field":"$_"/ } qw(kind kind serial limit cursor cursor)]



=== TEST 4: scopes and methods
--- more_headers eval
[Coco::bearer(scope => 'deliveries:write'), 'X-None: 1', Coco::bearer()]
--- request eval
['GET /anomalies', 'GET /anomalies', 'DELETE /anomalies']
--- error_code eval
[403, 401, 405]



=== TEST 5: without Postgres
--- http_config eval: Coco::down('postgres')
--- request
GET /anomalies
--- error_code: 503
