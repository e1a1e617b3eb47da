# The feed of the zone: what workers say and what others commit is in the next
# quote; what is no feed is refused; without it, quotes go by what is
# committed. How it is cut and comes back: tests/e2e/feed.

use Test::Nginx::Socket;
use Test::More;
use Coco;
use JSON::PP;
use Worker;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our $Locations = Coco::locations() . "location /metrics { coco_metrics; }\n";

# What a hundredth of a degree is, with the detour, in metres.
our $Step = 1501.1;

# more than a page of a load, and than a process' fleet has room for at first
sql(<<'END');
delete from coco.resource where id like 's060%';
insert into coco.resource (id, data, business_changed_at)
select s, coco.supply_blank(s) || '{"operationState":"PARKED"}', now()
  from (select 's060-many-' || n from generate_series(1, 1100) n) as t(s);
END
supply('s060-a', 60, 10);
worker_start();

sub zone {
    my (%is) = @_;
    return Coco::http_config(coco_zone => '8m robots=5000', %is);
}

# Metres from the place to the robot that is there first; -1 when none is.
sub quoted {
    my $place = '{"latitude":60,"longitude":10}';
    my $reply = get('/quote', 'POST',
        qq({"pickup":$place,"dropoff":$place}));
    return $reply->{success}
        ? decode_json($reply->{content})->{distanceMeters} // -1 : -2;
}

sub stands {
    my ($steps, $what) = @_;
    my $is;
    await(sub { $is = quoted(); abs($is - $steps * $Step) < 2 });
    cmp_ok(abs($is - $steps * $Step), '<', 2, $what);
    return;
}

# The robot's telemetry at a time, so many steps north.
sub telemetry {
    my ($steps, $ts) = @_;
    return sprintf 's060-a T %d 100000000 80 %d %d '
        . '11111111-1111-8111-8111-111111111111 1',
        600000000 + $steps * 100000, $ts, $ts;
}

# By how much it grew, once it is by so many at least.
sub growth {
    my ($name, $by, $was) = @_;
    my %is;
    await(sub { %is = metrics(); $is{$name} >= $$was{$name} + $by });
    return $is{$name} - $$was{$name};
}

sub grew {
    my ($name, $by, $was, $what) = @_;
    is(growth($name, $by, $was), $by, $what);
    return;
}

# By how much the loads for quotes grew by one that was made while the zone
# was fresh for sure: by what had come before, it would still be so after it.
sub loads_of_quote {
    my $grown;
    await(sub {
        my $begun = now_ms();
        my %was = metrics();
        quoted();
        my %is = metrics();
        my ($lag) = sort { $b <=> $a } map { $was{$_} }
            grep { /^feed_lag_/ } keys %was;
        $grown = $is{supply_loads_total} - $was{supply_loads_total};
        return $was{zone_fresh} && $is{zone_fresh}
            && $lag + now_ms() - $begun < 500
            && $is{feed_loads_total} == $was{feed_loads_total};
    }) or return 'not fresh for long enough';
    return $grown;
}

# This block's process has loaded the fleet: after a reload the zone is fresh
# by the one before.
sub begin {
    my $loads = $ENV{TEST_NGINX_USE_HUP} ? our $Loads // 0 : 0;
    ok(await(sub { my %is = metrics();
        return $is{feed_loads_total} > $loads }), 'it was loaded');
    ok(await_fresh(), 'it is fresh');
    return;
}

sub end {
    my %is = metrics();
    our $Loads = $is{feed_loads_total};
    return;
}

sub told {
    begin();
    my ($lines, $loads) = @{ steady(sub {
        my $ts = now_ms();
        my %was = metrics();
        tell(telemetry(1, $ts + 1));
        stands(1, 'a robot moves');
        tell(telemetry(7, $ts), telemetry(2, $ts + 2));
        stands(2, 'and on; what is late counts not');
        tell('s060-a B ' . ($ts + 3) . ' GROUNDED ------');
        ok(await(sub { quoted() == -1 }), 'it is grounded');
        tell('s060-a B ' . ($ts + 4) . ' PARKED ------',
            's060-new D 1 0 0');
        stands(2, 'and not any more');
        return [map { growth(@$_, \%was) } ['feed_lines_total', 6],
            ['feed_loads_total', 0]];
    }) };
    is($lines, 6, 'each line was taken');
    is($loads, 0, 'nothing was loaded');
    is(loads_of_quote(), 0, 'neither for a quote')
        unless $ENV{TEST_NGINX_USE_VALGRIND};   # too slow to stay fresh
    end();
    return;
}

sub refused {
    begin();
    my ($refused, $loads) = @{ steady(sub {
        my %was = metrics();
        redis('PUBLISH', 'coco.supply', $_)
            for '', "nobody\ns060-a D 1 0 0\n", '@' . 'x' x 97, '@';
        tell('s060-a', 's060-a X', "s060-a T\0", 's060-b D 1 0 0');
        redis('PUBLISH', 'coco.invalidate', $_)
            for '{"serials":["s060-a","s060-none"]}', '{"serials":[]}';
        return [map { growth(@$_, \%was) } ['feed_refused_total', 6],
            ['feed_loads_total', 0]];
    }) };
    is($refused, 6, 'what is none is refused');
    is($loads, 0, 'nothing was loaded');

    # whatever it was to say, all may have changed
    for my $text ('{"all":true}', '{"serials":[1]}', '{"serials":"s060-a"}',
        '{', '[]', '{}', '{"some":1}')
    {
        is(steady(sub {
            my %was = metrics();
            redis('PUBLISH', 'coco.invalidate', $text);
            my $grown = growth('feed_loads_total', 1, \%was);
            await_fresh();
            return $grown;
        }), 1, "$text: it is loaded");
    }
    ok(await_fresh(), 'and fresh');
    end();
    return;
}

sub committed {
    begin();
    my $set = 'business_changed_at = clock_timestamp(),'
        . ' change_txid = pg_current_xact_id()';
    my $changes = 1 + sql(
        "select count(*) from coco.resource where id like 's060%'");
    my ($lines, $loads) = @{ steady(sub {
        my %was = metrics();
        sql("update coco.resource set $set, data = data ||"
            . " '{\"operationState\":\"GROUNDED\"}' where id = 's060-a'");
        ok(await(sub { quoted() == -1 }), 'it is grounded');

        # by the feed: a quote may have come by a load of its own
        growth('feed_lines_total', 1, \%was);
        sql("update coco.resource set $set, data = data ||"
            . " '{\"operationState\":\"PARKED\"}' where id like 's060%'");
        ok(await(sub { quoted() >= 0 }), 'and not any more');
        return [map { growth(@$_, \%was) } ['feed_lines_total', $changes],
            ['feed_loads_total', 0]];
    }) };
    is($lines, $changes, 'each change was read once');
    is($loads, 0, 'nothing was loaded');
    end();
    return;
}

sub silent {
    begin();
    worker_kill();
    ok(await_fresh(0), 'not without the worker');
    my %was = metrics();
    supply('s060-a', 60.03, 10);
    stands(3, 'what is committed is seen');
    grew('supply_loads_total', 1, \%was, 'by a load');
    worker_start();
    ok(await_fresh(), 'fresh with it');
    worker_bye();
    await_fresh(0);
    worker_start();
    ok(await_fresh(), 'again, after it had said that it went');
    end();
    return;
}

sub none {
    my %was = metrics();
    supply('s060-a', 60.04, 10);
    stands(4, 'what is committed is seen');
    supply('s060-a', 60.05, 10);
    stands(5, 'each time');
    grew('supply_loads_total', 2, \%was, 'by a load');
    return;
}

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: what a worker says
--- http_config eval: main::zone()
--- config eval: $::Locations
--- init
main::told()
--- request
GET /metrics
--- response_body_like: coco_zone_capacity_robots 5000



=== TEST 2: what is no feed
--- http_config eval: main::zone()
--- config eval: $::Locations
--- init
main::refused()
--- request
GET /metrics
--- response_body_like: coco_zone_capacity_robots 5000



=== TEST 3: what others commit
--- http_config eval: main::zone()
--- config eval: $::Locations
--- init
main::committed()
--- request
GET /metrics
--- response_body_like: coco_zone_capacity_robots 5000



=== TEST 4: a worker that is silent, and one that goes
--- http_config eval: main::zone()
--- config eval: $::Locations
--- init
main::silent()
--- request
GET /metrics
--- response_body_like: coco_zone_capacity_robots 5000



=== TEST 5: no zone at all
--- config eval: $::Locations
--- init
main::none()
--- request
GET /metrics
--- response_body_like: coco_supply_waiting 0



=== TEST 6: a zone that is too small
--- http_config eval: main::zone(coco_zone => '2m robots=1000')
--- config eval: $::Locations
--- init
main::none()
--- request
GET /metrics
--- response_body_like: coco_supply_waiting 0
