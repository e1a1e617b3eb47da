# The Fleet scopes over gRPC: frames, messages and statuses, as nginx's own
# client of gRPC gets them. What a method answers is told by 310 and 360.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
no_root_location();
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => main::server())
        unless defined $block->http_config;
    $block->set_value(config => $main::Front) unless defined $block->config;
    $block->set_value(more_headers => main::call())
        unless defined $block->more_headers;
    $block->set_value(no_error_log => '[alert]')
        unless defined $block->no_error_log;
});

our $Socket = "unix:$ENV{TEST_NGINX_SERVROOT}/logs/grpc.sock";
our $Labor = '/coco.fleet.v1.FleetLaborProviderScopeService';
our $Beacon = '/coco.fleet.v1.FleetBeaconScopeService';

# From HTTP/1.1 to what is under test, and back.
our $Front = <<"END";
location / { grpc_pass grpc://$Socket; client_body_buffer_size 4m; }
location /direct/ { coco_grpc; }
END

sub server {
    return Coco::http_config(@_) . <<"END";
server {
    listen $main::Socket http2;
    client_max_body_size 64k;
    client_body_buffer_size 64k;
    error_page 400 404 405 413 500 503 /grpc-error;
    location = /grpc-error {
        internal;
        client_max_body_size 0;
        coco_grpc;
    }
    location /coco.fleet.v1. { coco_grpc; }
    location / { return 404; }
}
END
}

# headers of a call; more lines may follow
sub call {
    return join "\n", Coco::bearer(), 'Content-Type: application/grpc', @_;
}

sub frame {
    my ($message, $flag) = @_;
    return pack('CN', $flag // 0, length $message) . $message;
}

# fields of messages
sub number {
    my ($n) = @_;
    return $n < 128 ? chr $n : chr($n & 127 | 128) . number($n >> 7);
}

sub text {
    my ($n, $text) = @_;
    return number($n << 3 | 2) . number(length $text) . $text;
}

sub varint { my ($n, $v) = @_; return number($n << 3) . number($v) }
sub double { my ($n, $v) = @_; return pack 'Cd<', $n << 3 | 1, $v }

sub get {
    my ($serial) = @_;
    return "POST $Labor/Get\n" . frame(text(1, $serial));
}

our $Id = '11111111-1111-8111-8111-111111111111';

redis('SET', 'robot.heartbeat.cache.s370-a', qq({"serial":"s370-a","id":"$Id",)
    . '"ts":7,"receivedAt":9,"operationState":"PARKED","healthy":false,'
    . '"battery":{"percent":64.5,"charging":true,"odd":[1]},"location":'
    . '{"latitude":37.5,"longitude":-122.25,"speed":0},"components":'
    . '{"motor":"OK","gone":null,"l\u00edder":"ERROR"}}', 'PX', 600_000);
redis('SET', 'robot.heartbeat.cache.s370-least', '{"serial":"s370-least"}',
    'PX', 600_000);
redis('SET', 'robot.heartbeat.cache.s370-odd', '{"battery":[]}',
    'PX', 600_000);
redis('SET', 'robot.heartbeat.cache.s370-text', 'no JSON', 'PX', 600_000);
redis('DEL', 'robot.heartbeat.cache.s370-gone');

our $Robot = text(1, 's370-a') . text(2, $Id) . varint(3, 7) . varint(4, 9)
    . text(5, 'PARKED') . varint(6, 0)
    . text(7, double(1, 64.5) . varint(2, 1))
    . text(8, double(1, 37.5) . double(2, -122.25) . double(4, 0))
    . text(9, text(1, 'motor') . text(2, 'OK'))
    . text(9, text(1, "l\xc3\xadder") . text(2, 'ERROR'));

sql(q{delete from coco.fleet_robot where serial like 's370-%';
delete from coco.external_robot_mapping where serial like 's370-%';
insert into coco.fleet_robot (id, serial)
    values ('37000000-0000-4000-8000-000000000001', 's370-a');
insert into coco.external_robot_mapping values ('s370', 'v1', 's370-a'),
    ('s370', 'v2', 's370-a')});

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: a message
--- request eval: main::get('s370-a')
--- response_headers
Content-Type: application/grpc
X-Coco-Cache: MISS
! grpc-message
--- response_body eval: main::frame($::Robot)



=== TEST 2: what is not known is absent
--- request eval: main::get('s370-least')
--- response_body eval: main::frame(main::text(1, 's370-least'))



=== TEST 3: the beacon's messages
--- request eval
["POST $::Beacon/GetVehicleBySerial\n"
    . main::frame(main::text(1, 's370-a')),
 "POST $::Beacon/GetVirtualRobot\n"
    . main::frame(main::text(1, '37000000-0000-4000-8000-000000000001')),
 "POST $::Beacon/GetExternalRobotMappings\n"
    . main::frame(main::text(1, 's370') . main::varint(3, 1))]
--- response_body eval
my $vehicle = sub { main::text(1, 's370') . main::text(2, $_[0]) };
my $next = Coco::cursor(4, 's370v1');
[main::frame(main::text(1, 's370-a')
    . main::text(2, '37000000-0000-4000-8000-000000000001')
    . main::text(3, $vehicle->('v1')) . main::text(3, $vehicle->('v2'))),
 main::frame(main::text(1, '37000000-0000-4000-8000-000000000001')
    . main::text(2, 's370-a')),
 main::frame(main::text(1, $vehicle->('v1') . main::text(3, 's370-a'))
    . main::text(2, $next))]



=== TEST 4: no call at all
--- request eval
["GET $::Labor/Get", main::get('s370-a'), main::get('s370-a'),
 main::get('s370-a'), "POST /direct$::Labor/Get\n" . main::frame('')]
--- more_headers eval
my @bearer = Coco::bearer();
[main::call(), "@bearer\nContent-Type: application/json",
 "@bearer\nContent-Type: application/grpc+json",
 "@bearer\nContent-Type: application/grpc-web", main::call()]
--- error_code eval
[405, 415, 415, 415, 415]
--- response_headers eval
['Allow: POST', ('Content-Type: application/problem+json') x 4]



=== TEST 5: media types that are
--- request eval
[(main::get('s370-least')) x 3]
--- more_headers eval
my @bearer = Coco::bearer();
["@bearer\nContent-Type: application/grpc+proto",
 "@bearer\nContent-Type: APPLICATION/GRPC;x=y",
 "@bearer\nContent-Type: application/grpc ; x"]
--- response_body eval
[(main::frame(main::text(1, 's370-least'))) x 3]



=== TEST 6: tokens
--- request eval
[(main::get('s370-a')) x 3]
--- more_headers eval
my $type = "Content-Type: application/grpc\n";
[$type, $type . Coco::bearer(scope => 'robots:read'),
 $type . Coco::bearer(exp => 1)]
--- error_code eval
[200, 200, 200]
--- response_headers eval
["grpc-status: 16\nContent-Type: application/grpc",
 "grpc-status: 7\ngrpc-message: The token lacks the scope fleet:read.",
 'grpc-status: 16']



=== TEST 7: not found
--- request eval
[main::get('s370-gone'),
 "POST $::Beacon/GetVehicleBySerial\n" . main::frame(main::text(1, 's370-gone')),
 "POST $::Beacon/GetVirtualRobot\n" . main::frame(main::text(1, 's370-a')),
 "POST $::Beacon/GetVirtualRobot\n" . main::frame('')]
--- response_headers eval
[('grpc-status: 5') x 4]
--- response_body eval
[('') x 4]



=== TEST 8: no such method, service or path
--- request eval
["POST $::Labor/Got\n" . main::frame(''), "POST $::Labor\n" . main::frame(''),
 "POST /coco.fleet.v2.FleetBeaconScopeService/GetVirtualRobot\n"
    . main::frame(''), "POST /\n" . main::frame('')]
--- response_headers eval
[('grpc-status: 12') x 4]



=== TEST 9: arguments
--- request eval
[main::get(''), main::get('a b'), main::get('x' x 65),
 "POST $::Labor/Get\n" . main::frame(''), main::get('stream'),
 "POST $::Beacon/GetExternalRobotMappings\n" . main::frame(main::varint(3, 0)),
 "POST $::Beacon/GetExternalRobotMappings\n"
    . main::frame(main::varint(3, 501)),
 "POST $::Beacon/GetExternalRobotMappings\n"
    . main::frame(main::text(4, 'cursor')),
 "POST $::Beacon/GetExternalRobotMappings\n"
    . main::frame(main::text(1, "\xff"))]
--- response_headers eval
my $serial = "grpc-status: 3\ngrpc-message: serial must be 1 to 64 characters"
    . ' of A-Z a-z 0-9 . _ -.';
[($serial) x 5, "grpc-status: 3\ngrpc-message: limit must be an integer from"
    . ' 1 to 500.', ('grpc-status: 3') x 3]



=== TEST 10: frames that are none, or not one
--- request eval
my $head = "POST $::Labor/Get\n";
my $one = main::frame(main::text(1, 's370-a'));
[$head, $head . "\0", $head . substr($one, 0, -1), $head . $one . 'x',
 $head . $one . $one, $head . main::frame(main::text(1, 's370-a'), 2),
 $head . main::frame(main::text(1, 's370-a'), 1)]
--- response_headers eval
[('grpc-status: 3') x 6, "grpc-status: 12\ngrpc-accept-encoding: identity"]



=== TEST 11: messages that are none, and members that nobody knows
--- request eval
my $head = "POST $::Labor/Get\n";
[$head . main::frame('abc'), $head . main::frame("\x0a\x09s370"),
 $head . main::frame("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a"),
 $head . main::frame(main::text(1, "s370-least\0x")),
 $head . main::frame(main::text(1, 's370-least') . main::text(9, 'x' x 100))]
--- response_headers eval
[('grpc-status: 3') x 4, 'Content-Type: application/grpc']



=== TEST 12: too large, for a method and for nginx
--- request eval
my $head = "POST $::Labor/Get\n";
[$head . main::frame(main::text(1, 's370-least') . main::text(9, 'x' x 16_000)),
 $head . main::frame(main::text(9, 'x' x 17_000)),
 $head . main::frame(main::text(9, 'x' x 3_000_000))]
--- response_headers eval
['! grpc-message', 'grpc-status: 8', 'grpc-status: 8']



=== TEST 13: deadlines
--- request eval
[(main::get('s370-least')) x 13]
--- more_headers eval
[map { main::call("grpc-timeout: $_") } qw(0m 0n 999u 1H 1M 99999999S 5000m
    5000000u 1 m 1d 123456789m -1S)]
--- response_headers eval
[('grpc-status: 4') x 3, ('! grpc-message') x 5, ('grpc-status: 3') x 5]



=== TEST 14: copies that are no message
--- request eval
[main::get('s370-odd'), main::get('s370-text')]
--- response_headers eval
[('grpc-status: 13') x 2]
--- error_log
in redis is not of its form



=== TEST 15: without Redis, without Postgres
--- http_config eval
my $down = $ENV{TEST_NGINX_CLOSED_PORT};
main::server(coco_redis => "127.0.0.1:$down", coco_postgres =>
    qq("host=127.0.0.1 port=$down user=coco dbname=coco"))
--- request eval
[main::get('s370-a'), "POST $::Beacon/GetVehicleBySerial\n"
    . main::frame(main::text(1, 's370-a'))]
--- response_headers eval
["grpc-status: 14\ngrpc-message: Postgres cannot be reached; try again later."
    . "\nRetry-After: 1", 'grpc-status: 14']



=== TEST 16: needs Postgres
--- http_config eval
main::server(coco_postgres => undef)
--- must_die
--- error_log
no "coco_postgres" is given



=== TEST 17: shares its location with nobody
--- config
location / { coco_grpc; coco_dispatch; }
--- must_die
--- error_log
cannot share its location with another handler
