# The Postgres client: both lanes, a server that is away, one that refuses, a
# schema that is not there yet.

use Test::Nginx::Socket 'no_plan';
use Coco;

no_shuffle();
no_long_string();

$ENV{TEST_NGINX_MOCK_PORT} = $ENV{TEST_NGINX_CLOSED_PORT};

robot('s030-a', state => 'PARKED');

# A server's message: its type, its length, its fields.
sub message {
    my ($type, $body) = @_;
    return $type . pack('N', 4 + length $body) . $body;
}

our $Fatal = message('E', "SFATAL\0VFATAL\0C28P01\0"
    . "Mpassword authentication failed\0\0");

sub postgres {
    my ($port, $database, %is) = @_;
    return Coco::http_config(coco_postgres =>
        qq("host=127.0.0.1 port=$port user=coco dbname=$database"), %is);
}

# The first attempt to connect comes before the server that the runner plays
# listens, and before the runner reads the log: "wait" is for the next one.
add_block_preprocessor(\&Coco::defaults);
run_tests();

__DATA__

=== TEST 1: a read by key waits for the connection that is being made
--- request
GET /state/s030-a
--- response_body_like: "state":"PARKED"
--- no_error_log
[alert]
[error]



=== TEST 2: several at once on one connection, answered in their order
--- pipelined_requests eval
["GET /state/s030-a", "GET /state/s030-none", "GET /state/s030-a",
 "GET /state/s030-a/history?limit=1", "GET /state/s030-a"]
--- error_code eval
[200, 404, 200, 200, 200]
--- no_error_log
[alert]
[error]



=== TEST 3: lists, on connections of their own
--- request
GET /robots?limit=1
--- response_body_like: ^\{"items":\[
--- no_error_log
[alert]
[error]



=== TEST 4: a unix socket that is not there
--- http_config eval
Coco::http_config(coco_postgres =>
    '"host=/nonexistent/folder user=coco dbname=coco"')
--- wait: 0.5
--- request
GET /state/s030-a
--- error_code: 503
--- error_log
No such file or directory
--- no_error_log
[alert]



=== TEST 5: nobody listens: both lanes say so at once
--- http_config eval: Coco::down('postgres')
--- request eval
["GET /state/s030-a", "GET /robots?limit=1", "GET /state/s030-a"]
--- error_code eval
[503, 503, 503]
--- no_error_log
[alert]



=== TEST 6: a server that refuses us
--- http_config eval: main::postgres($ENV{TEST_NGINX_MOCK_PORT}, 'coco')
--- tcp_listen: $TEST_NGINX_MOCK_PORT
--- tcp_reply eval: $::Fatal
--- wait: 0.5
--- request
GET /state/s030-a
--- error_code: 503
--- error_log
password authentication failed
--- no_error_log
[alert]



=== TEST 7: a server that speaks another protocol
--- http_config eval: main::postgres($ENV{TEST_NGINX_MOCK_PORT}, 'coco')
--- tcp_listen: $TEST_NGINX_MOCK_PORT
--- tcp_reply eval: "HTTP/1.1 400 Bad Request\r\n\r\n"
--- wait: 0.5
--- request
GET /state/s030-a
--- error_code: 503
--- error_log
cannot connect
--- no_error_log
[alert]



=== TEST 8: a server that accepts and says nothing
--- http_config eval
main::postgres($ENV{TEST_NGINX_MOCK_PORT}, 'coco',
    coco_postgres_timeout => '100ms')
--- tcp_listen: $TEST_NGINX_MOCK_PORT
--- tcp_no_close
--- tcp_reply:
--- wait: 0.5
--- request
GET /state/s030-a
--- error_code: 503
--- no_error_log
[alert]



=== TEST 9: a database without the schema: the log says which statement
--- http_config eval: main::postgres($ENV{TEST_NGINX_POSTGRES_PORT}, 'postgres')
--- wait: 0.5
--- request
GET /state/s030-a
--- error_code: 503
--- error_log eval
[qr/a statement cannot be prepared \(SQLSTATE (3F000|42P01)\): "coco_/]
--- no_error_log
[alert]



=== TEST 10: a lock held by another: the time is up, the next is answered
--- http_config eval: Coco::http_config(coco_postgres_timeout => '200ms')
--- init
$main::Holder = open my $pipe, '|-', "psql -X -q -h 127.0.0.1"
    . " -p $ENV{TEST_NGINX_POSTGRES_PORT} -U coco -d coco" or die;
$pipe->autoflush(1);
print $pipe "begin; lock table coco.robot_state;\n";
$main::Pipe = $pipe;
while (Coco::sql(q(select count(*) from pg_locks where granted and mode =
    'AccessExclusiveLock' and relation = 'coco.robot_state'::regclass)) == 0)
{
    select undef, undef, undef, 0.01;
}
--- request
GET /state/s030-a
--- error_code: 503
--- no_error_log
[alert]



=== TEST 11: the lock is gone, the same connection serves
--- init
close $main::Pipe;
--- config eval: Coco::locations()
--- request
GET /state/s030-a
--- response_body_like: "state":"PARKED"
--- no_error_log
[alert]
[error]
