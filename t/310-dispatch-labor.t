# GET /fleet/v1/labor/robots/{serial}: the heartbeat cache as it stands, from
# Redis and from the zone, and from the record where Redis has no copy.

use Test::Nginx::Socket;
use Test::More;
use Coco;
use Worker;

no_shuffle();
no_long_string();
worker_connections(256);
add_block_preprocessor(\&Coco::defaults);

# bytes, not a document that would be made again
our $Value = '{"serial":"s310-a",  "odd" : "' . 'v' x 9000 . '"}';
redis('SET', 'robot.heartbeat.cache.s310-a', $Value, 'PX', 600_000);
redis('SET', 'robot.heartbeat.cache.s310-b', '{}', 'PX', 600_000);
redis('DEL', 'robot.heartbeat.cache.s310-gone',
    'robot.heartbeat.cache.s310-list');
redis('LPUSH', 'robot.heartbeat.cache.s310-list', 1);

# A GET, expected to be a HIT or a MISS; its body.
sub got {
    my ($serial, $cache, $what) = @_;
    my $reply = get("/fleet/v1/labor/robots/$serial");
    is("$reply->{status} $reply->{headers}{'x-coco-cache'}", "200 $cache",
        "$serial: $what");
    return $reply->{content};
}

# Until a GET of it is a HIT; its body.
sub kept {
    my ($serial) = @_;
    my $reply;
    await(sub {
        $reply = get("/fleet/v1/labor/robots/$serial");
        return ($reply->{headers}{'x-coco-cache'} // '') eq 'HIT';
    }) or fail("$serial is not kept");
    return $reply->{content};
}

sub state {
    my ($serial, $state, %is) = @_;
    redis('SET', "robot.heartbeat.cache.$serial",
        qq({"serial":"$serial", "operationState": "$state", "x":1}), 'PX',
        $is{left} // 600_000);
    return;
}

sub zone {
    await_fresh();

    state('s310-zone', 'PARKED');
    my $miss = await(sub {
        my $reply = get('/fleet/v1/labor/robots/s310-zone');
        return $reply->{headers}{'x-coco-cache'} eq 'MISS'
            && $reply->{content};
    });
    is(kept('s310-zone'), $miss, 'the same bytes');
    is(get('/fleet/v1/labor/robots/s310-zone', 'HEAD')
        ->{headers}{'content-length'}, length $miss, 'HEAD too');

    is(steady(sub {
        state('s310-zone', 'PARKED');
        invalidate('s310-zone');
        kept('s310-zone');
        state('s310-zone', 'ON_TRIP');
        return get('/fleet/v1/labor/robots/s310-zone')
            ->{headers}{'x-coco-cache'};
    }), 'HIT', 's310-zone: stands until it is dropped');
    invalidate('s310-zone');
    ok(await(sub {
        return get('/fleet/v1/labor/robots/s310-zone')->{content}
            =~ /"ON_TRIP"/;
    }), 'an invalidation drops it');

    # what this host knows of the state goes before the copy's
    my $now = now_ms();
    tell("s310-zone B $now DEPLOYED ------");
    invalidate('s310-zone');
    ok(await(sub {
        return get('/fleet/v1/labor/robots/s310-zone')->{content}
            eq '{"serial":"s310-zone", "operationState": "DEPLOYED", "x":1}';
    }), 'the state of the record, and the rest byte by byte');
    like(redis('GET', 'robot.heartbeat.cache.s310-zone'), qr/ON_TRIP/,
        'the copy is left alone');
    return;
}

# It was served until then at most, ms, and is no more.
sub expires {
    my ($serial, $until) = @_;
    my $last;
    ok(await(sub {
        my $begun = now_ms();
        my $reply = get("/fleet/v1/labor/robots/$serial");
        $last = $begun if $reply->{status} == 200;
        return $reply->{status} == 404;
    }), "$serial expires");
    cmp_ok($last, '<=', $until + 5, 'in its time');
    return;
}

# ms, that a copy has yet to live when it is kept
our $Left = 5000 * ($ENV{TEST_NGINX_USE_VALGRIND} ? 4 : 1);

# No longer than the copy itself.
sub expired {
    await_fresh();
    state('s310-short', 'PARKED', left => $Left);
    my $until = now_ms() + $Left;
    kept('s310-short');
    expires('s310-short', $until);
    return;
}

# A robot that only Postgres knows, heard so long ago.
our $Ttl = 2 * $Coco::Window;
our $Beat = '{"healthy": false, "battery": {"percent": 7, "odd": [1.50]},'
    . ' "location": {"latitude": 1, "longitude": 2}}';

sub heard {
    my ($serial, $ago, %is) = @_;
    robot($serial, ts => now_ms() - $ago, details => $Beat, %is);
    return;
}

sub copy { return redis('GET', "robot.heartbeat.cache.$_[0]") }

# It is put back, for the time that remains, and never over another one.
sub recorded {
    heard('s310-record', 40_000, operation => 'GROUNDED');
    my $body = got('s310-record', 'MISS', 'by the record');
    like($body, qr/^\{"serial":"s310-record","id":"[-0-9a-f]{36}",
        "ts":\d+,"receivedAt":\d+,"operationState":"GROUNDED",
        "healthy":false,"battery":\{"odd":\ \[1\.50\],\ "percent":\ 7\},
        "location":\{"latitude":\ 1,\ "longitude":\ 2\},
        "components":null\}$/x, 'is RobotState');
    ok(await(sub { return copy('s310-record') eq $body }),
        'the copy is put back');
    my $left = redis('PTTL', 'robot.heartbeat.cache.s310-record');
    cmp_ok($left, '<=', $Ttl - 40_000, 'for what remains');
    cmp_ok($left, '>', $Ttl - 100_000, 'and no less');

    heard('s310-old', $Ttl + 1);
    is(get('/fleet/v1/labor/robots/s310-old')->{status}, 404, 'too old');
    robot('s310-ahead', ts => now_ms() + 3_600_000, details => $Beat,
        received => now_ms() - $Ttl - 1);
    is(get('/fleet/v1/labor/robots/s310-ahead')->{status}, 404,
        'also when its clock is ahead');
    is(copy($_), '', "$_ has no copy") for 's310-old', 's310-ahead';
    return;
}

# From the zone, for no longer than the copy would have been there.
sub recorded_zone {
    my ($until, $body, $reply) = @{ steady(sub {
        heard('s310-zoned', $Ttl - $Left);
        my $end = now_ms() + $Left;
        invalidate('s310-zoned');
        my $kept = kept('s310-zoned');
        redis('DEL', 'robot.heartbeat.cache.s310-zoned');
        return [$end, $kept, get('/fleet/v1/labor/robots/s310-zoned')];
    }) };
    is("$reply->{status} $reply->{headers}{'x-coco-cache'}", '200 HIT',
        's310-zoned: by the zone');
    is($reply->{content}, $body, 'the same bytes');
    expires('s310-zoned', $until);
    return;
}

sub stale {
    state('s310-stale', 'PARKED');
    kept('s310-stale');
    worker_kill();
    ok(await_fresh(0), 'not fresh without beats');
    state('s310-stale', 'ON_TRIP');
    like(got('s310-stale', 'MISS', 'nothing is served from it'), qr/ON_TRIP/,
        'but what is true');
    robot('s310-known', state => 'PARKED', operation => 'GROUNDED');
    state('s310-known', 'PARKED');
    like(got('s310-known', 'MISS', 'nor by Redis alone'), qr/GROUNDED/,
        'the operation state is that of Postgres');
    worker_start();
    ok(await_fresh(), 'fresh again');
    return;
}

worker_start();
plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: as it stands
--- request
GET /fleet/v1/labor/robots/s310-a
--- response_headers
Content-Type: application/json
--- response_body eval: $::Value



=== TEST 2: HEAD
--- request
HEAD /fleet/v1/labor/robots/s310-b
--- response_headers
Content-Length: 2
--- response_body



=== TEST 3: expired or never there
--- request
GET /fleet/v1/labor/robots/s310-gone
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":404



=== TEST 4: serials, paths and methods that are none
--- request eval
['GET /fleet/v1/labor/robots/a%20b', 'GET /fleet/v1/labor/robots/stream',
 'GET /fleet/v1/labor/robots/', 'GET /fleet/v1/labor', 'GET /fleet',
 "POST /fleet/v1/labor/robots/s310-a\n{}"]
--- error_code eval
[400, 400, 404, 404, 404, 405]



=== TEST 5: tokens
--- more_headers eval
['X-None: 1', Coco::bearer(scope => 'robots:read fleet:readx'),
 Coco::bearer(scope => 'fleet:read'), Coco::bearer(exp => 1)]
--- request eval
[('GET /fleet/v1/labor/robots/s310-b') x 4]
--- error_code eval
[401, 403, 200, 401]



=== TEST 6: pipelined on one connection, in order
--- pipelined_requests eval
['GET /fleet/v1/labor/robots/s310-b', 'GET /fleet/v1/labor/robots/s310-gone',
 'GET /fleet/v1/labor/robots/s310-a', 'GET /fleet/v1/labor/robots/s310-b']
--- error_code eval
[200, 404, 200, 200]
--- response_body_like eval
[qr/^\{\}$/, qr/404/, qr/v{9000}/, qr/^\{\}$/]



=== TEST 7: a key that is no string
--- request
GET /fleet/v1/labor/robots/s310-list
--- error_code: 404
--- error_log
redis refused GET: WRONGTYPE



=== TEST 8: without Redis
--- http_config eval: Coco::down('redis')
--- init
main::heard('s310-record', 0);
--- request eval
['GET /fleet/v1/labor/robots/s310-record',
 'GET /fleet/v1/labor/robots/s310-gone']
--- error_code eval
[200, 404]
--- response_body_like eval
[qr/"serial":"s310-record",.*"operationState":"PARKED"/, qr/expired/]



=== TEST 9: without Redis in the configuration
--- http_config eval: Coco::http_config(coco_redis => undef)
--- init
main::heard('s310-record', 0);
--- request eval
['GET /fleet/v1/labor/robots/s310-record',
 'GET /fleet/v1/labor/robots/s310-gone']
--- error_code eval
[200, 404]



=== TEST 10: without Postgres
--- http_config eval: Coco::down('postgres')
--- request eval
['GET /fleet/v1/labor/robots/s310-b',
 'GET /fleet/v1/labor/robots/s310-gone']
--- error_code eval
[200, 503]
--- response_body_like eval
[qr/^\{\}$/, qr/Postgres cannot be reached/]



=== TEST 11: without a zone the operation state is Postgres'
--- init
main::robot('s310-state', state => 'PARKED', operation => 'GROUNDED');
main::state('s310-state', 'PARKED');
--- request
GET /fleet/v1/labor/robots/s310-state
--- response_body chomp
{"serial":"s310-state", "operationState": "GROUNDED", "x":1}



=== TEST 12: from the zone
--- http_config eval: Coco::http_config(coco_zone => '16m robots=5000')
--- config eval: Coco::locations() . "location /metrics { coco_metrics; }\n"
--- init
main::zone();
main::expired();
main::recorded_zone();
main::stale();
--- request
GET /fleet/v1/labor/robots/s310-a
--- response_body eval: $::Value



=== TEST 13: Redis has no copy
--- init
main::recorded()
--- request
GET /fleet/v1/labor/robots/s310-old
--- error_code: 404



=== TEST 14: Redis has no copy, and Postgres is away
--- http_config eval: Coco::down('redis', 'postgres')
--- request
GET /fleet/v1/labor/robots/s310-record
--- error_code: 503
--- response_headers
Retry-After: 1
