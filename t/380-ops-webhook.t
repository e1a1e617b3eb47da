# POST /uber/v1/webhook and POST /doordash/v1/webhook: who may send, what is
# refused and why, what is stored, and under which id.

use Test::Nginx::Socket;
use Coco;
use Digest::SHA qw(hmac_sha256_hex);
use MIME::Base64 qw(encode_base64);

no_shuffle();
no_long_string();
worker_connections(1024);

# Uber's guide publishes a key, a body and what they make.
our $Key = 'c5c26d5a-70d6-46c7-a652-d7c09825ad29';
our $Vector = '{"kind": "event.courier_update", "location": '
    . '{"lat": 37.7974109, "lng": -122.424145}}';
our $Digest =
    'cdff8133fb065f8d37a2c1c94c3331b6a82766d14e7ea4faacc4886558cedd65';

$ENV{TEST_NGINX_UBER_KEY} = write_file('uber.key', "$Key\nrest\n");
$ENV{TEST_NGINX_UBER_OLD} = write_file('uber.old', 'old-s3cret');
$ENV{TEST_NGINX_DOORDASH_TOKEN} = write_file('doordash.token', "t0ken-now\n");
$ENV{TEST_NGINX_DOORDASH_OLD} = write_file('doordash.old', 't0ken-old');
$ENV{TEST_NGINX_DOORDASH_BASIC} = write_file('doordash.basic', 'dd:pass:w0rd');
$ENV{TEST_NGINX_UBER_EMPTY} = write_file('uber.empty', "\nsecond\n");

our $Location = <<'END';
location /uber/ {
    coco_ops;
    coco_uber_signing_key $TEST_NGINX_UBER_OLD;
    coco_uber_signing_key $TEST_NGINX_UBER_KEY;
}
location /doordash/ {
    coco_ops;
    coco_doordash_token bearer $TEST_NGINX_DOORDASH_TOKEN;
    coco_doordash_token bearer $TEST_NGINX_DOORDASH_OLD;
    coco_doordash_token basic $TEST_NGINX_DOORDASH_BASIC;
}
END

our $Json = 'Content-Type: application/json';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(config => $Location) unless defined $block->config;
    Coco::defaults($block);
});

sql(<<'END');
delete from coco.webhook_inbox where provider in ('uber', 'doordash');
END

sub signature {
    my ($body, $key) = @_;
    return hmac_sha256_hex($body, $key // $Key);
}

# The headers of a body that is signed.
sub signed {
    my ($body, %is) = @_;
    my $header = $is{header} // 'x-uber-signature';
    return "$header: " . signature($body, $is{key}) . "\n"
        . ($is{type} // $Json) . ($is{more} // '');
}

sub uber {
    return "POST /uber/v1/webhook\n$_[0]";
}

sub status {
    my ($id, %is) = @_;
    my %all = (id => qq("s380-$id"), kind => '"event.delivery_status"',
        status => '"pending"', delivery_id => qq("del_s380-$id"),
        created => '"2026-11-18T10:00:00Z"', %is);
    return '{' . join(',', map { qq("$_":$all{$_}) }
        grep { defined $all{$_} } sort keys %all) . '}';
}

our $Bearer = "Authorization: Bearer t0ken-now\n$Json";

sub basic {
    return 'Authorization: Basic ' . encode_base64($_[0], '') . "\n$Json";
}

sub doordash {
    my ($id, %is) = @_;
    my %all = (event_name => '"DASHER_PICKED_UP"',
        external_delivery_id => qq("s380-$id"),
        updated_at => '"2026-11-18T10:00:00Z"', %is);
    return "POST /doordash/v1/webhook\n{" . join(',', map { qq("$_":$all{$_}) }
        grep { defined $all{$_} } sort keys %all) . '}';
}

# A webhook of just that many bytes.
sub sized {
    my ($id, $size) = @_;
    my $empty = status($id, more => '""');
    return status($id, more => '"' . 'x' x ($size - length $empty) . '"');
}

sub chunked {
    my ($size, $body) = @_;
    return join '', map({ sprintf "%x\r\n%s\r\n", length $_, $_ }
        unpack "(a$size)*", $body), "0\r\n\r\n";
}

our $Empty = qr/\A\z/;
our $None = "Content-Length: 0\n!Content-Type";

plan 'no_plan';
run_tests();

sub stored {
    my ($provider, $where) = @_;
    return sql("select count(*) from coco.webhook_inbox"
        . " where provider = '$provider' and $where");
}

is(stored('uber', "payload ->> 'kind' = 'event.courier_update'"), 1,
    'the vector is stored, and once');
is(sql("select event_id, id is not null, payload::text, done_at is null,"
    . " received_at > now() - interval '1 hour' from coco.webhook_inbox"
    . " where event_id = 's380-good'"), 's380-good|t|'
    . '{"id": "s380-good", "kind": "event.delivery_status", "status":'
    . ' "pending", "created": "2026-11-18T10:00:00Z", "delivery_id":'
    . ' "del_s380-good"}|t|t', 'as it came');
is(stored('uber', "event_id like 's380-bad%'"), 0, 'none that was refused');
is(stored('uber', "event_id = 's380-twice'"), 1, 'a repeat is stored once');
is(stored('uber', "event_id like 's380-kind%'"), 3, 'kinds that are unknown');
is(stored('uber', "event_id like 's380-parts%'"), 5, 'bodies in parts');
is(sql("select bool_and(length(payload ->> 'more') > 1000000), count(*)"
    . " from coco.webhook_inbox where event_id like 's380-large%'"), 't|2',
    'as large as may be');
is(stored('uber', "payload ->> 'delivery_id' = 'del_s380-noid'"), 3,
    'without an id: by delivery, status and time');
is(stored('uber', "payload ->> 'note' = 's380'"), 2,
    'without any of them: by the body');
is(stored('doordash', "payload ->> 'external_delivery_id' like 's380-bad%'"),
    0, "none of DoorDash's that was refused");
is(stored('doordash', "payload ->> 'external_delivery_id' = 's380-good'"), 4,
    'an event has no id: by delivery, name and time');
is(stored('doordash', "payload ->> 'external_delivery_id' = 's380-body'"), 2,
    'and without a time by the body');

__DATA__

=== TEST 1: Uber's published vector, twice
--- more_headers eval
[("x-uber-signature: $::Digest\n$::Json") x 2]
--- request eval
[(main::uber($::Vector)) x 2]
--- error_code eval
[200, 200]
--- response_body_like eval
[($::Empty) x 2]
--- response_headers eval
[($::None) x 2]



=== TEST 2: with one byte changed, in the body and in the signature
--- more_headers eval
[("x-uber-signature: $::Digest\n$::Json") x 2,
 'x-uber-signature: ' . $::Digest =~ s/^c/d/r . "\n$::Json",
 'x-uber-signature: ' . $::Digest =~ s/5$/6/r . "\n$::Json"]
--- request eval
[main::uber($::Vector =~ s/109/108/r), main::uber($::Vector =~ s/: /:/r),
 (main::uber($::Vector)) x 2]
--- error_code eval
[(401) x 4]
--- response_headers eval
[("Content-Type: application/problem+json\nWWW-Authenticate: x-uber-signature realm=\"coco\"") x 4]
--- response_body_like eval
[(qr/"status":401,"detail":"The HMAC-SHA256 of the body/) x 4]
--- log_level: info
--- error_log
webhook of uber refused: the signature is wrong
--- no_error_log
[alert]
c5c26d5a



=== TEST 3: signatures that are none
--- more_headers eval
["$::Json", "x-uber-signature: \n$::Json",
 'x-uber-signature: ' . substr($::Digest, 0, 63) . "\n$::Json",
 "x-uber-signature: ${\substr($::Digest, 0, 62)}\n$::Json",
 "x-uber-signature: ${main::Digest}0\n$::Json",
 'x-uber-signature: ' . uc($::Digest) . "\n$::Json",
 'x-uber-signature: ' . $::Digest =~ s/c/g/r . "\n$::Json",
 "x-uber-signature: sha256=$::Digest\n$::Json",
 'x-uber-signature: ' . '0' x 64 . "\n$::Json",
 "Authorization: Bearer t0ken-now\n$::Json"]
--- request eval
[(main::uber($::Vector)) x 10]
--- error_code eval
[(401) x 10]



=== TEST 4: the signature's other header; of several the first one counts
--- more_headers eval
my $body = main::status('twice');
my $good = main::signature($body);
my $bad = '0' x 64;
[main::signed($body, header => 'X-Postmates-Signature'),
 "x-postmates-signature: $bad\nx-uber-signature: $good\n$::Json",
 "x-postmates-signature: $good\nx-uber-signature: $bad\n$::Json",
 "x-uber-signature: $good\nx-uber-signature: $bad\n$::Json",
 "x-uber-signature: $bad\nx-uber-signature: $good\n$::Json"]
--- request eval
[(main::uber(main::status('twice'))) x 5]
--- error_code eval
[200, 200, 401, 200, 401]



=== TEST 5: each key of the ring is good, no other
--- more_headers eval
my $good = main::status('good');
my $bad = main::status('bad-key');
[main::signed($good), main::signed($good, key => 'old-s3cret'),
 main::signed($bad, key => 'rest'), main::signed($bad, key => "$::Key\n"),
 main::signed($bad, key => 't0ken-now'), main::signed($bad, key => '')]
--- request eval
[(main::uber(main::status('good'))) x 2, (main::uber(main::status('bad-key'))) x 4]
--- error_code eval
[200, 200, 401, 401, 401, 401]
--- response_body_like eval
[($::Empty) x 2, (qr/401/) x 4]



=== TEST 6: the bytes are signed, not what they mean
--- more_headers eval
my $sent = '{"id":"s380-slash","kind":"event.x","url":"https:\/\/x.test\/","n":1.0}';
my $again = '{"id":"s380-bad-again","kind":"event.x","url":"https://x.test/","n":1}';
[main::signed($sent), main::signed($again =~ s/":/": /gr)]
--- request eval
[main::uber('{"id":"s380-slash","kind":"event.x","url":"https:\/\/x.test\/","n":1.0}'),
 main::uber('{"id":"s380-bad-again","kind":"event.x","url":"https://x.test/","n":1}')]
--- error_code eval
[200, 401]



=== TEST 7: kinds that nobody knows, and another envelope
--- more_headers eval
[map { main::signed($_) } main::status('kind-1', kind => '"event.refund_request"'),
 main::status('kind-2', kind => 'null', status => '[{}]'),
 '{"event_id":"s380-kind-3","event_type":"dapi.refund_requested","meta":{}}']
--- request eval
[map { main::uber($_) } main::status('kind-1', kind => '"event.refund_request"'),
 main::status('kind-2', kind => 'null', status => '[{}]'),
 '{"event_id":"s380-kind-3","event_type":"dapi.refund_requested","meta":{}}']
--- error_code eval
[200, 200, 200]
--- response_body_like eval
[($::Empty) x 3]



=== TEST 8: events without an id, the first of them once more
--- more_headers eval
my @bodies = map { main::status('noid', id => undef, @$_) } [], [
    status => '"canceled"'], [created => '"2026-11-18T10:00:01Z"'], [];
[map { main::signed($_) } @bodies, ('{"note":"s380"}', '{"note": "s380"}') x 2]
--- request eval
my @bodies = map { main::status('noid', id => undef, @$_) } [], [
    status => '"canceled"'], [created => '"2026-11-18T10:00:01Z"'], [];
[map { main::uber($_) } @bodies, ('{"note":"s380"}', '{"note": "s380"}') x 2]
--- error_code eval
[(200) x 8]



=== TEST 9: bodies that are no JSON object, or that Postgres would refuse
--- more_headers eval
[map { main::signed($_) } '{', '[]', 'null', '', '{"a":1,"a":2}',
 main::status('bad', status => '"\\u0000"'), main::status('bad', more => '"\\ud800"'),
 main::status('bad', more => '1e400'), main::status('bad', more => "\"\xff\""),
 main::status('bad', more => '[' x 40 . ']' x 40)]
--- request eval
[map { main::uber($_) } '{', '[]', 'null', '', '{"a":1,"a":2}',
 main::status('bad', status => '"\\u0000"'), main::status('bad', more => '"\\ud800"'),
 main::status('bad', more => '1e400'), main::status('bad', more => "\"\xff\""),
 main::status('bad', more => '[' x 40 . ']' x 40)]
--- error_code eval
[(400) x 10]
--- response_body_like eval
[(qr/"errors":\[\{"field":"body"/) x 4, qr/"field":"a"/, qr/"field":"status"/,
 (qr/"field":"more/) x 4]



=== TEST 10: what is wrong is not said to who did not sign
--- more_headers eval
[main::signed('{', key => 'other')]
--- request eval
[main::uber('{')]
--- error_code eval
[401]



=== TEST 11: media types
--- more_headers eval
my $bad = main::status('bad-type');
my $good = main::status('twice');
[main::signed($bad, type => 'Content-Type: text/plain'),
 main::signed($bad, type => 'X-No: type'),
 main::signed($bad, type => 'Content-Type: application/x-www-form-urlencoded'),
 main::signed($good, type => 'Content-Type: application/json; charset=utf-8')]
--- request eval
[(main::uber(main::status('bad-type'))) x 3, main::uber(main::status('twice'))]
--- error_code eval
[415, 415, 415, 200]



=== TEST 12: a megabyte in memory, and a byte more
--- config eval: "client_body_buffer_size 2m;\n$::Location"
--- more_headers eval
[main::signed(main::sized('large-1', 1048576)), main::signed(main::sized('bad-large', 1048577))]
--- request eval
[main::uber(main::sized('large-1', 1048576)), main::uber(main::sized('bad-large', 1048577))]
--- error_code eval
[200, 413]
--- response_body_like eval
[$::Empty, qr/"status":413/]
--- timeout: 20



=== TEST 13: the same in chunks, by way of a file
--- config eval: "client_body_buffer_size 1k;\n$::Location"
--- more_headers eval
[main::signed(main::sized('large-2', 1048576), more => "\nTransfer-Encoding: chunked"),
 main::signed(main::sized('bad-large', 1048577), more => "\nTransfer-Encoding: chunked")]
--- request eval
[main::uber(main::chunked(50000, main::sized('large-2', 1048576))),
 main::uber(main::chunked(50000, main::sized('bad-large', 1048577)))]
--- error_code eval
[200, 413]
--- response_body_like eval
[$::Empty, qr/"status":413/]
--- timeout: 20



=== TEST 14: bodies in memory and in a file, in one piece and in several
--- config eval: "client_body_buffer_size 200;\n$::Location"
--- more_headers eval
my @bodies = map { main::sized("parts-$_", 150 * $_) } 1 .. 5;
my $more = "\nTransfer-Encoding: chunked";
[map({ main::signed($_) } @bodies[0, 1, 2]), map { main::signed($_, more => $more) }
 @bodies[3, 4]]
--- request eval
my @bodies = map { main::sized("parts-$_", 150 * $_) } 1 .. 5;
my ($head, $tail) = main::uber($bodies[2]) =~ /\A(.{60})(.*)/s;
[main::uber($bodies[0]), main::uber($bodies[1]),
 [$head, { value => $tail, delay_before => 0.05 }],
 main::uber(main::chunked(7, $bodies[3])), main::uber(main::chunked(400, $bodies[4]))]
--- error_code eval
[(200) x 5]
--- response_body_like eval
[($::Empty) x 5]



=== TEST 15: a changed byte is found there, too
--- config eval: "client_body_buffer_size 200;\n$::Location"
--- more_headers eval
[main::signed(main::sized('bad-file', 5000)),
 main::signed(main::sized('bad-file', 5000), more => "\nTransfer-Encoding: chunked")]
--- request eval
my $body = main::sized('bad-file', 5000) =~ s/x"/y"/r;
[main::uber($body), main::uber(main::chunked(300, $body))]
--- error_code eval
[401, 401]



=== TEST 16: a refused body does not spoil the connection
--- more_headers eval
[main::signed(main::status('twice'), key => 'bad'), main::signed(main::status('twice')),
 "x-uber-signature: short\n$::Json", main::signed(main::status('twice'))]
--- pipelined_requests eval
[(main::uber(main::status('twice'))) x 4]
--- error_code eval
[401, 200, 401, 200]
--- response_body_like eval
[qr/401/, $::Empty, qr/401/, $::Empty]



=== TEST 17: without a key all are refused; the log says why
--- config
location /uber/ { coco_ops; }
--- log_level: info
--- more_headers eval: main::signed($::Vector)
--- request eval: main::uber($::Vector)
--- error_code: 401
--- error_log
no coco_uber_signing_key is configured



=== TEST 18: keys are inherited, and replaced as a whole
--- http_config eval
Coco::http_config() . "coco_uber_signing_key $ENV{TEST_NGINX_UBER_OLD};"
    . "coco_doordash_token bearer $ENV{TEST_NGINX_DOORDASH_OLD};"
--- config
location /uber/ {
    coco_ops;
    coco_uber_signing_key $TEST_NGINX_UBER_KEY;
}
location /doordash/ { coco_ops; }
--- more_headers eval
my $body = main::status('twice');
[main::signed($body), main::signed($body, key => 'old-s3cret'),
 $::Bearer =~ s/now/old/r, $::Bearer]
--- request eval
[(main::uber(main::status('twice'))) x 2, (main::doordash('good')) x 2]
--- error_code eval
[200, 401, 200, 401]



=== TEST 19: methods and paths that are none
--- request eval
['GET /uber/v1/webhook', 'PUT /uber/v1/webhook', 'GET /doordash/v1/webhook',
 'POST /uber/v1', 'POST /uber/v1/webhook/', 'POST /doordash/webhook']
--- error_code eval
[405, 405, 405, 404, 404, 404]



=== TEST 20: without Postgres it is to come again
--- http_config eval: Coco::down('postgres')
--- more_headers eval
[main::signed(main::status('bad-down')), $::Bearer, main::signed('{}', key => 'x')]
--- request eval
[main::uber(main::status('bad-down')), main::doordash('bad-down'), main::uber('{}')]
--- error_code eval
[503, 503, 401]
--- response_headers eval
["Retry-After: 1\nContent-Type: application/problem+json",
 "Retry-After: 1\nContent-Type: application/problem+json",
 'Content-Type: application/problem+json']



=== TEST 21: DoorDash's tokens
--- more_headers eval
[$::Bearer, "Authorization: bearer  t0ken-old\n$::Json",
 "Authorization: BEARER t0ken-now\n$::Json", main::basic('dd:pass:w0rd'),
 main::basic('dd:pass:w0rd') =~ s/Basic/basic/r]
--- request eval
[(main::doordash('good')) x 5]
--- error_code eval
[(200) x 5]
--- response_body_like eval
[($::Empty) x 5]
--- response_headers eval
[($::None) x 5]



=== TEST 22: no others
--- more_headers eval
[$::Json, "Authorization: t0ken-now\n$::Json", "Authorization: Bearer\n$::Json",
 "Authorization: Bearer t0ken-no\n$::Json", "Authorization: Bearer t0ken-now2\n$::Json",
 "Authorization: Bearer T0ken-now\n$::Json", "Authorization: Token t0ken-now\n$::Json",
 "Authorization: Bearertt0ken-now\n$::Json", main::basic('t0ken-now'),
 main::basic('dd:pass'), main::basic('dd:pass:w0rd') =~ s/Basic/Bearer/r,
 "Authorization: Basic dd:pass:w0rd\n$::Json", "Authorization: Bearer dd:pass:w0rd\n$::Json",
 Coco::bearer() . "\n$::Json"]
--- request eval
[(main::doordash('bad-token')) x 14]
--- error_code eval
[(401) x 14]
--- response_headers eval
[('WWW-Authenticate: Bearer realm="coco", Basic realm="coco"') x 14]
--- log_level: info
--- error_log
webhook of doordash refused: the
--- no_error_log
[alert]
t0ken
w0rd



=== TEST 23: which of DoorDash's events are the same
--- more_headers eval
[($::Bearer) x 9]
--- request eval
[main::doordash('good', event_name => '"DELIVERY_CANCELLED"'),
 main::doordash('good', event_name => undef, event_type => '"DASHER_DROPPED_OFF"'),
 main::doordash('good', updated_at => '"2026-11-18T10:00:01Z"'),
 main::doordash('good', fee => 975),
 (map { main::doordash('body', updated_at => undef, fee => $_) } 1, 2, 1),
 main::doordash('kind', event_name => '"DELIVERY_BATCHED"'),
 main::doordash('kind', event_name => undef)]
--- error_code eval
[(200) x 9]



=== TEST 24: what DoorDash may not send
--- more_headers eval
["Authorization: Bearer t0ken-now\nContent-Type: text/plain", $::Bearer, $::Bearer,
 "$::Bearer\nX-Uber-Signature: $::Digest"]
--- request eval
[main::doordash('bad-type'), "POST /doordash/v1/webhook\n{", main::doordash('bad', fee => '"\\u0000"'),
 "POST /doordash/v1/webhook\n[]"]
--- error_code eval
[415, 400, 400, 400]
--- response_body_like eval
[qr/"status":415/, qr/"field":"body"/, qr/"field":"fee"/, qr/"field":"body"/]



=== TEST 25: without a token all are refused; the log says why
--- config
location /doordash/ { coco_ops; }
--- log_level: info
--- more_headers eval: $::Bearer
--- request eval: main::doordash('bad-none')
--- error_code: 401
--- error_log
no coco_doordash_token is configured



=== TEST 26: they are counted, each sender's for itself
--- config eval
"$::Location location = /metrics { coco_metrics; }"
--- more_headers eval
my $body = main::status('twice');
[main::signed($body), main::signed($body, key => 'x'), main::signed('{'), 'x-no-signature: 1',
 "Authorization: Bearer x\n$::Json", $::Bearer,
 "Authorization: Bearer t0ken-now\nContent-Type: text/plain", 'X: y']
--- request eval
my $body = main::status('twice');
[main::uber($body), main::uber($body), main::uber('{'), main::uber('{}'),
 main::doordash('good'), main::doordash('good'), main::doordash('good'), 'GET /metrics']
--- error_code eval
[200, 401, 400, 401, 401, 200, 415, 200]
--- response_body_like eval
my ($uber, $dash) = map { qr/coco_webhooks_total\{provider="$_",outcome=/ } qw(uber doordash);
[$::Empty, (qr/status/) x 4, $::Empty, qr/415/, qr/
    $uber"accepted"\}[ ][1-9]\d*\n $uber"unauthorized"\}[ ][1-9]\d*\n
    $uber"unsupported_media_type"\}[ ]\d+\n $uber"too_large"\}[ ]\d+\n
    $uber"invalid"\}[ ][1-9]\d*\n $uber"unavailable"\}[ ]\d+\n
    $uber"failed"\}[ ]0\n $uber"abandoned"\}[ ]\d+\n
    $dash"accepted"\}[ ][1-9]\d*\n $dash"unauthorized"\}[ ][1-9]\d*\n
    $dash"unsupported_media_type"\}[ ][1-9]\d*\n/x]



=== TEST 27: a file that is not there
--- config
location /uber/ { coco_ops; coco_uber_signing_key no-such-file; }
--- must_die
--- error_log eval
qr/"coco_uber_signing_key": open\(\) "[^"]*no-such-file" failed/



=== TEST 28: a first line that is empty
--- config
location /uber/ { coco_ops; coco_uber_signing_key $TEST_NGINX_UBER_EMPTY; }
--- must_die
--- error_log
"coco_uber_signing_key": the first line of



=== TEST 29: a scheme that is none
--- config
location /doordash/ { coco_ops; coco_doordash_token digest $TEST_NGINX_DOORDASH_TOKEN; }
--- must_die
--- error_log
"coco_doordash_token" must be "bearer" or "basic" and a file, not "digest"



=== TEST 30: a password without a name
--- config
location /doordash/ { coco_ops; coco_doordash_token basic $TEST_NGINX_DOORDASH_TOKEN; }
--- must_die
--- error_log
must be name:password
