# DriveU's statuses in reads: the database's rule and document against the
# core's over every combination, and what GET /state, GET /robots/{serial} and
# GET /robots show of them.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

# What the core says; made first, as it takes a part of the time for which
# robots count as heard.
my $root = $ENV{TEST_NGINX_COCO_ROOT};
my $program = write_file('driveu', '');
system(($ENV{CC} || 'gcc') . ' -std=gnu11 -D_GNU_SOURCE'
    . " -I$root/src/core -o $program $root/t/util/driveu.c"
    . " $root/src/core/*.c -lcrypto -ljansson -lm") == 0 or die 'no driver';

sub core {
    my $in = write_file('driveu.txt', join "\n", @_, '');
    return `$program < $in`;
}

our $Now = now_ms();

# Each unit is silent or has one of these; a time that rounding would change.
my @words = ('-', 'online', 'connectedToNode', 'offline', 'Online',
    "r\xc3\xa9boot");
my $us = $Now . '999';
my (@lines, @rows);
for my $streamer (@words) {
    for my $node (@words) {
        for my $relay (@words) {
            my $serial = sprintf 's240.%03d', scalar @lines;
            push @lines, "$serial $us $streamer $node $relay";
            my %is = (streamer => $streamer, node => $node, relay => $relay);
            push @rows, map { "('$serial', '$_', '$is{$_}')" }
                grep { $is{$_} ne '-' } sort keys %is;
        }
    }
}

sql("delete from coco.driveu_status where serial like 's240.%';"
    . ' insert into coco.driveu_status (serial, unit, status, uuid, time,'
    . ' received_at, order_time, id) select serial, unit, status, \'u\', at,'
    . ' at, at, gen_random_uuid() from (values ' . join(', ', @rows)
    . ') v (serial, unit, status), (select coco.from_ms(' . $Now . ")"
    . " + interval '999 microseconds' as at) t");

# and a heartbeat each, far from all others
sql(<<'END');
delete from coco.robot_state where serial like 's240.%';
delete from coco.robot_operation where serial like 's240.%';
insert into coco.robot_state
select 's240.' || lpad(i::text, 3, '0'), gen_random_uuid(), 'PARKED', now(),
       now(), now(), '{"battery": {"percent": 80},
                       "location": {"latitude": -74.5, "longitude": 3}}'
  from generate_series(0, 215) i;
insert into coco.robot_operation (serial, operation_state, changed_at)
select serial, state, ts from coco.robot_state where serial like 's240.%';
analyze coco.robot_operation;
analyze coco.robot_state;
analyze coco.driveu_status;
END

my $core = core(@lines);
my $of = "from generate_series(0, 215) i,"
    . " lateral (select 's240.' || lpad(i::text, 3, '0') as serial) s";
my $database = sql('select serial, coco.remotely_controllable(serial),'
    . " coalesce(coco.driveu_document(serial), 'null') $of order by 1");
is("$database\n", $core, 'the database says of all what the core says');

# streamer: 2 of the words; node and relay: all but "offline"
our $Controllable = 2 * 5 * 5;
is(() = $core =~ /\|t\|/g, $Controllable, 'of some the one, of some the other');
isnt(core($lines[0] =~ s/-/online/r), ($core =~ /^(.*\n)/)[0],
    'another status is seen');

our $Box = 'bbox=2,-75,4,-74';

robot('s240-a', ts => $Now);
robot('s240-b', ts => $Now, operation => undef);
robot('s240-c', ts => $Now, copies => 1);
robot('s240-d', ts => $Now);
robot('s240-e', ts => $Now, details => heartbeat(rest => ',"remotely'
    . 'Controllable":false,"driveu":{"streamer":{"status":"offline"}}'));
driveu("s240-$_", $Now, relay => 'online', node => 'online',
    streamer => 'connectedToNode') for qw(a b e ghost);
driveu('s240-c', $Now, streamer => 'offline');
our $Good = Coco::driveu_json($Now, streamer => 'connectedToNode',
    node => 'online', relay => 'online');

plan 'no_plan';
run_tests();

like(redis('GET', 'robot.ephemeral.s240-a'),
    qr/"remotelyControllable":true,"driveu":\Q$Good\E\}$/,
    'the copy that was filled has them too');

__DATA__

=== TEST 1: the newest statuses beside the state
--- request eval
['GET /state/s240-a', 'GET /state/s240-c', 'GET /state/s240-d',
 'GET /state/s240-ghost']
--- error_code eval
[200, 200, 200, 404]
--- response_body_like eval
[qr/,"driveu":\Q$::Good\E,"remotelyControllable":true\}$/,
 qr/,"driveu":\{"streamer":\{"status":"offline","ts":$::Now,"uuid":"u-streamer"\}\},"remotelyControllable":false\}$/,
 qr/,"driveu":null,"remotelyControllable":false\}$/,
 qr/No heartbeat of this serial/]



=== TEST 2: what a heartbeat was enriched with stays in its details
--- request
GET /state/s240-e
--- response_body_like eval
qr/"details":\{.*"driveu": \{"streamer": \{"status": "offline"\}\}.*\},"driveu":\Q$::Good\E,"remotelyControllable":true\}$/



=== TEST 3: in a robot, Postgres' before the copy, once more from the filled one
--- request eval
['GET /robots/s240-a', 'GET /robots/s240-a', 'GET /robots/s240-c',
 'GET /robots/s240-ghost', 'GET /robots/s240-e']
--- error_code eval
[200, 200, 200, 404, 200]
--- response_body_like eval
[(qr/"connectivity":\{"online":true,"remotelyControllable":true,"driveu":\Q$::Good\E\}.*"connectivity":\{"source":"postgres","asOf":$::Now\}/) x 2,
 qr/"remotelyControllable":false,"driveu":\{"streamer":\{"status":"offline".*"connectivity":\{"source":"postgres"/,
 qr/"status":404/,
 qr/"remotelyControllable":true,"driveu":\Q$::Good\E\}/]



=== TEST 4: before Operations has heard of it
--- request
GET /robots/s240-b
--- response_body_like eval
qr/"changedAt":null\}.*"remotelyControllable":true,"driveu":\Q$::Good\E\}/



=== TEST 5: where teleoperation is required
--- http_config eval
Coco::http_config(coco_require_teleoperation => 'on')
--- request eval
['GET /robots/s240-a', 'GET /robots/s240-c', 'GET /robots/s240-d']
--- error_code eval
[200, 200, 200]
--- response_body_like eval
[qr/"ready":true,"issue":null/,
 (qr/"ready":false,"issue":"NOT_REMOTELY_CONTROLLABLE"/) x 2]



=== TEST 6: a list filters by what it shows
--- http_config eval
Coco::http_config(coco_require_teleoperation => 'on')
--- request eval
["GET /robots?$::Box&limit=500&ready=true",
 "GET /robots?$::Box&limit=500&ready=false"]
--- error_code eval
[200, 200]
--- response_body_like eval
[qr/^(?!.*"remotelyControllable":false)(?!.*"ready":false)(?:.*?"ready":true){$::Controllable}(?!.*"ready":true)/s,
 qr/^(?!.*"remotelyControllable":true)(?!.*"ready":true).*"serial":"s240.000".*"issue":"NOT_REMOTELY_CONTROLLABLE"/s]
--- timeout: 20



=== TEST 7: and shows them where nothing depends on them
--- request eval
"GET /robots?$::Box&limit=500&ready=true"
--- response_body_like eval
qr/^(?=(?:.*?"remotelyControllable":true){$::Controllable}(?!.*"remotelyControllable":true)).*"driveu":null.*"driveu":\{"streamer":.*"nextCursor":null\}$/s
--- timeout: 20



=== TEST 8: without Postgres the copy's
--- http_config eval: Coco::down('postgres')
--- request
GET /robots/s240-c
--- response_body_like eval
qr/"remotelyControllable":true,"driveu":\{"streamer":"online"\}.*"connectivity":\{"source":"redis".*"partial":true/



=== TEST 9: without Redis as with it
--- http_config eval: Coco::down('redis')
--- request
GET /robots/s240-a
--- response_body_like eval
qr/"remotelyControllable":true,"driveu":\Q$::Good\E\}/
