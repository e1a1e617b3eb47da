# GET /robots/{serial} from the zone: what is kept and for how long, what drops
# it, and that nobody reads what is old.

use Test::Nginx::Socket;
use Test::More;
use Coco;
use Worker;
use HTTP::Tiny;
use IO::Socket::INET;
use Time::HiRes qw(sleep);

no_shuffle();
no_long_string();
worker_connections(256);
add_block_preprocessor(\&Coco::defaults);

our $Locations = Coco::locations() . "location /metrics { coco_metrics; }\n";
our $Processes = $ENV{TEST_NGINX_USE_HUP} ? 2 : 1;
our $Window = 8000 * ($ENV{TEST_NGINX_USE_VALGRIND} ? 20 : 1);

sub zone {
    my ($arguments, %is) = @_;
    return Coco::http_config(coco_zone => $arguments, %is);
}

# A robot with its copies and its row of the supply.
sub known {
    my ($serial, %is) = @_;
    robot($serial, copies => 1, %is);
    supply($serial, 37.77, -122.41);
    return;
}

# A GET, expected to be a HIT or a MISS; its body.
sub got {
    my ($serial, $cache, $what) = @_;
    my $reply = get("/robots/$serial");
    is("$reply->{status} $reply->{headers}{'x-coco-cache'}", "200 $cache",
        "$serial: $what");
    return $reply->{content};
}

# Until a GET of it is a HIT; its body.
sub kept {
    my ($serial) = @_;
    my $reply;
    await(sub {
        $reply = get("/robots/$serial");
        return $reply->{headers}{'x-coco-cache'} eq 'HIT';
    }) or fail("$serial is not kept");
    return $reply->{content};
}

sub hit {
    await_fresh();
    known('s211-hit');
    invalidate('s211-hit');
    my $miss = await(sub {
        my $reply = get('/robots/s211-hit');
        return $reply->{headers}{'x-coco-cache'} eq 'MISS'
            && $reply->{content};
    });
    is(kept('s211-hit'), $miss, 'the same bytes');

    # a moment that is not fresh makes misses of them, which count as such
    my ($get, $head, $hits) = @{ steady(sub {
        kept('s211-hit');
        my $name = 'documents_total{document="robot",outcome="hit"}';
        my %was = metrics();
        my @replies = map { get('/robots/s211-hit', $_) } 'GET', 'HEAD', 'GET';

        # neither what does not exist, nor what has no good name
        is(get('/robots/s211-nobody')->{status}, 404, 'unknown') for 1, 2;
        my %is = metrics();
        return [@replies[0, 1], $is{$name} - $was{$name}];
    }) };
    is($get->{headers}{'content-type'}, 'application/json',
        'of the same type');
    is($head->{headers}{'content-length'}, length $miss, 'HEAD too');
    is($head->{headers}{'x-coco-cache'}, 'HIT', 'from the zone');
    is($hits, 3, 'hits are counted');
    return;
}

sub dropped {
    my $percent = 10;
    robot("s211-drop-$_", copies => 1) for 'a', 'b';

    is(steady(sub {
        kept("s211-drop-$_") for 'a', 'b';
        robot('s211-drop-a', copies => 1,
            details => heartbeat(percent => ++$percent));
        invalidate('s211-drop-a');
        ok(await(sub { return get('/robots/s211-drop-a')->{content} =~
            /"percent":$percent\b/ }), 'an invalidation drops it');
        return get('/robots/s211-drop-b')->{headers}{'x-coco-cache'};
    }), 'HIT', 'and no other one');

    # all of them
    robot('s211-drop-b', copies => 1, details => heartbeat(percent => 7));
    publish('coco.invalidate', '{"all":true}');
    ok(await(sub {
        return get('/robots/s211-drop-b')->{content} =~ /"percent":7\b/;
    }), 'that of all drops all');
    await_fresh();
    return;
}

# Each time: fill, change, read; the first read after the reply sees it.
sub written {
    known('s211-patch');
    my ($old, $before) = (0, undef);
    for my $round (1 .. 40) {
        kept('s211-patch') if $round % 2;
        my $state = $round % 3 ? 'PARKED' : 'GROUNDED';
        my $pickup = $round % 2 ? 'true' : 'false';
        my $reply = get('/robots/s211-patch', 'PATCH',
            qq({"operationState":"$state","needsPickup":$pickup}));
        $old++ if $reply->{status} != 200;
        my $labor = get('/fleet/v1/labor/robots/s211-patch')->{content};
        my $robot = get('/robots/s211-patch')->{content};
        $old++ if $robot !~ /"operationState":"$state","business".*"needsPickup":$pickup/;
        $old++ if $labor !~ /"operationState":"$state"/;
    }
    is($old, 0, 'after a PATCH nobody reads what was before');
    like(redis('GET', 'robot.heartbeat.cache.s211-patch'),
        qr/"operationState":"PARKED"/, 'nor in Redis');
    return;
}

sub delivered {
    known('s211-move');
    sql("update coco.delivery set status = 'Canceled'"
        . " where serial = 's211-move'");
    my $place = '{"latitude":37.7,"longitude":-122.4}';
    my $made = get('/deliveries', 'POST',
        qq({"pickup":$place,"dropoff":$place}));
    is($made->{status}, 201, 'a delivery');
    my ($id) = $made->{content} =~ /"id": ?"([^"]+)"/;

    for my $step (['assign', '{"serial":"s211-move"}', 'Assigned'],
        ['depart', '', 'EnrouteToPickup'],
        ['arrive', '{"at":"pickup"}', 'AtPickup'],
        ['cancel', '{"reason":"test"}', undef])
    {
        my ($verb, $body, $status) = @$step;
        kept('s211-move');
        is(get("/deliveries/$id/$verb", 'POST', $body)->{status}, 200, $verb);
        my $robot = get('/robots/s211-move')->{content};
        like($robot, defined $status ? qr/"delivery":\{[^}]*"$status"/
            : qr/"delivery":null/, "is seen at once after $verb");
    }
    return;
}

# Another host writes: Postgres says so.
sub elsewhere {
    known('s211-else');
    kept('s211-else');
    my $begun = now_ms();
    sql("select coco.robot_patch('other', 'PATCH', null, null, 's211-else',"
        . " '{\"needs_pickup\": true}')");
    ok(await(sub {
        return get('/robots/s211-else')->{content} =~ /"needsPickup":true/;
    }), "is seen");
    cmp_ok(now_ms() - $begun, '<', $Coco::Window / 4,
        'long before its time is over');
    return;
}

# What a document says changes by time alone.
sub timely {
    await_fresh();
    known('s211-time');
    like(kept('s211-time'), qr/"online":true/, 'online');
    my $reply;
    ok(await(sub {
        $reply = get('/robots/s211-time');
        return $reply->{content} =~ /"online":false.*"issue":"OFFLINE"/;
    }), 'goes offline in its time');
    like(kept('s211-time'), qr/"online":false/, 'and that is kept, too');
    return;
}

sub stale {
    known('s211-stale');
    kept('s211-stale');
    worker_kill();
    ok(await_fresh(0), 'not fresh without beats');
    robot('s211-stale', copies => 1, details => heartbeat(percent => 33));
    like(got('s211-stale', 'MISS', 'nothing is served from it'),
        qr/"percent":33/, 'but what is true');
    got('s211-stale', 'MISS', 'nor kept for now');
    worker_start();
    ok(await_fresh(), 'fresh again');
    return;
}

sub large {
    my $parts = join ',', map { qq("part-$_":"OK") } 1 .. 300;
    known('s211-large', details =>
        heartbeat(rest => qq(,"components":{$parts})));
    is(steady(sub {
        my %before = metrics();
        like(got('s211-large', 'MISS', 'too large to keep'), qr/part-300/,
            'whole') for 1, 2;
        my %is = metrics();
        my $name = 'document_fills_total{outcome="too_large"}';
        return $is{$name} - $before{$name};
    }), 2, 'is counted');
    return;
}

# Each of many robots, again and again, in room for few.
sub tiny {
    await_fresh();
    robot("s211-tiny-$_", details => heartbeat(percent => $_)) for 1 .. 60;
    my $wrong = 0;
    my %cache = %{ steady(sub {
        my %came;
        for my $n ((1 .. 60, 1 .. 3, 1 .. 3) x 3) {
            my $reply = get("/robots/s211-tiny-$n");
            $wrong++ if $reply->{content} !~
                /^\{"serial":"s211-tiny-$n",.*"percent": ?$n\}/;
            $came{$reply->{headers}{'x-coco-cache'}}++;
        }
        return \%came;
    }) };
    is($wrong, 0, 'each is its own');
    cmp_ok($cache{HIT} // 0, '>', 9, 'some are kept');
    cmp_ok($cache{MISS} // 0, '>', 60, 'others had to go');
    return;
}

# Ten ask for one robot while Postgres answers nobody.
sub ask {
    my ($serial) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $ENV{TEST_NGINX_CLIENT_PORT}) or die "connect: $!";
    print $socket "GET /robots/$serial HTTP/1.1\r\nHost: x\r\n"
        . "Connection: close\r\n" . bearer() . "\r\n\r\n";
    $socket->flush;
    return $socket;
}

sub together {
    my ($serial, $leaves) = @_;
    known($serial);
    await_fresh();
    my %before = metrics();
    my $miss = 'documents_total{document="robot",outcome="miss"}';
    my $stale = 'documents_total{document="robot",outcome="stale"}';

    open my $psql, '|-', 'psql', '-X', '-q', '-h', '127.0.0.1', '-p',
        $ENV{TEST_NGINX_POSTGRES_PORT}, '-U', 'coco', '-d', 'coco'
        or die "psql: $!";
    print $psql "begin; lock table coco.robot_operation;\n";
    $psql->flush;
    await(sub { return sql('select count(*) from pg_locks where granted and'
            . " relation = 'coco.robot_operation'::regclass"
            . " and mode = 'AccessExclusiveLock'") });
    my @sockets = map { ask($serial) } 1 .. 10;
    my %is;
    await(sub { %is = metrics();
        return $is{$miss} + $is{$stale} - $before{$miss} - $before{$stale}
            == 10 });
    my $all_missed = $is{$miss} - $before{$miss} == 10;
    close shift @sockets if $leaves;
    close $psql;

    my @bodies = map { local $/; readline $_ } @sockets;
    %is = metrics();
    my $fills = 0;
    $fills += $is{"document_fills_total{outcome=\"$_\"}"}
        - $before{"document_fills_total{outcome=\"$_\"}"}
        for qw(kept outdated);
    return ($all_missed, $fills, scalar(grep {
        /^HTTP\/1.1 200 .*X-Coco-Cache: MISS.*"serial":"\Q$serial\E"/s }
        @bodies));
}

sub flight {
    my ($all_missed, $fills, $good);
    for (1 .. 20) {
        my $connections = connections();
        ($all_missed, $fills, $good) = together("s211-many-$_");
        is($good, 10, 'ten are answered');
        last if $all_missed && connections() == $connections;
    }
    ok($all_missed, 'ten asked while it was fresh');
    cmp_ok($fills, '<=', $Processes, 'one of each process fetched');

    (undef, undef, $good) = together('s211-left', 1);
    is($good, 9, 'the first left, nine are answered');
    return;
}

worker_start();
plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: kept, and the same bytes
--- http_config eval: main::zone('16m robots=5000')
--- config eval: $::Locations
--- init
main::hit();
main::dropped();
main::written();
main::delivered();
main::elsewhere();
main::stale();
main::large();
--- request
GET /robots/s211-hit
--- response_body_like: "serial":"s211-hit"



=== TEST 2: time passes
--- http_config eval
main::zone('16m robots=5000', coco_online_window => "${main::Window}ms")
--- config eval: $::Locations
--- init
main::timely()
--- request
GET /robots/s211-time
--- response_body_like: "online":false



=== TEST 3: little room
--- http_config eval: main::zone('256k robots=0')
--- config eval: $::Locations
--- init
main::tiny()
--- request
GET /robots/s211-tiny-1
--- response_body_like: s211-tiny-1



=== TEST 4: one fetch however many wait
--- http_config eval: main::zone('16m robots=5000')
--- config eval: $::Locations
--- init
main::flight()
--- request
GET /robots/s211-left
--- response_body_like: s211-left
