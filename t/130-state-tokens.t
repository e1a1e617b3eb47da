# Bearer tokens, on the routes of the state module: every way to be refused,
# keys of three algorithms, and that a remembered token is remembered only as
# what it is.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

robot('s130-a');

sub refused {
    my ($token) = @_;
    return "Authorization: Bearer $token";
}

# what a public key file would sign, were it taken for a secret
our $Confused = do {
    open my $pem, '<:raw', $ENV{TEST_NGINX_COCO_RS256} or die $!;
    local $/;
    token(key => <$pem>);
};

our $Keys = Coco::http_config(coco_auth_key => "$ENV{TEST_NGINX_COCO_RS256}"
    . " alg=RS256 kid=r1;\ncoco_auth_key $ENV{TEST_NGINX_COCO_ES256}"
    . " alg=ES256;\ncoco_auth_key $ENV{TEST_NGINX_COCO_KEY}");

our @Bad = (
    expired => token(exp => time - 1),
    'no exp' => token(exp => undef),
    'exp no number' => token(exp => 'never'),
    'exp absurd' => token(exp => 1e300),
    'not yet' => token(nbf => time + 60),
    issuer => token(iss => 'evil'),
    'no issuer' => token(iss => undef),
    audience => token(aud => 'evil'),
    'no audience' => token(aud => undef),
    audiences => token(aud => ['evil', 'cocoa']),
    'other key' => token(key => 'x' x 48),
    'alg none' => token(header => { alg => 'none' }),
    'alg NONE' => token(header => { alg => 'NONE' }),
    'alg none, signed' => token(header => { alg => 'none' }) . 'AAAA',
    'alg HS384' => token(header => { alg => 'HS384' }),
    'alg hs256' => token(header => { alg => 'hs256' }),
    'alg confusion' => $Confused,
    'crit' => token(header => { crit => ['b64'], b64 => JSON::PP::false() }),
    'crit, empty' => token(header => { crit => [] }),
    'kid a path' => token(header => { kid => '/dev/null' }, key => ''),
    'kid no string' => token(header => { kid => { a => 1 } }, key => 'x'),
    'no dots' => 'abc',
    'two parts' => 'abc.def',
    'four parts' => token() . '.x',
    'two tokens' => token() . ' ' . token(),
    'not base64url' => '!.!.!',
    'another signature' => token(sub => 'a') =~ s/[^.]+$//r
        . (split /\./, token(sub => 'b'))[2],
    'too long' => 'a.' . 'b' x 9000 . '.c',
    'key without its last newline' => do {
        open my $file, '<:raw', $ENV{TEST_NGINX_COCO_KEY} or die $!;
        local $/;
        my $bytes = <$file>;
        chomp(my $cut = $bytes =~ s/\n\z//r);
        token(key => $cut);
    },
);

our @Tokens = map { $Bad[2 * $_ + 1] } 0 .. $#Bad / 2;

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: no token at all
--- more_headers
X-None: 1
--- request
GET /state/s130-a
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer realm="coco"
Content-Type: application/problem+json



=== TEST 2: another scheme, and no token in ours
--- more_headers eval
['Authorization: Basic YTpi', 'Authorization: Bearer', 'Authorization: Bearer ',
 'Authorization: ' . Coco::token()]
--- request eval
[('GET /state/s130-a') x 4]
--- error_code eval
[401, 401, 401, 401]



=== TEST 3: good tokens
--- more_headers eval
[map { "Authorization: $_" } 'Bearer ' . Coco::token(),
 'bearer ' . Coco::token(aud => ['x', 'coco']),
 'Bearer  ' . Coco::token(nbf => time + 2),
 'Bearer ' . Coco::token(sub => undef, exp => time + 100.5),
 'Bearer ' . Coco::token(header => { kid => 'unknown' }),
 'Bearer ' . Coco::token(scope => 'x' x 600 . ' state:read')]
--- request eval
[('GET /state/s130-a') x 6]
--- error_code eval
[(200) x 6]



=== TEST 4: bad tokens
--- http_config eval
Coco::http_config(large_client_header_buffers => '4 16k')
--- more_headers eval
[map { main::refused($_) } @::Tokens]
--- request eval
[('GET /state/s130-a') x @::Tokens]
--- error_code eval
[(401) x @::Tokens]
--- response_headers_like eval
[('WWW-Authenticate: Bearer realm="coco", error="invalid_token", '
  . 'error_description="[^"]+"') x @::Tokens]
--- response_body_like eval
[(qr/"status":401/) x @::Tokens]



=== TEST 5: scopes are whole words
--- more_headers eval
[map { 'Authorization: Bearer ' . Coco::token(scope => $_) }
 'state:read', 'a state:read b', 'state', 'state:readx', 'xstate:read',
 'state:write', '', undef, ['state:read'], 'STATE:READ', 'state:read,admin']
--- request eval
[('GET /state/s130-a') x 11]
--- error_code eval
[200, 200, (403) x 9]



=== TEST 6: a scope that is missing is named
--- more_headers eval
Coco::bearer(scope => 'state:read')
--- request
GET /dead-letters
--- error_code: 403
--- response_headers
WWW-Authenticate: Bearer realm="coco", error="insufficient_scope", scope="admin"
Content-Type: application/problem+json
--- response_body_like: The token lacks the scope admin\.



=== TEST 7: remembered is one token, not what begins or ends like it
--- more_headers eval
my $good = Coco::token(sub => 's130-memory');
my @other = map { my $t = $good; substr($t, $_, 1) =~ tr/A-Za-z/B-ZAb-za/
                  ? $t : () } 0 .. 59;
[map { main::refused($_) } $good, $good, $good . 'A', substr($good, 0, -1),
 $good =~ s/\.[^.]+$/./r, $good, @other[0 .. 39], $good]
--- request eval
[('GET /state/s130-a') x 47]
--- error_code eval
[200, 200, 401, 401, 401, 200, (401) x 40, 200]



=== TEST 8: keys of three algorithms, chosen by alg and kid
--- http_config eval: $::Keys
--- more_headers eval
[map { main::refused($_) }
 Coco::token(header => { alg => 'RS256', kid => 'r1' }),
 Coco::token(header => { alg => 'RS256' }),
 Coco::token(header => { alg => 'ES256' }),
 Coco::token(header => { alg => 'ES256', kid => 'whatever' }),
 Coco::token(),
 Coco::token(header => { alg => 'RS256', kid => 'r2' }),
 $::Confused,
 Coco::token(header => { alg => 'RS256', kid => 'r1' }, exp => 1)]
--- request eval
[('GET /state/s130-a') x 8]
--- error_code eval
[200, 200, 200, 200, 200, 401, 401, 401]



=== TEST 9: issuer and audience of one's own
--- http_config eval
Coco::http_config(coco_auth_issuer => 'fleet', coco_auth_audience => 'api')
--- more_headers eval
[main::refused(Coco::token(iss => 'fleet', aud => 'api')),
 main::refused(Coco::token())]
--- request eval
[('GET /state/s130-a') x 2]
--- error_code eval
[200, 401]



=== TEST 10: more tokens than are remembered
--- more_headers eval
[map { main::refused(Coco::token(sub => "s130-$_")) } 1 .. 40]
--- request eval
[('GET /state/s130-a') x 40]
--- error_code eval
[(200) x 40]



=== TEST 11: a public key is no secret
--- http_config eval
Coco::http_config(coco_auth_key => $ENV{TEST_NGINX_COCO_RS256})
--- must_die
--- request
GET /
--- error_log
"coco_auth_key"
is PEM, no secret



=== TEST 12: a key of another kind
--- http_config eval
Coco::http_config(coco_auth_key => "$ENV{TEST_NGINX_COCO_RS256} alg=ES256")
--- must_die
--- request
GET /
--- error_log
holds no PEM public key for alg=ES256



=== TEST 13: a key that is not there
--- http_config eval
Coco::http_config(coco_auth_key => "/nonexistent")
--- must_die
--- request
GET /
--- error_log
"coco_auth_key": open() "/nonexistent" failed



=== TEST 14: an algorithm that is none
--- http_config eval
Coco::http_config(coco_auth_key => "$ENV{TEST_NGINX_COCO_KEY} alg=none")
--- must_die
--- request
GET /
--- error_log
invalid parameter "alg=none" of "coco_auth_key"
