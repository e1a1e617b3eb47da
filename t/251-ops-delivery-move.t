# POST /deliveries/{id}/assign, depart, arrive, complete, cancel: every state
# x event; what follows for the robot, its shadow, the attempts and the
# outbox; repeats. No reply, and no log, holds a PIN.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();

# the PINs of all
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(no_error_log => ['[alert]', '[error]', '8362', '2638'])
        unless defined $block->no_error_log;
});
add_block_preprocessor(\&Coco::defaults);

our $Now = now_ms();
our $Json = bearer() . "\nContent-Type: application/json";

our @Status = qw(Created Assigned EnrouteToPickup AtPickup
    LoadedWaitingForPilot EnrouteToDropoff AtDropoff Completed Canceled);
our @Event = (['assign', '{"serial":"s251-new"}'], ['depart', ''],
    ['arrive', '{"at":"pickup"}'], ['arrive', '{"at":"dropoff"}'],
    ['complete', '{}'], ['cancel', '{"reason":"s251"}']);

# where each event leads from each state; in brackets: would have led
my $machine = <<'END';
Created  Assigned   [EnrouteToPickup]  [AtPickup] [AtDropoff] [Completed] Canceled
Assigned Assigned   EnrouteToPickup    [AtPickup] [AtDropoff] [Completed] Canceled
EnrouteToPickup Assigned [EnrouteToPickup] AtPickup [AtDropoff] [Completed] Canceled
AtPickup Assigned   [EnrouteToPickup]  [AtPickup] [AtDropoff] [Completed] Canceled
LoadedWaitingForPilot [Assigned] EnrouteToDropoff [AtPickup] [AtDropoff] [Completed] Canceled
EnrouteToDropoff [Assigned] [EnrouteToDropoff] [AtPickup] AtDropoff [Completed] Canceled
AtDropoff [Assigned] [EnrouteToDropoff] [AtPickup] [AtDropoff] Completed Canceled
Completed [Assigned] [EnrouteToDropoff] [AtPickup] [AtDropoff] [Completed] [Canceled]
Canceled [Assigned] [EnrouteToPickup] [AtPickup] [AtDropoff] [Completed] [Canceled]
END

# one delivery for each cell; those of the walks after them
our (@Cell, @Want, @Walk);
for my $line (split /\n/, $machine) {
    my ($status, @to) = split ' ', $line;
    for my $event (0 .. 5) {
        push @Cell, sprintf '25100000-0000-4000-8000-0000000000%02d',
            scalar @Cell;
        push @Want, [$status, $to[$event]];
    }
}
@Walk = map { sprintf '25100000-0000-4000-8000-0000000001%02d', $_ } 0 .. 9;

sub clean {
    sql("delete from coco.$_ where delivery_id::text like '251%'")
        for qw(delivery_event delivery_attempt);
    sql("delete from coco.delivery where id::text like '251%';"
        . "delete from coco.outbox where serial like 's251-%'"
        . " or serial like '25100000-%';"
        . join ';', map { "delete from coco.$_ where serial like 's251-%'" }
            qw(robot_operation robot_shadow fleet_robot));
    sql("delete from coco.resource where id like 's251-%'");
    sql("delete from coco.robot_state_history"
        . " where robot_serial like 's251-%'");
}

sub delivery {
    my ($id, $status, $serial, $pin) = @_;
    my $driver = $status eq 'Created' ? 'null' : "'$serial'";
    return <<"END";
insert into coco.delivery (id, status, serial, pin, pickup_latitude,
       pickup_longitude, dropoff_latitude, dropoff_longitude, created_at,
       updated_at)
select '$id', '$status', $driver, '$pin', 1, 2, 3, 4, now(), now();
insert into coco.delivery_attempt (delivery_id, number, driver_name,
       assigned_at)
select '$id', 1, $driver, now() where $driver is not null;
END
}

clean();
sql(join '', (map { delivery($Cell[$_], $Want[$_][0], "s251-c$_", '8362') }
    0 .. $#Cell), map { delivery($Walk[$_], 'Created', '', '8362') } 0 .. 7);
sql("update coco.delivery set pin = '2638' where id = '$Walk[3]'");

# Two that messages load: no request does.
sql(delivery($Walk[8], 'Assigned', 's251-d', '8362')
    . delivery($Walk[9], 'EnrouteToPickup', 's251-f', '')
    . "update coco.delivery set pin = null where id = '$Walk[9]'");
my $Cycle = '25111111-0000-8000-8000-000000000000';
my @applied = map { apply(@$_) }
    [$Walk[8], 'Created', 'EnrouteToPickup'],
    [$Walk[8], 'Assigned', 'EnrouteToPickup'],
    [$Walk[8], 'EnrouteToPickup', 'AtPickup'],
    [$Walk[8], 'AtPickup', 'LoadedWaitingForPilot', $Cycle],
    [$Walk[8], 'AtPickup', 'LoadedWaitingForPilot', $Cycle],
    [$Walk[9], 'EnrouteToPickup', 'AtPickup'],
    [$Walk[9], 'AtPickup', 'LoadedWaitingForPilot', $Cycle],
    [$Walk[9], ('LoadedWaitingForPilot') x 2, undef, 5000],
    [$Walk[9], ('LoadedWaitingForPilot') x 2, undef, 4000],
    ['25199999-0000-4000-8000-000000000000', 'Created', 'Canceled'];
is(join('', @applied), 'ftttfttttf',
    'what is not in its state is not changed');

sub apply {
    my ($id, $from, $to, $cycle, $early) = @_;
    $cycle = defined $cycle ? "'$cycle'" : 'null';
    $early = defined $early ? "coco.from_ms($early)" : 'null';
    return sql("select coco.delivery_apply('$id', '$from', '$to', now(),"
        . " $cycle, $early)");
}

# what changed since was forbidden
sub untouched {
    my @cells = grep { $Want[$_][1] =~ /^\[/ } 0 .. $#Cell;
    my $ids = join ',', map { "'$Cell[$_]'" } @cells;
    return scalar(@cells) . ' of ' . sql("select count(*) from coco.delivery d"
        . " where id in ($ids) and changes = 0 and updated_at = created_at"
        . " and not exists (select from coco.delivery_event e"
        . " where e.delivery_id = d.id)");
}

sub post {
    my ($id, $event, $body) = @_;
    return "POST /deliveries/$id/$event\n" . ($body // '');
}

# the whole way of a delivery, but for the loading, which no request does
sub way {
    my ($id, $serial) = @_;
    return (post($id, 'assign', "{\"serial\":\"$serial\"}"),
        post($id, 'depart'), post($id, 'arrive', '{"at":"pickup"}'));
}

our @Bad = (
    assign => '' => 'serial', assign => '{}' => 'serial', assign => '[]' =>
    'body', assign => '{"serial":null}' => 'serial', assign =>
    '{"serial":"a/b"}' => 'serial', assign => '{"serial":"stream"}' =>
    'serial', assign => '{"serial":7}' => 'serial', assign =>
    '{"serial":"a","pin":"8362"}' => 'pin', depart => '{"at":"pickup"}' =>
    'at', depart => '[' => 'body', complete => '{"x":1}' => 'x', arrive => ''
    => 'at', arrive => '{"at":"Pickup"}' => 'at', arrive => '{"at":null}' =>
    'at', arrive => '{"at":"pickup","x":1}' => 'x', cancel => '' => 'reason',
    cancel => '{"reason":""}' => 'reason', cancel => '{"reason":null}' =>
    'reason', cancel => '{"reason":"' . 'x' x 257 . '"}' => 'reason', cancel
    => '{"reason":["a"]}' => 'reason', cancel => '{"reason":"a\u0000"}' =>
    'reason');

our @Unknown = ('25199999-0000-4000-8000-000000000000', 'x');

sub column {
    my ($what, $serial) = @_;
    return sql("select $what from coco.robot_shadow where serial = '$serial'");
}

plan 'no_plan';
run_tests();

is(untouched(), join(' of ', (scalar grep { $_->[1] =~ /^\[/ } @Want) x 2),
    'what is forbidden changes nothing');
is(scalar(grep { $_->[1] !~ /^\[/ } @Want), sql("select count(*) from"
    . " coco.delivery_event where delivery_id::text like '25100000%0000__'"),
    'what is allowed changes once');

# the robot that arrived
is(sql("select operation_state, has_food from coco.robot_operation"
    . " where serial = 's251-a'"), 'PARKED|', 'parked');
is(sql("select operational_state from coco.fleet_robot"
    . " where serial = 's251-a'"), 'PARKED', 'parked, for the fleet');
is(sql("select string_agg(operation_state, ',') from"
    . " coco.robot_state_history where robot_serial = 's251-a'"), 'PARKED',
    'parked, in the history');
is(sql("select string_agg(name || ' ' || coalesce(payload #>>"
    . " '{data,status}', payload #>> '{data,to}', payload #>>"
    . " '{data,operationState}'), ', ' order by seq) from coco.outbox"
    . " where serial = 's251-a' and name <> 'DispatchEngine.SupplyEvent'"),
    'Deliveries.DeliveryEvent Assigned,'
    . ' Deliveries.DeliveryEvent EnrouteToPickup, Robots.StateChange PARKED,'
    . ' Robots.BusinessStateChange PARKED, Deliveries.DeliveryEvent AtPickup',
    'the events of a robot that arrives');
is(column('pin, version, sent_version', 's251-a'), '8362|1|0',
    'the PIN is to be sent');
is(sql("select count(*), bool_and(o.payload ->> 'id' = e.id::text and"
    . " o.payload -> 'ts' = to_jsonb(coco.to_ms(e.ts)) and o.payload -> 'data'"
    . " = jsonb_build_object('deliveryId', e.delivery_id, 'status', e.status,"
    . " 'previousStatus', e.previous_status)) from coco.delivery_event e"
    . " join coco.outbox o using (id) where o.name ="
    . " 'Deliveries.DeliveryEvent' and e.delivery_id = '$Walk[0]'"), '3|t',
    'each change is an event');
is(sql("select bool_and(e.ts > lag) from (select ts, lag(ts) over (order by"
    . " number) lag from coco.delivery_event where delivery_id = '$Walk[0]')"
    . ' e where lag is not null'), 't', 'changes ascend');

# the robot that was replaced
is(column('coalesce(pin, \'-\'), version', 's251-b'), '-|2',
    'the PIN of the old robot is cleared');
is(column('count(*)', 's251-b2'), 0, 'the new one has none yet');
is(sql("select string_agg(number || ' ' || driver_name || ' ' || (ended_at is"
    . " not null) || ' ' || coalesce(cancellation_reason, '-'), ', ' order by"
    . " number) from coco.delivery_attempt where delivery_id = '$Walk[1]'"),
    '1 s251-b true reassigned, 2 s251-b2 false -', 'attempts');

# the robot that was loaded, and its delivery canceled
is(sql("select operation_state, has_food from coco.robot_operation"
    . " where serial = 's251-d'"), 'PARKED|t', 'loaded: has food');
is(column('coalesce(pin, \'-\'), version', 's251-d'), '-|2',
    'the PIN is cleared by loading');
is(sql("select status, cancel_reason, changes from coco.delivery"
    . " where id = '$Walk[8]'"), 'Canceled|s251 "late"|4', 'canceled');
is(sql("select previous_status, reason from coco.delivery_event where"
    . " delivery_id = '$Walk[8]' order by number desc limit 1"),
    'LoadedWaitingForPilot|s251 "late"', 'the reason is in the event');

# the robot of two deliveries
is(column('pin, version', 's251-e'), '8362|3',
    'a robot keeps the PIN of the delivery that it is still at');
is(column('count(*)', 's251-f'), 0, 'no PIN, no shadow');
is(sql("select operation_state, has_food from coco.robot_operation"
    . " where serial = 's251-f'"), 'PARKED|f', 'completed: no food');
is(sql("select count(*) || ' ' || max(changes) from coco.delivery d join"
    . " coco.delivery_event e on e.delivery_id = d.id where d.id = '$Walk[6]'"),
    '3 3', 'repeats under keys, and to the same robot, change nothing');
is(sql("select early_close_at = coco.from_ms(5000), loaded_cycle = '$Cycle'"
    . " from coco.delivery where id = '$Walk[9]'"), 't|t',
    'the latest early close, and the cycle');
is(sql("select count(*) from coco.delivery_event"
    . " where delivery_id = '$Walk[7]'"), 0, 'nothing bad was done');
# not within an id or a time
is(sql("select count(*) from coco.outbox where payload::text"
    . " ~ '[^0-9a-f-](8362|2638)[^0-9a-f-]'"
    . " and (serial like 's251-%' or serial like '251%')"), 0,
    'no event holds a PIN');
clean();

__DATA__

=== TEST 1: every state x event
--- more_headers eval
[($::Json) x @::Cell]
--- request eval
[map { main::post($::Cell[$_], @{ $::Event[$_ % 6] }) } 0 .. $#::Cell]
--- error_code eval
[map { $_->[1] =~ /^\[/ ? 409 : 200 } @::Want]
--- response_body_like eval
[map { my ($from, $to) = @$_;
 $to =~ s/^\[(.*)\]$/$1/
 ? qr/"detail":"A delivery that is $from cannot become $to."/
 : qr/^\{"id":"25100000-[-0-9]+","status":"$to","serial":(?!.*8362)/ } @::Want]



=== TEST 2: to the pickup: parked, and the PIN on its way
--- more_headers eval
[($::Json) x 3]
--- request eval
[main::way($::Walk[0], 's251-a')]
--- error_code eval
[200, 200, 200]
--- response_body_like eval
[map { qr/"status":"$_","serial":"s251-a".*"attempts":\[\{"number":1,"serial":"s251-a","assignedAt":\d{13},"endedAt":null,"cancellationReason":null\}\]/ }
 qw(Assigned EnrouteToPickup AtPickup)]



=== TEST 3: another robot takes over at the pickup
--- more_headers eval
[($::Json) x 4]
--- request eval
[main::way($::Walk[1], 's251-b'), main::post($::Walk[1], 'assign',
 '{"serial":"s251-b2"}')]
--- error_code eval
[200, 200, 200, 200]
--- response_body_like eval
[(qr/./) x 3, qr/"status":"Assigned","serial":"s251-b2".*"attempts":\[\{"number":1,"serial":"s251-b",[^}]*"endedAt":\d{13},"cancellationReason":"reassigned"\},\{"number":2,"serial":"s251-b2",[^}]*"endedAt":null,/]



=== TEST 4: canceled once it is loaded; the attempt ends with the reason
--- more_headers eval: $::Json
--- request eval
main::post($::Walk[8], 'cancel', '{"reason":"s251 \"late\""}')
--- response_body_like eval
qr/"status":"Canceled",.*"attempts":\[\{[^}]*"endedAt":(\d+),"cancellationReason":"s251 \\"late\\""\}\],"cancelReason":"s251 \\"late\\"",.*"updatedAt":\1\}/



=== TEST 5: one robot at two pickups; one of them is given up
--- more_headers eval
[($::Json) x 7]
--- request eval
[main::way($::Walk[5], 's251-e'), main::way($::Walk[3], 's251-e'),
 main::post($::Walk[3], 'cancel', '{"reason":"s251"}')]
--- error_code eval
[(200) x 7]



=== TEST 6: loaded, it goes to the drop-off and ends
--- more_headers eval
[($::Json) x 4]
--- request eval
[main::post($::Walk[9], 'depart', '{}'),
 main::post($::Walk[9], 'arrive', '{"at":"dropoff"}'),
 main::post($::Walk[9], 'complete'), main::post($::Walk[9], 'complete')]
--- error_code eval
[200, 200, 200, 409]
--- response_body_like eval
[qr/"EnrouteToDropoff"/, qr/"AtDropoff"/,
 qr/"status":"Completed",.*"attempts":\[\{[^}]*"endedAt":\d+,"cancellationReason":null\}\]/,
 qr/A delivery that is Completed cannot become Completed/]



=== TEST 7: repeats under a key; to the same robot; a key of another route
--- more_headers eval
my $key = "$::Json\nIdempotency-Key: s251-$::Now";
[$key, $key, $key, $key, $::Json, $::Json]
--- request eval
[(main::post($::Walk[6], 'assign', '{"serial":"s251-g"}')) x 2,
 main::post($::Walk[6], 'assign', '{"serial":"s251-h"}'),
 main::post($::Walk[6], 'depart'), (main::post($::Walk[6], 'assign',
 '{"serial":"s251-g"}')) x 2]
--- error_code eval
[200, 200, 422, 200, 200, 200]
--- response_body_like eval
[(qr/"serial":"s251-g"/) x 2, qr/another body/, qr/EnrouteToPickup/,
 (qr/"Assigned"/) x 2]



=== TEST 8: what is refused names its field
--- more_headers eval
[($::Json) x (@::Bad / 3)]
--- request eval
[map { main::post($::Walk[7], @::Bad[3 * $_, 3 * $_ + 1]) } 0 .. @::Bad / 3 - 1]
--- error_code eval
[(400) x (@::Bad / 3)]
--- response_body_like eval
[map { qr/"errors":\[\{"field":"$::Bad[3 * $_ + 2]","detail":"[^"]/ }
 0 .. @::Bad / 3 - 1]



=== TEST 9: deliveries that are none; scopes and methods
--- more_headers eval
[($::Json) x 4, Coco::bearer(scope => 'deliveries:read'), $::Json]
--- request eval
[(map { (main::post($_, 'depart'), main::post($_, 'assign', '{"serial":"a"}')) }
 @::Unknown), main::post($::Walk[7], 'depart'),
 "GET /deliveries/$::Walk[7]/depart"]
--- error_code eval
[404, 404, 404, 404, 403, 405]
--- response_body_like eval
[(qr/No delivery has this id/) x 4, qr/403/, qr/405/]



=== TEST 10: without Postgres
--- http_config eval: Coco::down('postgres')
--- no_error_log
[alert]
--- more_headers eval: $::Json
--- request eval
main::post($::Walk[7], 'cancel', '{"reason":"a"}')
--- error_code: 503
