# /partners/uber/: Uber's access token, fetched once for all, renewed, refused;
# what goes there and what comes back; outages of Uber and of its authorization
# server; worker processes that are killed.  By the locations of
# conf/coco.conf.

use Test::Nginx::Socket;
use Test::More;
use Coco;
use Digest::SHA qw(sha1_hex);
use Partner;
use Time::HiRes qw(time sleep);

master_on();
workers(2);
no_shuffle();
no_long_string();
log_level('info');
worker_connections(512);

our $Path = '/partners/uber/v1/customers/c/deliveries';
our $Server = "Uber's authorization server";

partner_start();

# Each block has a client of its own, so that no token is there before it; the
# zone outlives blocks where nginx is reloaded between them.
our $Client = 0;

sub server {
    $Client++;
    return partner_server('coco-stack ' => "client-$Client ", @_);
}

sub first {
    told(reset => 1);
    my $reply = call(POST => "$Path?a=1&b=%20c", '{"pickup":"é"}',
        'Content-Type' => 'application/json', 'Idempotency-Key' => 'k-1',
        @Partner::Own);
    my ($is, $fields) = ($$reply{json}, $$reply{json}{fields});
    is($$reply{status}, 200, 'it is passed on');
    is_deeply([sort keys %$fields], [qw(authorization content-length
        content-type host idempotency-key user-agent)],
        'what is of this hop stays');
    is("$$is{method} $$is{uri}", 'POST /v1/customers/c/deliveries?a=1&b=%20c',
        'as it is');
    is($$is{sha1}, sha1_hex('{"pickup":"é"}'), 'with its body');
    is($$fields{authorization}, 'Bearer token-1', 'our token');
    is($$fields{cookie}, undef, 'no cookie goes');
    is($$reply{headers}{'set-cookie'}, undef, 'and none comes');
    is($$fields{host}, 'api.uber.com', 'its name');
    is($$fields{'idempotency-key'}, 'k-1', 'other headers');

    my $asked = ledger()->{token};
    is($$asked{body}, 'grant_type=client_credentials&client_id=client-1'
        . '&client_secret=a%20secret%3A%20100%25%20%2B%20more%20%26%20so%3Don'
        . '&scope=eats.deliveries', 'the form');
    is_deeply([sort keys %{ $$asked{fields} }], [qw(accept connection
        content-length content-type host)], 'nothing of the caller goes there');
    is("$$asked{method} $$asked{uri} $$asked{fields}{'content-type'}",
        'POST /oauth/v2/token application/x-www-form-urlencoded', 'posted');

    my $led = call(GET => "$Path?accel=/oauth/uber");
    is($$led{json}{method}, 'GET', 'no answer leads to what is internal');
    unlike($$led{content}, qr/access_token/, 'nor to a token');
    is($$led{headers}{'x-accel-redirect'}, undef, 'which is not told, either');

    for my $method (qw(GET DELETE PUT)) {
        my $again = call($method, $Path, $method eq 'PUT' ? 'x' : undef);
        is($$again{json}{method}, $method, $method);
    }
    my $head = call(HEAD => $Path);
    is($$head{status}, 200, 'HEAD');
    ok($$head{headers}{'content-length'} > 100, 'its length');
    is(ledger()->{tokens}, 1, 'one token for all');
    ok(ledger()->{connections} < 6, 'connections are kept');
    return;
}

sub bodies {
    told(reset => 1, refuse => 'token-1');
    my $body = join '', map { chr rand 256 } 1 .. 256 << 10;
    my $reply = call(POST => $Path, $body);
    is($$reply{json}{sha1}, sha1_hex($body), 'a body is sent again');
    is($$reply{json}{fields}{authorization}, 'Bearer token-2',
        'with another token');
    my @parts = ($body =~ /(.{1,5000})/gs, '');
    is(call(POST => $Path, sub { shift @parts })->{json}{sha1},
        sha1_hex($body), 'one in chunks');
    is(problem(call(POST => $Path, "${body}x")),
        '413 Refused before any endpoint saw the request.', 'one too large');
    is(length call(GET => "$Path?size=3000000")->{content}, 3000000,
        'a large answer');
    told(refuse => 'token-2');
    @parts = ('some', 'thing');
    $reply = call(POST => "$Path//a%2Fb%3B?c=/../%2e%20", sub { shift @parts },
        @Partner::Own);
    is($$reply{json}{sha1}, sha1_hex('something'), 'chunks, sent again');
    is($$reply{json}{uri}, '/v1/customers/c/deliveries//a%2Fb%3B?c=/../%2e%20',
        'by the same path');
    is_deeply([sort keys %{ $$reply{json}{fields} }], [qw(authorization
        content-length content-type host user-agent)], 'by the same fields');
    is(ledger()->{tokens}, 3, 'each refusal is a token');
    return;
}

sub callers {
    told(reset => 1);
    my %is = (header => sub { $_[0]{headers}{'www-authenticate'} // '' });
    my $reply = call(POST => $Path, 'x' x 100000, Authorization => '');
    is(problem($reply), '401 A bearer token is needed in the Authorization'
        . ' header.', 'no token');
    is($is{header}->($reply), 'Bearer realm="coco"', 'whose realm it is');
    is($$reply{json}{instance}, $Path, 'what it is about');
    $reply = call(GET => $Path, undef, (split /: /, bearer()));
    is(problem($reply), '403 The token lacks the scope partners:write.',
        'another scope');
    is(call(GET => '/oauth/uber')->{status}, 404, 'nobody asks for tokens');
    is(ledger()->{tokens}, 0, 'nothing is fetched for them');
    return;
}

sub at_once {
    told(reset => 1, delay => 0.3);
    is_deeply(many(64, $Path), { 200 => 64 }, 'all are answered');
    is(ledger()->{tokens}, 1, 'by one token');
    told(refuse => 'token-1');
    is_deeply(many(64, $Path), { 200 => 64 }, 'when it is refused, too');
    is(ledger()->{tokens}, 2, 'one more');
    ok(reloaded(), 'a reload');
    is_deeply(many(8, $Path), { 200 => 8 }, 'goes on');
    is(ledger()->{tokens}, 2, 'with the same token');
    return;
}

sub refused {
    told(reset => 1, refuse => 'all');
    my ($begun, $count) = (time, 0);
    for (1 .. 20) {
        my $reply = call(POST => $Path, 'x');
        $count++ if problem($reply) eq '502 Uber refuses our credentials, also'
            . ' with a new token.' && $$reply{json}{instance} eq $Path
            && !defined $$reply{headers}{'www-authenticate'};
    }
    is($count, 20, 'that is what is said');
    my $tokens = ledger()->{tokens};
    ok($tokens <= 3 + time - $begun, "no token for each request: $tokens");
    told(reset => 1);
    ok(await(sub { call(GET => $Path)->{status} == 200 }), 'until it is good');
    return;
}

# The next token comes ahead, and who begins to fetch it does not wait. Where
# this machine was too slow to ask in time it is tried again.
sub renewed {
    for (1 .. 10) {
        told(reset => 1, expires => 3);
        my $asked;      # before it was issued, thus it ends 3 s later at least
        await(sub {
            $asked = time;
            return call(GET => $Path)->{json}{fields}{authorization} eq
                'Bearer token-1';
        });
        told(delay => 1.5);
        my $seen;
        await(sub {
            my $reply = call(GET => $Path, undef, Connection => 'close');
            $seen = [time - $asked, $$reply{json}{fields}{authorization}];
            return ledger()->{tokens} >= 2;
        });
        next if $$seen[0] > 2.5;
        is($$seen[1], 'Bearer token-1', 'the old token goes on');
        ok(await(sub { call(GET => $Path)->{json}{fields}{authorization} eq
            'Bearer token-2' }), 'until the new one is there');
        return;
    }
    fail('no renewal was seen');
    return;
}

sub server_fails {
    for my $case (
        [{ status => 500 }, "503 $Server is not able to answer; try again"
            . ' later.'],
        [{ status => 429 }, "503 $Server is not able to answer; try again"
            . ' later.'],
        [{ status => 401 }, "502 $Server refuses our credentials; the error log"
            . " has its answer's status."],
        [{ status => 0 }, "502 $Server cannot be reached; try again later."],
        [{ junk => 'no%20JSON' }, "502 $Server answered without a token; the"
            . ' error log says what is wrong.'],
        [{ junk => 'x' x 20000 }, "502 $Server answered without a token; the"
            . ' error log says what is wrong.'],
        [{ large => 100000 }, "502 $Server answered without a token; the error"
            . ' log says what is wrong.', 'large'],
        [{ large => 100000, chunked => 1 }, "502 $Server answered without a"
            . ' token; the error log says what is wrong.', 'large, in chunks'],
        [{ unspoken => 1 }, "502 $Server answered without a token; the error"
            . ' log says what is wrong.', 'no HTTP'],
        [{ delay => 3600 }, "504 $Server did not answer in time; try again"
            . ' later.'],
    ) {
        my ($told, $said, $name) = @$case;
        told(reset => 1, %$told);
        my $is;
        await(sub { $is = problem(call(POST => $Path, '{}'));
            return ledger()->{tokens} && $is eq $said });
        is($is, $said, $name // $said);
    }
    my $begun = time;
    told(reset => 1, status => 500);
    my $reply;
    await(sub { $reply = call(GET => $Path); $$reply{status} == 503 });
    is($$reply{headers}{'retry-after'}, 1, 'when to try again');
    is($$reply{json}{instance}, $Path, 'what it is about');
    call(GET => $Path) for 1 .. 50;
    my $tokens = ledger()->{tokens};
    ok($tokens < 10 + time - $begun, "the server is let alone: $tokens");

    told(status => 200);
    ok(await(sub { call(GET => $Path)->{status} == 200 }), 'it is back');
    return;
}

sub partner_fails {
    told(reset => 1);
    for my $status (400, 403, 404, 409, 429, 500, 502, 503, 504) {
        my $reply = call(GET => "$Path?status=$status");
        is("$$reply{status} $$reply{json}{method}", "$status GET",
            "$status is its own");
    }
    is(problem(call(POST => "$Path?close=1", 'x')),
        '502 Uber cannot be reached; try again later.', 'no answer');
    is(problem(call(GET => "$Path?delay=30")),
        '504 Uber did not answer in time; try again later.', 'a late one');
    is(problem(call(GET => "$Path?unspoken=1")),
        '502 Uber cannot be reached; try again later.', 'no HTTP');
    told(refuse => 'token-1');
    is(problem(call(GET => "$Path?close=1")),
        '502 Uber cannot be reached; try again later.', 'the second time');
    is(ledger()->{tokens}, 2, 'with another token');
    return;
}

# Both processes, so that one of them is the one that fetches.
sub killed {
    told(reset => 1, delay => 3600);
    my $client = fork // die "fork: $!";
    if ($client == 0) {
        call(POST => $Path, 'x');      # a GET would be sent again
        POSIX::_exit(0);
    }
    ok(await(sub { ledger()->{tokens} == 1 }), 'one fetches');
    my $master = master_pid();
    my %killed = map { $_ => 1 } workers_of($master);
    kill KILL => keys %killed;
    waitpid $client, 0;
    ok(await(sub { my @now = workers_of($master);
        @now == 2 && !grep { $killed{$_} } @now }), 'others are there');
    told(delay => 0);
    is(call(GET => $Path)->{status}, 200, 'another fetches');
    is(ledger()->{tokens}, 2, 'once its time is over');
    return;
}

# Who began to fetch is gone; the fetch goes on, and is of use.
sub left {
    told(reset => 1, delay => 0.5);
    my %fields = %{ Partner::header() };
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $ENV{TEST_NGINX_CLIENT_PORT}) or die "connect: $!";
    print $socket "GET $Path HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
        . "$fields{Authorization}\r\n\r\n";
    $socket->flush;
    ok(await(sub { ledger()->{tokens} == 1 }), 'one fetches');
    close $socket;
    is_deeply(many(4, $Path), { 200 => 4 }, 'others are answered');
    is(ledger()->{tokens}, 1, 'by its token');
    return;
}

# Requests that wait, while their processes are told to end.
sub leaving {
    told(reset => 1, delay => 0.5);
    my $client = fork // die "fork: $!";
    if ($client == 0) {
        my $statuses = many(16, $Path);
        POSIX::_exit(($$statuses{200} // 0) == 16 ? 0 : 1);
    }
    ok(await(sub { ledger()->{tokens} == 1 }), 'one fetches');
    ok(reloaded(), 'a reload');
    waitpid $client, 0;
    is($?, 0, 'all are answered');
    is(call(GET => $Path)->{status}, 200, 'and others');
    is(ledger()->{tokens}, 1, 'by that token');
    return;
}

# In none of the logs: what we are known by, what callers are known by.
sub silent {
    my $text = log_text();
    my ($caller) = Partner::header()->{Authorization} =~ /(\S+)$/;
    for my $secret ('token-\d', 'a secret', 'a%20secret', 'client_secret',
        quotemeta $caller)
    {
        unlike($text, qr/$secret/, "no $secret");
    }
    return;
}

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: what goes there and comes back
--- http_config eval: Partner::partner_http()
--- config eval: main::server()
--- init
main::first(); main::silent();
--- request
GET /partners/uber/
--- error_code: 401
--- no_error_log
[alert]
[error]



=== TEST 2: bodies, and a token that is refused once
--- http_config eval: Partner::partner_http()
--- config eval: main::server()
--- init
main::bodies(); main::silent();
--- request
GET /partners/uber/
--- error_code: 401
--- no_error_log
[alert]



=== TEST 3: those who may not
--- http_config eval: Partner::partner_http()
--- config eval: main::server()
--- init
main::callers();
--- request
GET /partners/uber/
--- error_code: 401
--- no_error_log
[alert]



=== TEST 4: many at once
--- http_config eval: Partner::partner_http()
--- config eval: main::server()
--- init
main::at_once(); main::silent();
--- request
GET /partners/uber/
--- error_code: 401
--- no_error_log
[alert]
[error]



=== TEST 5: refused again and again
--- http_config eval: Partner::partner_http()
--- config eval: main::server()
--- init
main::refused(); main::silent();
--- request
GET /partners/uber/
--- error_code: 401
--- no_error_log
[alert]
[error]



=== TEST 6: renewed ahead
--- http_config eval: Partner::partner_http()
--- config eval: main::server()
--- init
main::renewed(); main::silent();
--- request
GET /partners/uber/
--- error_code: 401
--- no_error_log
[alert]
[error]



=== TEST 7: no token can be got
--- http_config eval: Partner::partner_http()
--- config eval: main::server('proxy_read_timeout 5s' => 'proxy_read_timeout 700ms')
--- init
main::server_fails(); main::silent();
--- request
GET /partners/uber/
--- error_code: 401
--- error_log
coco: no token from Uber: answered 500
coco: no token from Uber: is no JSON object
coco: no token from Uber: gave no answer of a size that subrequest_output_buffer_size allows
coco: no token from Uber: did not answer in HTTP
coco: no token from Uber: did not answer in time
--- no_error_log
[alert]



=== TEST 8: the partner is away, or says so
--- http_config eval: Partner::partner_http()
--- config eval: main::server('proxy_read_timeout 15s' => 'proxy_read_timeout 5s')
--- init
main::partner_fails(); main::silent();
--- request
GET /partners/uber/
--- error_code: 401
--- no_error_log
[alert]



=== TEST 9: who fetches is killed
--- http_config eval: Partner::partner_http()
--- config eval: main::server('timeout=20s' => 'timeout=1500ms')
--- init
main::killed();
--- request
GET /partners/uber/
--- error_code: 401
--- no_error_log
[emerg]



=== TEST 10: who fetches leaves
--- http_config eval: Partner::partner_http()
--- config eval: main::server()
--- init
main::left();
--- request
GET /partners/uber/
--- error_code: 401
--- no_error_log
[alert]



=== TEST 11: who fetches is to end
--- http_config eval: Partner::partner_http()
--- config eval: main::server()
--- init
main::leaving();
--- request
GET /partners/uber/
--- error_code: 401
--- no_error_log
[alert]
[error]



=== TEST 12: an authorization server that nobody is
--- http_config eval: Partner::partner_http() =~ s/(coco_uber_auth \{\s+server )[^;]+/${1}127.0.0.1:$ENV{TEST_NGINX_CLOSED_PORT}/r
--- config eval: main::server()
--- request
POST /partners/uber/v1/x
{}
--- more_headers eval: Coco::bearer(scope => 'partners:write')
--- error_code: 502
--- response_body chomp
{"type":"about:blank","title":"Bad Gateway","status":502,"detail":"Uber's authorization server cannot be reached; try again later.","instance":"/partners/uber/v1/x"}
--- error_log
coco: no token from Uber: cannot be reached (502)
--- no_error_log
[alert]



=== TEST 13: no zone
--- http_config eval: Partner::partner_http() =~ s/coco_oauth_zone 64k;//r
--- config eval: main::server()
--- must_die
--- error_log
no "coco_oauth_zone" is given, and "coco_uber_oauth" needs it
--- no_error_log
[alert]



=== TEST 14: the variable, and no credentials anywhere
--- http_config
--- config
    location /a { proxy_set_header Authorization "Bearer $coco_uber_token"; proxy_pass http://127.0.0.1:1/; }
--- must_die
--- error_log
$coco_uber_token is used, and no "coco_uber_oauth" is given
--- no_error_log
[alert]



=== TEST 15: no arguments
--- http_config
    coco_oauth_zone 64k;
--- config
    location /a { coco_uber_oauth /oauth/uber id; }
--- must_die
--- error_log
"coco_uber_oauth" directive must have a path, a client id and the file of its secret
--- no_error_log
[alert]



=== TEST 16: unknown parameter
--- http_config
    coco_oauth_zone 64k;
--- config
    location /a { coco_uber_oauth /oauth/uber id $TEST_NGINX_UBER_SECRET timeout=never; }
--- must_die
--- error_log
"coco_uber_oauth": invalid parameter "timeout=never"
--- no_error_log
[alert]



=== TEST 17: no path
--- http_config
    coco_oauth_zone 64k;
--- config
    location /a { coco_uber_oauth https://auth.example/ id $TEST_NGINX_UBER_SECRET; }
--- must_die
--- error_log
"coco_uber_oauth": "https://auth.example/" must be the path of an internal location
--- no_error_log
[alert]



=== TEST 18: no secret
--- http_config
    coco_oauth_zone 64k;
--- config
    location /a { coco_uber_oauth /oauth/uber id /nonexistent/secret; }
--- must_die
--- error_log
"coco_uber_oauth": open() "/nonexistent/secret" failed
--- no_error_log
[alert]



=== TEST 19: a zone too small
--- http_config
    coco_oauth_zone 4k;
--- config
--- must_die
--- error_log
"coco_oauth_zone" must be a size of at least 32k, not "4k"
--- no_error_log
[alert]



=== TEST 20: more tokens than there is room for
--- http_config
    coco_oauth_zone 32k;
--- config eval
CORE::join "\n", map { "location /$_ { coco_uber_oauth /oauth id-$_ $ENV{TEST_NGINX_UBER_SECRET}; }" } 1 .. 9
--- must_die
--- error_log
"coco_oauth_zone" has room for 4 tokens, and 9 are to be kept: give more
--- no_error_log
[alert]



=== TEST 21: coco_scope: none
--- http_config
--- config
    location /a { coco_scope ""; return 200; }
--- must_die
--- error_log
"coco_scope" must be a token's scope
--- no_error_log
[alert]



=== TEST 22: coco_scope: twice
--- http_config
--- config
    location /a { coco_scope a; coco_scope b; return 200; }
--- must_die
--- error_log
"coco_scope" directive is duplicate
--- no_error_log
[alert]
