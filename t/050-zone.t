# coco_zone: what it takes, what its metrics say, a fleet that it has no room
# for, and robots=0.

use Test::Nginx::Socket;
use Test::More;
use Coco;
use Worker;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

# must_die blocks log an [emerg], which is no alert
our $Locations = Coco::locations() . "location /metrics { coco_metrics; }\n";

supply("s050-$_", 37.7, -122.4) for 1 .. 3;
robot('s050-1');
sql("update coco.resource set change_txid = pg_current_xact_id()"
    . " where id like 's050%'");
worker_start();

sub zone {
    my ($arguments, %is) = @_;
    return Coco::http_config(coco_zone => $arguments, %is);
}

sub hit {
    return get('/robots/s050-1')->{headers}{'x-coco-cache'} eq 'HIT';
}

sub fleet {
    my %is;
    ok(await(sub {
        %is = metrics();
        return $is{zone_fresh}
            && !grep { /^feed_lag_/ && $is{$_} > 500 } keys %is;
    }), 'it is fresh');
    is($is{zone_robots}, sql('select count(*) from coco.resource'),
        'all robots are there');
    is($is{zone_capacity_robots}, 5000, 'with room for more');
    is($is{zone_full}, 0, 'it is not full');
    cmp_ok($is{'feed_lag_milliseconds{feed="changes"}'}, '<=', 500, 'changes');
    cmp_ok($is{'feed_lag_milliseconds{feed="workers"}'}, '<=', 500, 'workers');
    return;
}

sub full {
    ok(await_fresh(), 'documents are served from it');
    my %is = metrics();
    is($is{zone_robots}, 2, 'it holds what it has room for');
    is($is{zone_full}, 1, 'and says that it is not all');
    is(get('/robots/s050-1')->{headers}{'x-coco-cache'}, 'MISS', 'a miss');
    ok(await(\&hit), 'a hit');
    return;
}

sub none {
    ok(await_fresh(), 'it is fresh');
    my %is = metrics();
    is($is{zone_robots}, 0, 'no robots');
    is($is{zone_capacity_robots}, 0, 'and no room for one');
    ok(await(\&hit), 'documents');
    return;
}

sub silent {
    my $stale = 'documents_total{document="robot",outcome="stale"}';
    my %is = metrics();
    my $before = $is{$stale};       # a reload keeps what was counted
    is($is{zone_fresh}, 0, 'not without a worker');
    is(get('/robots/s050-1')->{headers}{'x-coco-cache'}, 'MISS', 'a miss')
        for 1, 2;
    %is = metrics();
    is($is{$stale} - $before, 2, 'counted');
    return;
}

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: the fleet
--- http_config eval: main::zone('8m robots=5000')
--- config eval: $::Locations
--- init
main::fleet()
--- request
GET /metrics
--- response_body_like: coco_zone_robots



=== TEST 2: more robots than it has room for: said once, and documents go on
--- http_config eval: main::zone('2m robots=2')
--- config eval: $::Locations
--- init
main::full()
--- request
GET /metrics
--- response_body_like: coco_zone_full 1
--- grep_error_log eval: qr/\[error\] .*no room for more than 2 robots/
--- grep_error_log_out eval
qr/^\[error\] [^\n]*no room for more than 2 robots\n?$/



=== TEST 3: documents alone
--- http_config eval: main::zone('1m robots=0')
--- config eval: $::Locations
--- init
main::none()
--- request
GET /metrics
--- response_body_like: coco_zone_robots 0



=== TEST 4: without Redis it is never fresh
--- http_config eval: main::zone('8m', coco_redis => undef)
--- config eval: $::Locations
--- init
main::silent()
--- request
GET /metrics
--- response_body_like: coco_zone_fresh 0



=== TEST 5: without Postgres neither
--- http_config
coco_zone 4m robots=100;
--- config
location = /metrics { coco_metrics; }
--- request
GET /metrics
--- response_body_like: coco_zone_fresh 0



=== TEST 6: no room for a document
--- http_config
coco_zone 1m robots=100000;
--- config
--- must_die
--- error_log
"coco_zone": size "1m" has no room for 100000 robots



=== TEST 7: no size
--- http_config
coco_zone much;
--- config
--- must_die
--- error_log
"coco_zone": size "much" has no room



=== TEST 8: no number
--- http_config
coco_zone 8m robots=many;
--- config
--- must_die
--- error_log
"coco_zone": invalid parameter "robots=many"



=== TEST 9: more than can be numbered
--- http_config
coco_zone 8m robots=4294967296;
--- config
--- must_die
--- error_log
"coco_zone": invalid parameter "robots=4294967296"



=== TEST 10: another parameter
--- http_config
coco_zone 8m size=1;
--- config
--- must_die
--- error_log
"coco_zone": invalid parameter "size=1"



=== TEST 11: twice
--- http_config
coco_zone 8m;
coco_zone 16m;
--- config
--- must_die
--- error_log
"coco_zone" directive is duplicate
