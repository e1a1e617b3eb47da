# /partners/doordash/: a token that we sign, verified there; what goes and what
# comes back; a token that is refused, and outages. By the locations of
# conf/coco.conf.

use Test::Nginx::Socket;
use Test::More;
use Coco;
use Digest::SHA qw(sha1_hex);
use Partner;

no_shuffle();
no_long_string();
log_level('info');
worker_connections(512);

our $Path = '/partners/doordash/drive/v2/deliveries';

partner_start();

# Locations with other settings, which must not be taken for each other's.
our $Others = <<'END';
location /other/ {
    coco_doordash_credentials other-id other-key $TEST_NGINX_DOORDASH_SECRET;
    proxy_set_header Authorization "Bearer $coco_doordash_jwt";
    proxy_pass http://coco_doordash/drive/;
}
location /base/ {
    coco_doordash_credentials coco-stack coco-stack-1 $TEST_NGINX_DOORDASH_SECRET;
    proxy_set_header Authorization "Bearer $coco_doordash_jwt";
    coco_partner_prefix /base;
    proxy_pass http://coco_doordash/drive$coco_partner_path;
}
location /none/ {
    proxy_set_header Authorization "Bearer $coco_doordash_jwt";
    proxy_pass http://coco_doordash/drive/;
}
END

sub passed {
    told(reset => 1);
    my $begun = int time;
    my $reply = call(POST => "$Path?a=1", '{"a":"b"}',
        'Content-Type' => 'application/json', @Partner::Own);
    my ($is, $fields) = ($$reply{json}, $$reply{json}{fields});
    is_deeply([sort keys %$fields], [qw(authorization content-length
        content-type host user-agent)], 'what is of this hop stays');
    is("$$reply{status} $$is{method} $$is{uri}",
        '200 POST /drive/v2/deliveries?a=1', 'it is passed on');
    is($$is{sha1}, sha1_hex('{"a":"b"}'), 'with its body');
    is($$fields{cookie}, undef, 'no cookie goes');
    is($$reply{headers}{'set-cookie'}, undef, 'and none comes');
    is($$fields{host}, 'openapi.doordash.com', 'its name');

    my $claims = ledger()->{claims};
    is($$claims{exp} - $$claims{iat}, 1800, 'half an hour');
    ok($$claims{iat} >= $begun - 3600, 'signed lately');

    call($_ => $Path) for qw(GET DELETE GET HEAD);
    is_deeply(many(64, $Path), { 200 => 64 }, 'many at once');
    my $jwts = keys %{ ledger()->{jwts} };
    ok($jwts <= 2, "not signed for each request: $jwts");

    for my $status (400, 404, 500, 502, 503) {
        my $own = call(GET => "$Path?status=$status");
        is("$$own{status} $$own{json}{method}", "$status GET",
            "$status is its own");
    }
    is(call(POST => "/partners/doordash/drive/v2/a", 'x' x (256 << 10))
        ->{json}{length}, 256 << 10, 'a large body');
    is(problem(call(POST => $Path, 'x' x ((256 << 10) + 1))),
        '413 Refused before any endpoint saw the request.', 'one too large');
    is(length call(GET => "$Path?size=3000000")->{content}, 3000000,
        'a large answer');
    return;
}

# What is encoded stays so, and nothing that would lead elsewhere goes there.
sub paths {
    my $begin = '/partners/doordash';
    told(reset => 1);
    for my $path ('/drive/a%2Fb', '/drive/%2f%2F', '/drive//a//',
        '/drive/a%3Bb;c', '/drive/%61?b=/../%2E%2e/&c=%zz%20//?', '/drive/%E2%82%AC/...%25')
    {
        is(call(GET => "$begin$path")->{json}{uri}, $path, $path);
    }
    is(call(GET => "/base/a%2Fb?c=%64")->{json}{uri}, '/drive/a%2Fb?c=%64',
        'behind a path of its own');

    my $calls = ledger()->{calls};
    for my $path ('/drive/../a', '/drive/.', '/drive/%2e%2E/a', '/drive/.%2e',
        '/drive/a%2f..%2Fb', '/../doordash/drive/a', '/drive/a;/..;b/c/d')
    {
        is(problem(call(POST => "$begin$path", '{}')), '400 The path goes to a'
            . ' partner as it is written, and must have no segments "." or'
            . ' "..", encoded or not.', $path);
    }
    for my $path ('/partners//doordash/drive/a', '/partners/%64oordash/drive/a',
        '/partners/doordash%2Fdrive/a', '/a/../partners/doordash/drive/a')
    {
        is(problem(call(GET => $path)), '400 The path goes to a partner as it'
            . ' is written, and must begin as the location does, with nothing'
            . ' encoded.', $path);
    }
    is(problem(call(GET => "$begin/drive/../a", undef, Authorization => '')),
        '401 A bearer token is needed in the Authorization header.',
        'told to those who may');
    is(ledger()->{calls}, $calls, 'nothing goes there');
    return;
}

sub refused {
    told(reset => 1, refuse => 'all');
    my $reply = call(POST => $Path, '{}');
    is(problem($reply), '502 DoorDash refuses our credentials; the clock of'
        . ' this host may be wrong as well.', 'not the caller\'s');
    is($$reply{headers}{'www-authenticate'}, undef, 'whose realm it is');
    told(reset => 1);

    is(problem(call(POST => "$Path?close=1", 'x')),
        '502 DoorDash cannot be reached; try again later.', 'no answer');
    is(problem(call(GET => "$Path/x.html?unspoken=1")),
        '502 DoorDash cannot be reached; try again later.', 'no HTTP');
    is(problem(call(GET => "$Path?delay=30")),
        '504 DoorDash did not answer in time; try again later.', 'a late one');

    my $calls = ledger()->{calls};
    is(problem(call(POST => $Path, '{}', Authorization => '')), '401 A bearer'
        . ' token is needed in the Authorization header.', 'no caller');
    is(problem(call(GET => $Path, undef, (split /: /, bearer()))),
        '403 The token lacks the scope partners:write.', 'another scope');
    is(ledger()->{calls}, $calls, 'nothing goes there');
    return;
}

sub others {
    told(reset => 1);
    is(call(GET => '/other/v2/x')->{status}, 401, 'passed on as it is');
    is(ledger()->{claims}{iss}, 'other-id', 'by the location');
    my $calls = ledger()->{calls};
    is(call(GET => '/none/v2/x')->{status}, 500, 'without any');
    is(ledger()->{calls}, $calls, 'it does not go there');
    return;
}

# A partner by TLS: its name must be in its certificate, and that of an
# authority that is trusted.
sub certified {
    my ($name) = @_;
    my $is = write_file("$name.pem", '') =~ s/\.pem$//r;
    system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
        . " -nodes -days 2 -subj /CN=$name -addext subjectAltName=DNS:$name"
        . " -keyout $is.key -out $is.pem 2>$is.log") == 0 or die "no $name";
    return $is;
}
our ($Right, $Wrong) = map { certified($_) } qw(openapi.doordash.com
    another.example);

# By the files of what is trusted, and of what the partner has.
sub tls_http {
    my ($has) = @_;
    return partner_http() =~ s/(upstream coco_doordash \{\s+server )[^;]+/
        $1 . 'unix:$TEST_NGINX_SERVER_ROOT\/tls.sock'/er . <<"END";
server {
    listen unix:\$TEST_NGINX_SERVER_ROOT/tls.sock ssl;
    ssl_certificate $has.pem;
    ssl_certificate_key $has.key;
    location / { return 200 '{"name":"\$ssl_server_name"}'; }
}
END
}

sub tls_server {
    my ($trusted) = @_;
    return partner_server('proxy_pass http://coco_doordash$' =>
        'proxy_pass https://coco_doordash$',
        '/etc/ssl/certs/ca-certificates.crt' => "$trusted.pem");
}

# In none of the logs: our tokens, the secret, what callers are known by.
sub silent {
    my $text = log_text();
    unlike($text, qr/eyJ/, 'no token');
    unlike($text, qr/\Q$Partner::Key\E/, 'no secret');
    return;
}

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: what goes there and comes back
--- http_config eval: Partner::partner_http()
--- config eval: Partner::partner_server()
--- init
main::passed(); main::silent();
--- request
GET /partners/doordash/
--- error_code: 401
--- no_error_log
[alert]



=== TEST 2: refused, away, and those who may not
--- http_config eval: Partner::partner_http()
--- config eval: Partner::partner_server('proxy_read_timeout 15s' => 'proxy_read_timeout 5s')
--- init
main::refused(); main::silent();
--- request
GET /partners/doordash/
--- error_code: 401
--- no_error_log
[alert]



=== TEST 3: other credentials, and none
--- http_config eval: Partner::partner_http()
--- config eval: Partner::partner_server() . $::Others
--- init
main::others(); main::silent();
--- request
GET /partners/doordash/
--- error_code: 401
--- error_log
$coco_doordash_jwt is used in a location without "coco_doordash_credentials"
--- no_error_log
[alert]



=== TEST 4: paths
--- http_config eval: Partner::partner_http()
--- config eval: Partner::partner_server() . $::Others
--- init
main::paths();
--- request
GET /partners/doordash/
--- error_code: 401
--- no_error_log
[alert]
[error]



=== TEST 5: TLS, to whom it says it is
--- http_config eval: main::tls_http($::Right)
--- config eval: main::tls_server($::Right)
--- request
GET /partners/doordash/
--- more_headers eval: Coco::bearer(scope => 'partners:write')
--- response_body chomp
{"name":"openapi.doordash.com"}
--- no_error_log
[alert]
[error]



=== TEST 6: TLS, to another name
--- http_config eval: main::tls_http($::Wrong)
--- config eval: main::tls_server($::Wrong)
--- request
GET /partners/doordash/
--- more_headers eval: Coco::bearer(scope => 'partners:write')
--- error_code: 502
--- response_body_like: DoorDash cannot be reached
--- error_log
upstream SSL certificate does not match "openapi.doordash.com"
--- no_error_log
[alert]



=== TEST 7: TLS, by nobody who is trusted
--- http_config eval: main::tls_http($::Right)
--- config eval: main::tls_server($::Wrong)
--- request
GET /partners/doordash/
--- more_headers eval: Coco::bearer(scope => 'partners:write')
--- error_code: 502
--- response_body_like: DoorDash cannot be reached
--- error_log
upstream SSL certificate verify error
--- no_error_log
[alert]



=== TEST 8: the variable, and no credentials anywhere
--- config
    location /a { proxy_set_header Authorization "Bearer $coco_doordash_jwt"; proxy_pass http://127.0.0.1:1/; }
--- must_die
--- error_log
$coco_doordash_jwt is used, and no "coco_doordash_credentials" is given
--- no_error_log
[alert]



=== TEST 9: a secret that is none
--- user_files
>>> secret
not base64url!
--- config
    location /a { coco_doordash_credentials a b html/secret; }
--- must_die
--- error_log
"coco_doordash_credentials": the first line of "html/secret": base64url of at most 256 bytes expected
--- no_error_log
[alert]



=== TEST 10: ids that are too long
--- config eval
'location /a { coco_doordash_credentials ' . 'a' x 600 . ' b $TEST_NGINX_DOORDASH_SECRET; }'
--- must_die
--- error_log
"coco_doordash_credentials": the ids of the developer and of the key must be given, and not be that long
--- no_error_log
[alert]



=== TEST 11: no secret
--- config
    location /a { coco_doordash_credentials a b /nonexistent/secret; }
--- must_die
--- error_log
"coco_doordash_credentials": open() "/nonexistent/secret" failed
--- no_error_log
[alert]



=== TEST 12: given twice
--- config
    coco_doordash_credentials a b $TEST_NGINX_DOORDASH_SECRET;
    coco_doordash_credentials a c $TEST_NGINX_DOORDASH_SECRET;
--- must_die
--- error_log
"coco_doordash_credentials" directive is duplicate
--- no_error_log
[alert]



=== TEST 13: a path, and no prefix anywhere
--- config
    location /a/ { proxy_pass http://127.0.0.1:1$coco_partner_path; }
--- must_die
--- error_log
$coco_partner_path is used, and no "coco_partner_prefix" is given
--- no_error_log
[alert]



=== TEST 14: a prefix that is none
--- config
    location /a/ { coco_partner_prefix /a/; proxy_pass http://127.0.0.1:1$coco_partner_path; }
--- must_die
--- error_log
"coco_partner_prefix" directive must begin with a slash, and end without one
--- no_error_log
[alert]



=== TEST 15: a prefix, twice
--- config
    location /a/ { coco_partner_prefix /a; coco_partner_prefix /b; }
--- must_die
--- error_log
"coco_partner_prefix" directive is duplicate
--- no_error_log
[alert]
