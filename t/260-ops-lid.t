# POST /open-lid-for-load: which deliveries' robots open, and for what.

use Test::Nginx::Socket;
use Coco;
use Lids;

no_shuffle();
no_long_string();

robots_start('s260-');

our $Json = bearer(scope => 'deliveries:write')
    . "\nContent-Type: application/json";
our $Now = now_ms();

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => Coco::http_config(
        coco_lid_timeout => '20s')) unless defined $block->http_config;
    $block->set_value(config => 'location /open-lid-for-load { coco_ops; }')
        unless defined $block->config;
    $block->set_value(more_headers => $Json)
        unless defined $block->more_headers;
    Coco::defaults($block);
});

my @statuses = qw(Created Assigned EnrouteToPickup AtPickup
    LoadedWaitingForPilot EnrouteToDropoff AtDropoff Completed Canceled);
our (@Allowed, @Forbidden);
my $count = 0;

sub id { return sprintf '00000000-0000-8000-8260-%012d', @_ }

# A delivery's id.
sub delivery {
    my ($status, $serial) = @_;
    my $id = id(++$count);
    my $robot = $serial ? "'s260-$serial'" : 'null';
    sql("insert into coco.delivery (id, status, serial, pickup_latitude,"
        . " pickup_longitude, dropoff_latitude, dropoff_longitude,"
        . " created_at, updated_at) values ('$id', '$status', $robot, 1, 2, 3,"
        . ' 4, now(), now())');
    return $id;
}

sub load {
    my (@ids) = @_;
    return map { qq(POST /open-lid-for-load\n{"deliveryId":"$_"}) } @ids;
}

sql("delete from coco.delivery where id::text like '00000000-0000-8000-8260-%'");

for my $status (@statuses) {
    my $id = delivery($status, $status eq 'Created' ? undef
        : "opens-$status");
    if ($status =~ /^(?:Assigned|EnrouteToPickup|AtPickup)$/) {
        push @Allowed, $id;
    } else {
        push @Forbidden, [$status, $id];
    }
}

our %At = map { $_ => delivery('AtPickup', $_) } qw(jams mute quiet moves
    opens-key);
robot('s260-moves', ts => $Now, details => heartbeat(rest => '')
    =~ s/("longitude":[^}]*)/$1,"speed":1.5/r);

our @Bad = (
    '' => 'deliveryId', '[]' => 'body', '{}' => 'deliveryId',
    '{"deliveryId":null}' => 'deliveryId', '{"deliveryId":1}' => 'deliveryId',
    '{"deliveryId":"x"}' => 'deliveryId',
    '{"deliveryId":"' . id(0) . '","source":"QR"}' => 'source',
);

plan 'no_plan';
run_tests();

is(sql('select string_agg(source || serial || reference_id, \' \' order by'
    . " serial) = string_agg('QR' || d.serial || d.id, ' ' order by d.serial)"
    . ' from coco.robot_command c join coco.delivery d using (serial)'
    . " where serial like 's260-opens-%' and status <> 'Canceled'"), 't',
    'each is of its delivery, by QR');
is(sql("select count(*) from coco.robot_command"
    . " where serial like 's260-opens-%'"), 4, 'and none is of another');
is(sql("select count(*) from coco.lid_cycle_event_history h"
    . " join coco.delivery d using (serial) where serial like 's260-opens-%'"
    . " and type = 'LID_OPEN_REQUEST' and source = 'QR'"
    . ' and h.reference_id = d.id::text'), 4, 'requests are put down');

__DATA__

=== TEST 1: on the way to the pickup, and there
--- more_headers eval
[($::Json) x @::Allowed]
--- request eval
[main::load(@::Allowed)]
--- error_code eval
[(200) x @::Allowed]
--- response_body_like eval
[(qr/^\{"opened":true,"cycleId":"[0-9a-f-]{36}","commandId":"[0-9a-f-]{36}"\}$/) x @::Allowed]



=== TEST 2: at no other time, which the answer names
--- more_headers eval
[($::Json) x @::Forbidden]
--- request eval
[main::load(map { $_->[1] } @::Forbidden)]
--- error_code eval
[(409) x @::Forbidden]
--- response_body_like eval
[map { qr/"detail":"The delivery is $_->[0]; [^"]*AtPickup\."/ } @::Forbidden]



=== TEST 3: a delivery that is none
--- request eval
main::load(main::id(0))
--- error_code: 404
--- response_body_like: "detail":"No delivery has this id\."



=== TEST 4: as lid/open answers
--- more_headers eval
[($::Json) x 4]
--- request eval
[main::load(@::At{qw(jams mute quiet moves)})]
--- error_code eval
[409, 504, 200, 409]
--- response_body_like eval
[qr/could not open its lid: latch jammed\./, qr/did not report in time/,
 qr/"opened":true/, qr/The robot moves at 1\.5 m\/s\./]
--- http_config eval
Coco::http_config(coco_lid_timeout => '6s')



=== TEST 5: a repeat under a key, also once the delivery has moved on
--- more_headers eval
[("$::Json\nIdempotency-Key: load-$::Now") x 3]
--- request eval
[main::load(($::At{'opens-key'}) x 2), main::load($::At{jams})]
--- error_code eval
[200, 200, 422]



=== TEST 6: what is refused names its field
--- more_headers eval
[($::Json) x (@::Bad / 2)]
--- request eval
[map { "POST /open-lid-for-load\n$::Bad[2 * $_]" } 0 .. $#::Bad / 2]
--- error_code eval
[(400) x (@::Bad / 2)]
--- response_body_like eval
[map { qr/"errors":\[\{"field":"$::Bad[2 * $_ + 1]","detail":"[^"]/ }
 0 .. $#::Bad / 2]



=== TEST 7: tokens and methods that are none
--- more_headers eval
my $type = "\nContent-Type: application/json";
['X-None: 1' . $type, Coco::bearer(scope => 'deliveries:read') . $type,
 Coco::bearer(scope => 'lid:write') . $type, $::Json]
--- request eval
[main::load(($::Allowed[0]) x 3), 'GET /open-lid-for-load']
--- error_code eval
[401, 403, 403, 405]
