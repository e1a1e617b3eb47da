# Lids over HTTP: the newest cycle, what happened to a lid, and requests to
# open one: what is asked, what is refused, and each answer of a robot.

use Test::Nginx::Socket;
use Coco;
use Lids;

no_shuffle();
no_long_string();

robots_start('s180-');

our $Now = now_ms();
our $Write = bearer(scope => 'lid:write');
our $Json = "$Write\nContent-Type: application/json";
our $Read = bearer(scope => 'state:read');

# A block may leave its configuration out: the nginx of the block before.
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => Coco::http_config(
        coco_lid_timeout => '20s')) unless defined $block->http_config;
    $block->set_value(config => Coco::locations()
        . 'location = /metrics { coco_metrics; }')
        unless defined $block->config;
    $block->set_value(more_headers => $Json)
        unless defined $block->more_headers;
    Coco::defaults($block);
});

sub id { return sprintf '00000000-0000-8000-8000-%012d', @_ }

sub cycle {
    my ($serial, $n, $state, @rest) = @_;
    my ($source, $reference, $opened, $closed, $trigger, $reason) =
        map { defined $_ ? "'$_'" : 'null' } @rest[0 .. 5];
    return "insert into coco.lid_cycle (id, serial, state, source,"
        . " reference_id, opened_at, closed_at, trigger, reason) values ('"
        . id($n) . "', 's180-$serial', '$state', $source, $reference,"
        . " coco.from_ms($opened), coco.from_ms($closed), $trigger, $reason);";
}

sub event {
    my ($serial, $n, $type, $ts, %is) = @_;
    my $at = $is{received} // $ts;
    delete $is{received};
    my $names = join '', map { ", $_" } sort keys %is;
    my $values = join '', map { ", '$is{$_}'" } sort keys %is;
    return "insert into coco.lid_cycle_event_history (id, serial, type, ts,"
        . " received_at$names) values ('" . id($n) . "', 's180-$serial',"
        . " '$type', coco.from_ms($ts), coco.from_ms($at)$values);";
}

sql(join '', "delete from coco.lid_cycle where id::text like '00000000-%';"
    . "delete from coco.lid_cycle_event_history"
    . " where id::text like '00000000-%';",
    cycle('a', 1, 'LID_CYCLE_COMPLETE', 'QR', 'd-1', 1000, 2000, 'OTHER'),
    cycle('a', 2, 'LID_CYCLE_INIT', 'PIN', undef, 3000),
    cycle('b', 3, 'LID_CYCLE_COMPLETE', undef, undef, undef, 5000, 'OTHER',
        'CLOSE_WITHOUT_OPEN'),
    event('a', 1, 'LID_OPEN_REQUEST', 1000, source => 'QR',
        reference_id => 'd "1"', command_id => id(9)),
    event('a', 2, 'LID_OPENED', 2000, command_id => id(9),
        trigger => 'COMMAND', details => '{"a":[1]}'),
    event('a', 3, 'LID_CLOSED', 3000, received => 2500, trigger => 'OTHER'),
    event('a', 4, 'LID_OPEN_FAILED', 2500, reason => 'latch'),
    event('a', 5, 'PIN_ENTRY_LID_OPEN', 4000, lid_opened => 't'));

robot("s180-moves", ts => $Now, details => heartbeat(
    rest => '') =~ s/("longitude":[^}]*)/$1,"speed":0.83/r);
robot("s180-opens-still", ts => $Now, details => heartbeat(
    rest => '') =~ s/("longitude":[^}]*)/$1,"speed":0.1/r);

sub opens {
    my (@bodies) = @_;
    return map { "POST /state/s180-opens/lid/open\n$_" } @bodies;
}

our @Bad = (
    '' => 'source', '{' => 'body', '[]' => 'body', '{}' => 'source',
    '{"source":"MAGIC_LID"}' => 'source', '{"source":"RESYNC"}' => 'source',
    '{"source":"qr"}' => 'source', '{"source":null}' => 'source',
    '{"source":1}' => 'source', '{"source":"QR","source":"QR"}' => 'source',
    '{"source":"QR","pin":"1234"}' => 'pin',
    '{"source":"QR","referenceId":""}' => 'referenceId',
    '{"source":"QR","referenceId":7}' => 'referenceId',
    '{"source":"QR","referenceId":"a\u000ab"}' => 'referenceId',
    '{"source":"QR","referenceId":"a\u007f"}' => 'referenceId',
    '{"source":"QR","referenceId":"' . 'x' x 129 . '"}' => 'referenceId',
);

our $Opened = qr/^\{"opened":true,"cycleId":"[0-9a-f-]{36}","commandId":"[0-9a-f-]{36}"\}$/;

# How Postgres runs the statement of that name for whatever values.
sub plan_of {
    my ($name, $types, $values) = @_;
    open my $file, '<', "$ENV{TEST_NGINX_COCO_ROOT}/ngx_coco_state_lid.c"
        or die $!;
    my ($code) = do { local $/; <$file> } =~ /"$name"\),\n(.*?),\n/s
        or die "no statement is called $name";
    my $statement = join ' ', $code =~ /"(.*)"/g;

    return sql("set plan_cache_mode = force_generic_plan;"
        . "set enable_seqscan = off; set enable_bitmapscan = off;"
        . "prepare s($types) as $statement; explain execute s($values);");
}

plan 'no_plan';
unlike(plan_of('coco_lid_history', 'text, bigint, bigint, bigint, uuid, bigint',
    "'s180-a', null, null, null, null, 2"), qr/Sort/, 'a page of the history is'
    . ' read by index, and no more of it');
run_tests();

my $columns = "source, reference_id, caller, command, issued_at = next_send_at,"
    . " expires_at - issued_at, cardinality(reply_to), reply_to[1] ~"
    . " '^coco\\.replies\\.[A-Za-z0-9._-]+\\.[0-9]+\$'";

is(sql("select $columns from coco.robot_command"
    . " where serial = 's180-opens-a'"),
    'OPERATOR|d-1 "é"|suite|OPEN_LID|t|00:00:19|1|t', 'the command');
is(sql("select h.type, h.ts = c.issued_at, h.received_at = h.ts, h.source,"
    . " h.reference_id, h.command_id = c.id::text"
    . " from coco.lid_cycle_event_history h join coco.robot_command c"
    . " using (serial) where serial = 's180-opens-a'"),
    'LID_OPEN_REQUEST|t|t|OPERATOR|d-1 "é"|t', 'its history');
is(sql("select kind, due_at - issued_at, data = jsonb_build_object("
    . "'command', c.id) from coco.robot_task t join coco.robot_command c"
    . " using (serial) where serial = 's180-opens-a'"),
    'EXPIRY|00:00:20|t', 'its expiry, once nobody waits');
is(sql("select count(*) from coco.robot_command"
    . " where serial = 's180-moves'"), 0, 'what moves gets no command');
is(sql("select type, source, reason from coco.lid_cycle_event_history"
    . " where serial = 's180-moves'"),
    'LID_OPEN_REFUSED|QR|The robot moves at 0.83 m/s.', 'which is put down');
is(sql("select count(*) from coco.idempotency_key"
    . " where route like '%s180-moves%'"), 0, 'and not kept');
is(sql("select count(*), count(distinct id) from coco.robot_command"
    . " where serial = 's180-opens-key'"), '1|1', 'one key, one command');
is(sql("select count(*) from coco.robot_command"
    . " where serial = 's180-opens'"), 0, 'nothing bad was done');

__DATA__

=== TEST 1: the newest cycle
--- more_headers eval
[($::Read) x 3]
--- request eval
[map { "GET /state/s180-$_/lid" } qw(a b none)]
--- response_body eval
['{"serial":"s180-a","state":"LID_CYCLE_INIT","cycleId":"' . main::id(2)
 . '","source":"PIN","referenceId":null,"openedAt":3000,"closedAt":null,'
 . '"trigger":null,"reason":null}',
 '{"serial":"s180-b","state":"LID_CYCLE_COMPLETE","cycleId":"' . main::id(3)
 . '","source":null,"referenceId":null,"openedAt":null,"closedAt":5000,'
 . '"trigger":"OTHER","reason":"CLOSE_WITHOUT_OPEN"}',
 '{"serial":"s180-none","state":"IDLE","cycleId":null,"source":null,'
 . '"referenceId":null,"openedAt":null,"closedAt":null,"trigger":null,'
 . '"reason":null}']



=== TEST 2: the history, newest first by the time they are applied by
--- more_headers eval: $::Read
--- request
GET /state/s180-a/lid/history
--- response_body eval
'{"items":['
. '{"id":"' . main::id(5) . '","type":"PIN_ENTRY_LID_OPEN","ts":4000,"receivedAt":4000,"trigger":null,"source":null,"referenceId":null,"commandId":null,"lidOpened":true,"reason":null,"details":null},'
. '{"id":"' . main::id(4) . '","type":"LID_OPEN_FAILED","ts":2500,"receivedAt":2500,"trigger":null,"source":null,"referenceId":null,"commandId":null,"lidOpened":null,"reason":"latch","details":null},'
. '{"id":"' . main::id(3) . '","type":"LID_CLOSED","ts":3000,"receivedAt":2500,"trigger":"OTHER","source":null,"referenceId":null,"commandId":null,"lidOpened":null,"reason":null,"details":null},'
. '{"id":"' . main::id(2) . '","type":"LID_OPENED","ts":2000,"receivedAt":2000,"trigger":"COMMAND","source":null,"referenceId":null,"commandId":"' . main::id(9) . '","lidOpened":null,"reason":null,"details":{"a": [1]}},'
. '{"id":"' . main::id(1) . '","type":"LID_OPEN_REQUEST","ts":1000,"receivedAt":1000,"trigger":null,"source":"QR","referenceId":"d \"1\"","commandId":"' . main::id(9) . '","lidOpened":null,"reason":null,"details":null}'
. '],"nextCursor":null}'



=== TEST 3: pages and bounds
--- more_headers eval
[($::Read) x 5]
--- request eval
[map { "GET /state/s180-a/lid/history$_" } '?limit=2',
 '?limit=2&cursor=' . Coco::cursor(2500, main::id(4)),
 '?limit=2&cursor=' . Coco::cursor(2000, main::id(2)),
 '?from=2000&to=4000', '?from=9000']
--- response_body_like eval
[qr/^\{"items":\[\{"id":"[0-]*8000-8000-0*5".*"id":"[0-]*8000-8000-0*4".*\],"nextCursor":"[^"]+"\}$/,
 qr/^\{"items":\[\{"id":"[0-]*8000-8000-0*3".*"id":"[0-]*8000-8000-0*2".*\],"nextCursor":"[^"]+"\}$/,
 qr/^\{"items":\[\{"id":"[0-]*8000-8000-0*1"[^]]*\],"nextCursor":null\}$/,
 qr/^\{"items":\[\{"id":"[0-]*8000-8000-0*4".*0*3".*0*2"[^\}]*\{[^\}]*\}\}\],"nextCursor":null\}$/,
 qr/^\{"items":\[\],"nextCursor":null\}$/]



=== TEST 4: arguments that are none, tokens, methods
--- more_headers eval
[($::Read) x 4, $::Write, 'X-None: 1', $::Read, $::Json]
--- request eval
['GET /state/s180-a/lid/history?cursor=x', 'GET /state/a%20b/lid',
 'GET /state/s180-a/lid/history?limit=0', 'GET /state/s180-a/lid/history?from=x',
 'GET /state/s180-a/lid', 'GET /state/s180-a/lid',
 "POST /state/s180-opens/lid/open\n{\"source\":\"QR\"}",
 'GET /state/s180-a/lid/open']
--- error_code eval
[400, 400, 400, 400, 403, 401, 403, 405]



=== TEST 5: a lid opens
--- request
POST /state/s180-opens-a/lid/open
{"source":"OPERATOR","referenceId":"d-1 \"\u00e9\""}
--- response_headers
Content-Type: application/json
--- response_body_like eval: $::Opened



=== TEST 6: a reference may be null; a speed of 0.1 stands still
--- more_headers eval
[($::Json) x 2]
--- request eval
["POST /state/s180-opens-b/lid/open\n{\"source\":\"PIN\",\"referenceId\":null}",
 "POST /state/s180-opens-still/lid/open\n{\"referenceId\":\"" . 'x' x 128
 . '","source":"PINLESS"}']
--- error_code eval
[200, 200]
--- response_body_like eval
[($::Opened) x 2]



=== TEST 7: no hint: the row is looked at all the same
--- request
POST /state/s180-quiet/lid/open
{"source":"QR"}
--- http_config eval
Coco::http_config(coco_lid_timeout => '60s')
--- response_body_like eval: $::Opened
--- timeout: 30



=== TEST 8: the robot cannot
--- more_headers eval
[($::Json) x 2]
--- request eval
["POST /state/s180-jams/lid/open\n{\"source\":\"QR\"}",
 "POST /state/s180-broken/lid/open\n{\"source\":\"QR\"}"]
--- error_code eval
[409, 409]
--- response_body_like eval
[qr/"title":"Conflict","status":409,"detail":"The robot could not open its lid: latch jammed\."/,
 qr/"detail":"The robot could not open its lid\."/]



=== TEST 9: the robot moves
--- more_headers eval
"$::Json\nIdempotency-Key: moves-$::Now"
--- request
POST /state/s180-moves/lid/open
{"source":"QR"}
--- error_code: 409
--- response_body_like: "detail":"The robot moves at 0.83 m/s."



=== TEST 10: the robot is silent, and so is the worker, or the worker says so
--- http_config eval
Coco::http_config(coco_lid_timeout => '1s')
--- more_headers eval
[($::Json) x 2]
--- request eval
["POST /state/s180-mute/lid/open\n{\"source\":\"QR\"}",
 "POST /state/s180-lost/lid/open\n{\"source\":\"QR\"}"]
--- error_code eval
[504, 504]
--- response_body_like eval
[(qr/"title":"Gateway Timeout","status":504,"detail":"The robot did not report in time[^"]*online/) x 2]



=== TEST 11: a repeat under a key gets the same end; another body does not
--- more_headers eval
my $key = "$::Json\nIdempotency-Key: key-$::Now";
[($key) x 3]
--- request eval
[map { "POST /state/s180-opens-key/lid/open\n{\"source\":\"$_\"}" }
 qw(QR QR PIN)]
--- error_code eval
[200, 200, 422]
--- response_body_like eval
[$::Opened, $::Opened, qr/used with another body/]



=== TEST 12: so does one of what failed
--- more_headers eval
my $key = "$::Json\nIdempotency-Key: key-$::Now";
[($key) x 2]
--- request eval
[("POST /state/s180-jams-key/lid/open\n{\"source\":\"QR\"}") x 2]
--- error_code eval
[409, 409]



=== TEST 13: and of what was silent
--- http_config eval
Coco::http_config(coco_lid_timeout => '1s')
--- more_headers eval
my $key = "$::Json\nIdempotency-Key: key-$::Now";
[($key) x 2]
--- request eval
[("POST /state/s180-lost-key/lid/open\n{\"source\":\"QR\"}") x 2]
--- error_code eval
[504, 504]



=== TEST 14: what is refused names its field
--- more_headers eval
[($::Json) x (@::Bad / 2)]
--- request eval
[main::opens(map { $::Bad[2 * $_] } 0 .. $#::Bad / 2)]
--- error_code eval
[(400) x (@::Bad / 2)]
--- response_body_like eval
[map { qr/"errors":\[\{"field":"$::Bad[2 * $_ + 1]","detail":"[^"]/ }
 0 .. $#::Bad / 2]



=== TEST 15: keys, media types and sizes that are none
--- more_headers eval
["$::Json\nIdempotency-Key: a b", $::Write . "\nContent-Type: text/plain",
 $::Json]
--- request eval
[main::opens('{"source":"QR"}', '{"source":"QR"}',
 '{"source":"QR"' . ' ' x 262144 . '}')]
--- error_code eval
[400, 415, 413]



=== TEST 16: without Redis
--- http_config eval
Coco::down('redis') . 'coco_lid_timeout 60s;'
--- request
POST /state/s180-opens-dry/lid/open
{"source":"QR"}
--- wait: 0.2
--- response_body_like eval: $::Opened
--- timeout: 30



=== TEST 17: without Postgres
--- http_config eval: Coco::down('postgres')
--- request
POST /state/s180-opens/lid/open
{"source":"QR"}
--- error_code: 503
--- response_headers
Retry-After: 1
--- response_body_like: "detail":"Postgres cannot be reached: whether the lid opens is not known\. Look at GET /state/\{serial\}/lid before asking again\."



=== TEST 18: an edge has a name of the right form
--- http_config
coco_edge "a b";
--- config
--- must_die
--- error_log
"coco_edge" must be 1 to 64 characters of A-Z a-z 0-9 . _ -, not "a b"
--- no_error_log
[alert]



=== TEST 19: one name
--- http_config
coco_edge a;
coco_edge b;
--- config
--- must_die
--- error_log
"coco_edge" directive is duplicate
--- no_error_log
[alert]



=== TEST 20: a time
--- http_config
coco_lid_timeout 0;
--- config
--- must_die
--- error_log
"coco_lid_timeout" must not be 0
--- no_error_log
[alert]
