# POST /driveu/webhook: who may send, what is refused and why, what is stored,
# and that webhooks share their commits.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
worker_connections(1024);

$ENV{TEST_NGINX_DRIVEU_NOW} = write_file('driveu.now', "now-s3cret\nrest\n");
$ENV{TEST_NGINX_DRIVEU_OLD} = write_file('driveu.old', 'old-s3cret');
$ENV{TEST_NGINX_DRIVEU_EMPTY} = write_file('driveu.empty', "\nsecond\n");

our $Location = <<'END';
location /driveu/ {
    coco_state;
    coco_driveu_secret $TEST_NGINX_DRIVEU_NOW;
    coco_driveu_secret $TEST_NGINX_DRIVEU_OLD;
}
END

our $Json = 'Content-Type: application/json';
our $Good = "X-DriveU-Token: now-s3cret\n$Json";

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(config => $Location) unless defined $block->config;
    $block->set_value(more_headers => $Good)
        unless defined $block->more_headers || defined $block->raw_request;
    Coco::defaults($block);
});

our $Us = now_ms() . '123';
sql("delete from coco.webhook_inbox where payload ->> 'uuid' like 's150%'");

# A statement takes its time, so that others come meanwhile: of a storm all,
# also where nginx is slow to send it.
sub pause {
    sql(<<"END");
create or replace function coco.s150() returns trigger language plpgsql as \$\$
begin
    perform pg_sleep($_[0]);
    return null;
end \$\$;
END
}

pause(0.05);
sql(<<'END');
create or replace trigger s150 before insert on coco.webhook_inbox
    for each statement execute function coco.s150();
END

# A webhook as DriveU sends it; members override, undef drops.
sub hook {
    my ($uuid, %is) = @_;
    my %all = (eventName => '"status"', unit => '"streamer"',
        status => '"online"', vin => '"s150-a"', time => $Us,
        uuid => qq("s150-$uuid"), %is);
    return '{' . join(',', map { qq("$_":$all{$_}) }
        grep { defined $all{$_} } sort keys %all) . '}';
}

sub post {
    return "POST /driveu/webhook\n" . hook(@_);
}

# Sent by nginx itself, all at once: an SSI page's subrequests do not wait
# for each other.
our $Many = 200;
our $Body = hook('storm-$args');
our $Storm = $Location . <<"END";
location = /storm { ssi on; default_type text/html; }
location /send/ {
    proxy_method POST;
    proxy_http_version 1.1;
    proxy_set_header X-DriveU-Token old-s3cret;
    proxy_set_header Content-Type application/json;
    proxy_set_body '$Body';
    proxy_pass http://127.0.0.1:\$TEST_NGINX_CLIENT_PORT/driveu/webhook;
}
END
our $Page = join '', map { qq(<!--#include virtual="/send/?$_" -->) }
    1 .. $Many;

our $Id = qr/\{"id":"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"\}/;

plan 'no_plan';
run_tests();

sql('set client_min_messages = warning; drop function coco.s150 cascade');

sub stored {
    return sql("select count(*) from coco.webhook_inbox"
        . " where payload ->> 'uuid' like 's150-$_[0]'");
}

is(stored('good%'), 2, 'each good one is stored');
is(sql("select provider, event_id = id::text, payload::text, done_at is null,"
    . " waiting_for is null, received_at > now() - interval '1 hour'"
    . " from coco.webhook_inbox where payload ->> 'uuid' = 's150-good'"),
    qq(driveu|t|{"vin": "s150-a", "time": $Us, "unit": "streamer",)
    . ' "uuid": "s150-good", "status": "online", "eventName": "status"}|t|t|t',
    'as it came');
is(stored('twice%'), 1, 'a repeat is stored once');
is(stored('bad%'), 0, 'nothing that was refused is stored');
is(stored('parts%'), 3, 'bodies in parts');
is(stored('word%'), 1, 'an unknown word is kept');
is(stored('storm%'), $Many, 'each of the storm is stored');

my $commits = sql("select count(distinct xmin::text) from coco.webhook_inbox"
    . " where payload ->> 'uuid' like 's150-storm%'");
ok($commits > 0 && $commits < $Many / 2,
    "$Many webhooks shared $commits commits");

__DATA__

=== TEST 1: both secrets are good
--- more_headers eval
[map { "x-driveu-token: $_-s3cret\n$::Json; charset=utf-8" } qw(now old)]
--- request eval
[main::post('good'), main::post('good-2')]
--- error_code eval
[202, 202]
--- response_body_like eval
[(qr/^$::Id$/) x 2]
--- response_headers eval
[('Content-Type: application/json') x 2]



=== TEST 2: no other is, whatever comes with it
--- more_headers eval
["X-DriveU-Token: now-s3cre\n$::Json", "X-DriveU-Token: now-s3crets\n$::Json",
 "X-DriveU-Token:\n$::Json", $::Json, Coco::bearer() . "\n$::Json",
 "X-DriveU-Token: rest\n$::Json", 'X-DriveU-Token: x']
--- request eval
[(main::post('bad-secret')) x 6, "POST /driveu/webhook\n{"]
--- error_code eval
[(401) x 7]
--- response_headers eval
[("Content-Type: application/problem+json\nWWW-Authenticate: X-DriveU-Token realm=\"coco\"") x 7]
--- response_body_like eval
[(qr/"status":401,"detail":"The shared secret is needed in the header X-DriveU-Token\."/) x 7]
--- log_level: info
--- error_log
webhook of driveu refused: the secret is
--- no_error_log
[alert]
s3cre



=== TEST 3: a refused body does not spoil the connection
--- more_headers eval
["X-DriveU-Token: bad\n$::Json", $::Good, "X-DriveU-Token: bad\n$::Json", $::Good]
--- pipelined_requests eval
[main::post('bad-pipe'), main::post('twice'), main::post('bad-pipe'),
 main::post('twice')]
--- error_code eval
[401, 202, 401, 202]
--- response_body_like eval
[qr/401/, qr/^$::Id$/, qr/401/, qr/^$::Id$/]



=== TEST 4: another header's name, and none of the secrets
--- config
location /driveu/ {
    coco_state;
    coco_driveu_secret $TEST_NGINX_DRIVEU_NOW;
    coco_driveu_header X-Other;
}
--- more_headers eval
[$::Good, "x-other: now-s3cret\n$::Json", "X-Other: old-s3cret\n$::Json"]
--- request eval
[main::post('bad-header'), main::post('twice'), main::post('bad-header')]
--- error_code eval
[401, 202, 401]
--- response_body_like eval
[qr/in the header X-Other\./, $::Id, qr/401/]



=== TEST 5: without a secret all are refused; the log says why
--- config
location /driveu/ { coco_state; }
--- log_level: info
--- request eval: main::post('bad-none')
--- error_code: 401
--- error_log
no coco_driveu_secret is configured



=== TEST 6: secrets are inherited
--- http_config eval
Coco::http_config() . "coco_driveu_secret $ENV{TEST_NGINX_DRIVEU_OLD};"
--- config
location /driveu/ { coco_state; }
--- more_headers eval
["X-DriveU-Token: old-s3cret\n$::Json", $::Good]
--- request eval
[main::post('twice'), main::post('bad-own')]
--- error_code eval
[202, 401]



=== TEST 7: and replaced as a whole
--- http_config eval
Coco::http_config() . "coco_driveu_secret $ENV{TEST_NGINX_DRIVEU_OLD};"
--- config
location /driveu/ {
    coco_state;
    coco_driveu_secret $TEST_NGINX_DRIVEU_NOW;
}
--- more_headers eval
["X-DriveU-Token: old-s3cret\n$::Json", $::Good]
--- request eval
[main::post('bad-own'), main::post('twice')]
--- error_code eval
[401, 202]



=== TEST 8: media types
--- more_headers eval
["X-DriveU-Token: now-s3cret\nContent-Type: text/plain",
 "X-DriveU-Token: now-s3cret", "X-DriveU-Token: now-s3cret\nContent-Type: application/jsonp",
 "X-DriveU-Token: now-s3cret\nContent-Type: application/vnd.driveu+json"]
--- request eval
[(main::post('bad-type')) x 3, main::post('twice')]
--- error_code eval
[415, 415, 415, 202]
--- response_body_like eval
[(qr/"status":415,.*application\/json/) x 3, $::Id]



=== TEST 9: sizes
--- request eval
[main::post('bad-huge', more => '"' . 'x' x 65536 . '"'),
 main::post('twice', more => '"' . 'x' x 65000 . '"'),
 'POST /driveu/webhook']
--- error_code eval
[413, 202, 400]
--- response_body_like eval
[qr/"status":413/, $::Id, qr/"errors":\[\{"field":"body"/]



=== TEST 10: a chunked body that grows too large
--- more_headers eval
[("$::Good\nTransfer-Encoding: chunked") x 2]
--- request eval
my $large = main::hook('bad-huge', more => '"' . 'x' x 65536 . '"');
my $small = main::hook('parts-1');
[map { "POST /driveu/webhook\n" . CORE::join '', map { sprintf("%x\r\n%s\r\n",
    length $_, $_) } unpack('(a7000)*', $_), '' } $large, $small]
--- error_code eval
[413, 202]
--- response_body_like eval
[qr/"status":413/, $::Id]



=== TEST 11: bodies that come piece by piece, chunked or not
--- request eval
my ($head, $tail) = main::post('parts-2') =~ /(.*vin)(.*)/s;
my $body = main::hook('parts-3');
[[$head, { value => $tail, delay_before => 0.05 }],
 ["POST /driveu/webhook\n", map({ { value => sprintf("%x\r\n%s\r\n", length $_, $_),
    delay_before => 0.01 } } unpack '(a40)*', $body), "0\r\n\r\n"]]
--- more_headers eval
[$::Good, "$::Good\nTransfer-Encoding: chunked"]
--- error_code eval
[202, 202]
--- response_body_like eval
[($::Id) x 2]



=== TEST 12: every bad field is named
--- request eval
[main::post('bad', eventName => '"moved"', unit => '"drone"', status => '""',
    vin => '"a b"', time => substr($::Us, 0, 13)),
 main::post('bad', eventName => undef, unit => undef, status => undef,
    uuid => undef, vin => undef, time => undef),
 main::post('bad', eventName => 1, unit => '[]', status => '{}', vin => 'true',
    time => '"' . $::Us . '"')]
--- error_code eval
[400, 400, 400]
--- response_body_like eval
[qr/"errors":\[\{"field":"eventName",.*\{"field":"unit",.*\{"field":"status",.*\{"field":"vin",.*\{"field":"time","detail":"looks like milliseconds; microseconds expected"\}\]\}$/,
 qr/"errors":\[\{"field":"eventName",.*\{"field":"unit",.*\{"field":"status",.*\{"field":"uuid",.*\{"field":"time",[^\]]*\]\}$/,
 qr/"field":"eventName".*"field":"unit".*"field":"status".*"field":"vin".*"field":"time"/]



=== TEST 13: one bad field alone
--- request eval
[main::post('bad', unit => '"Streamer"'), main::post('bad', time => 1),
 main::post('bad', time => substr($::Us, 0, 10)),
 main::post('bad', time => $::Us . '000'),
 main::post('bad', time => $::Us + 2 * 86400e6),
 main::post('bad', status => '"' . 'x' x 65 . '"'),
 main::post('word', status => '"rebooting"')]
--- error_code eval
[(400) x 6, 202]
--- response_body_like eval
[qr/"errors":\[\{"field":"unit","detail":"one of streamer node relay expected"\}\]/,
 qr/"field":"time","detail":"before 2015"/, qr/looks like seconds/,
 qr/looks like nanoseconds/, qr/over a day ahead/, qr/"field":"status"/, $::Id]



=== TEST 14: bodies that are no JSON object, or that Postgres would refuse
--- request eval
["POST /driveu/webhook\n{", "POST /driveu/webhook\n[]",
 "POST /driveu/webhook\nnull", main::post('bad', more => '"\\u0000"'),
 main::post('bad', more => '"\\ud800"'), main::post('bad', more => '1e400'),
 main::post('bad', more => "\"\xff\""), "POST /driveu/webhook\n{\"a\":1,\"a\":2}",
 main::post('bad', more => '[' x 40 . ']' x 40)]
--- error_code eval
[(400) x 9]
--- response_body_like eval
[(qr/"errors":\[\{"field":/) x 9]



=== TEST 15: methods and paths that are none
--- request eval
['GET /driveu/webhook', 'HEAD /driveu/webhook', 'PUT /driveu/webhook',
 'DELETE /driveu/webhook', 'OPTIONS /driveu/webhook']
--- error_code eval
[(405) x 5]
--- response_headers eval
[('Allow: POST') x 5]



=== TEST 16: paths that are none
--- request eval
["POST /driveu/\n{}", "POST /driveu/webhook/\n{}", "POST /driveu/webhooks\n{}"]
--- error_code eval
[404, 404, 404]



=== TEST 17: many at once share their commits
--- config eval: $::Storm
--- init
main::pause(0.5);
--- user_files eval
">>> storm\n$::Page"
--- request
GET /storm
--- response_body_like eval
qr/^(?:$::Id){$::Many}$/
--- timeout: 20



=== TEST 18: without Postgres
--- http_config eval: Coco::down('postgres')
--- request eval: main::post('bad-down')
--- error_code: 503
--- response_headers
Retry-After: 1
Content-Type: application/problem+json
--- response_body_like: Postgres cannot be reached



=== TEST 19: the secret comes first there too
--- http_config eval: Coco::down('postgres')
--- more_headers
X-DriveU-Token: x
--- request eval: main::post('bad-down')
--- error_code: 401



=== TEST 20: a file that is not there
--- config
location /driveu/ { coco_state; coco_driveu_secret no-such-file; }
--- must_die
--- error_log eval
qr/"coco_driveu_secret": open\(\) "[^"]*no-such-file" failed/



=== TEST 21: a first line that is empty
--- config
location /driveu/ { coco_state; coco_driveu_secret $TEST_NGINX_DRIVEU_EMPTY; }
--- must_die
--- error_log
"coco_driveu_secret": the first line of



=== TEST 22: a header that cannot be one
--- config
location /driveu/ { coco_state; coco_driveu_header "X Token"; }
--- must_die
--- error_log
"coco_driveu_header" must be a header's name



=== TEST 23: two headers
--- config
location /driveu/ { coco_driveu_header A; coco_driveu_header B; }
--- must_die
--- error_log
"coco_driveu_header" directive is duplicate
