# GET /supply: every field of LegacyRobot, what the checks say at the time of
# reading, pages and filters.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

our $Now = now_ms();

sql("delete from coco.resource");
supply('s350-all', 35, 35, battery => 55.5, lastSynced => $Now,
    healthy => 'false', needsMovement => 'true', hasFood => 'true',
    tripType => '"DELIVERY"', needsMaintenance => 'true',
    needsPickup => 'true', driveable => 'false', operationState => '"ON_TRIP"',
    attemptCancellationReason => '"rain"', undergoingMaintenance => 'false',
    deployed => '{"type":"POD","id":"p","latitude":1,"longitude":2}',
    futureDemand => '[{"id":"f"}]', activeDemand => '{"id":"a"}',
    row => { demands => 2, held_until => "now() + interval '1 hour'",
             lid_open => 'true', lid_at => 'now()' });
supply('s350-good', 35, 35);

# its status says that it was heard, and nobody has looked since
supply('s350-late', 35, 35, ts => $Now - $Coco::Window - 1000);

# nothing is known of it
sql("insert into coco.resource (id, data) values ('s350-none',"
    . " '{\"serial\":\"s350-none\"}')");

# more than are read at once, of which the last two are usable
sql("insert into coco.resource (id, data) select 's350-z' || to_char(i,"
    . " 'FM0000'), '{}' from generate_series(1, 1100) i");
supply("s350-z999$_", 35, 35) for 8, 9;

# more than a request looks at, before all others
sql("insert into coco.resource (id, data) select 'a350-' || to_char(i,"
    . " 'FM00000'), '{}' from generate_series(1, 12000) i");
our $First = 'cursor=' . Coco::cursor(0, 's350');

sub item {
    my ($serial, $rest) = @_;
    return qr/^\{"items":\[\{"serial":"$serial",$rest\}\],"nextCursor":null\}$/;
}

# the serials of a page
sub serials {
    my ($next, @serials) = @_;
    my $items = join ',', map { "\\{\"serial\":\"s350-$_\",(?:(?!\"serial\":).)*\\}" } @serials;
    $next = defined $next ? '"' . Coco::cursor(0, "s350-$next") . '"' : 'null';
    return qr/^\{"items":\[$items\],"nextCursor":\Q$next\E\}$/;
}

plan 'no_plan';
run_tests();
sql("delete from coco.resource");

__DATA__

=== TEST 1: every field, and every reason
--- request
GET /supply?serial=s350-all
--- response_body_like eval
main::item('s350-all', "\"status\":\"ONLINE\",\"battery\":55.5,\"lastSynced\":$::Now,"
. '"healthy":false,"deployed":\{"id": ?"p",[^}]*\},"location":\{[^}]*\},'
. '"futureDemand":\[[^]]*\],"activeDemand":\{[^}]*\},"needsMovement":true,"hasFood":true,'
. '"tripType":"DELIVERY","needsMaintenance":true,"needsPickup":true,"driveable":false,'
. '"operationState":"ON_TRIP","attemptCancellationReason":"rain",'
. '"undergoingMaintenance":false,"usable":false,"reasons":\["UNHEALTHY",'
. '"NOT_DRIVEABLE","MAINTENANCE","NEEDS_PICKUP","HAS_FOOD","ON_TRIP","LID_OPEN",'
. '"HELD","BUSY"\]')



=== TEST 2: one that may be quoted; one that was not heard since; one that is not known
--- request eval
[map { "GET /supply?serial=s350-$_" } qw(good late none nobody)]
--- response_body_like eval
my $null = CORE::join ',', (map { "\"$_\":null" } qw(battery lastSynced healthy
 deployed location)), '"futureDemand":\[\]', map { "\"$_\":null" } qw(activeDemand needsMovement hasFood tripType needsMaintenance
 needsPickup driveable operationState attemptCancellationReason undergoingMaintenance);
[main::item('s350-good', '"status":"ONLINE",.*"usable":true,"reasons":\[\]'),
 main::item('s350-late', '"status":"OFFLINE",.*"usable":false,"reasons":\["OFFLINE"\]'),
 main::item('s350-none', "\"status\":\"OFFLINE\",$null,\"usable\":false,\"reasons\":\\[\"OFFLINE\",\"OFF_DUTY\"\\]"),
 qr/^\{"items":\[\],"nextCursor":null\}$/]



=== TEST 3: pages, by serial
--- request eval
my @cursor = map { '&cursor=' . Coco::cursor(0, "s350-$_") } qw(good z9999);
["GET /supply?limit=2&$::First", "GET /supply?limit=2$cursor[0]",
 "GET /supply?limit=2$cursor[1]", 'GET /supply?limit=500']
--- response_body_like eval
[main::serials('good', 'all', 'good'), main::serials('none', 'late', 'none'),
 main::serials(undef), qr/"nextCursor":"[\w-]+"\}$/]



=== TEST 4: the usable ones are found, however many stand before them
--- request eval
my $cursor = '&cursor=' . Coco::cursor(0, 's350-good');
["GET /supply?usable=true&$::First", "GET /supply?usable=true&limit=2&$::First",
 "GET /supply?usable=true&limit=1$cursor", "GET /supply?usable=false&limit=2&$::First",
 'GET /supply?usable=true&serial=s350-late']
--- response_body_like eval
[main::serials(undef, qw(good z9998 z9999)), main::serials(qw(z9998 good z9998)),
 main::serials(qw(z9998 z9998)), main::serials(qw(late all late)),
 main::serials(undef)]



=== TEST 5: a request looks at 10,000 robots, and the next one goes on
--- request eval
['GET /supply?usable=true&limit=2',
 'GET /supply?usable=true&limit=2&cursor=' . Coco::cursor(0, 'a350-10000')]
--- response_body_like eval
[qr/^\{"items":\[\],"nextCursor":"@{[Coco::cursor(0, 'a350-10000')]}"\}$/,
 main::serials(qw(z9998 good z9998))]



=== TEST 6: arguments that are none
--- request eval
[map { "GET /supply?$_" } 'serial=a%2Fb', 'usable=1', 'limit=0', 'cursor=x',
 'cursor=' . Coco::cursor(0, 'a b')]
--- error_code eval
[(400) x 5]
--- response_body_like eval
[map { qr/"field":"$_"/ } qw(serial usable limit cursor cursor)]



=== TEST 7: scopes, methods, and no Postgres
--- http_config eval: Coco::down('postgres')
--- more_headers eval
[Coco::bearer(scope => 'dispatch:write'), (Coco::bearer()) x 2]
--- request eval
['GET /supply', "POST /supply\n{}", 'GET /supply']
--- error_code eval
[403, 405, 503]
--- no_error_log
[alert]
