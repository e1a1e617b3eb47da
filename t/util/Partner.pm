package Partner;

# A partner's API and its authorization server, in a process of its own that
# does as it is told and remembers what it was asked; and the locations of
# conf/coco.conf that lead there.

use strict;
use warnings;

use Coco;
use Digest::SHA qw(hmac_sha256 sha1_hex);
use HTTP::Tiny;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64 qw(decode_base64url encode_base64url);
use POSIX ();
use Time::HiRes qw(sleep time);

use Exporter 'import';
our @EXPORT = qw(partner_start told ledger partner_http partner_server call
    many problem log_text await master_pid workers_of reloaded);

our $Secret = 'a secret: 100% + more & so=on';
our $Key = join '', map { chr } 0xc0 .. 0xdf;

# no HTTP, and no end
our $Unspoken = "+OK ready\r\n";

# what a caller may have of the hops before, and a partner is not to see
our @Own = map { $_ => 'own' } qw(Proxy-Authorization Proxy-Connection
    Keep-Alive TE Trailer Upgrade Forwarded Via X-Real-IP X-Forwarded-For
    X-Forwarded-Host X-Forwarded-Port X-Forwarded-Proto);

my ($pid, $owner, $port, $http);


sub partner_start {
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 256,
        ReuseAddr => 1) or die "listen: $!";
    $port = $listen->sockport;
    $owner = $$;
    $ENV{TEST_NGINX_UBER_SECRET} = write_file('uber.secret', "$Secret\n");
    $ENV{TEST_NGINX_DOORDASH_SECRET} =
        write_file('doordash.secret', encode_base64url($Key) . "\n");

    $pid = fork // die "fork: $!";
    return if $pid;
    eval { serve($listen, $owner) };
    warn $@ if $@;
    POSIX::_exit(0);
}

END {
    if ($pid && $owner == $$) {
        local $?;
        kill KILL => $pid;
        waitpid $pid, 0;
    }
}


# --- the server --------------------------------------------------------------

my (%state, %issued, %refused, %ledger);

sub reset_all {
    %state = (status => 200, delay => 0, expires => 3600);
    (%issued, %refused) = ();
    %ledger = (tokens => 0, calls => 0, connections => 0);
    return;
}

sub serve {
    my ($listen, $parent) = @_;
    my $select = IO::Select->new($listen);
    my (%in, @later);

    reset_all();
    while (getppid() == $parent) {
        my ($next) = sort { $a <=> $b } map { $$_[0] } @later;
        my $wait = defined $next ? $next - time : 1;
        for my $peer ($select->can_read($wait < 0 ? 0 : $wait)) {
            if ($peer == $listen) {
                my $new = $listen->accept or next;
                $select->add($new);
                $in{$new} = '';
                next;
            }
            if (!sysread $peer, $in{$peer}, 65536, length $in{$peer}) {
                $select->remove($peer);
                close $peer;
                next;
            }
            while (my $request = request(\$in{$peer})) {
                $$request{connection} = "$peer";
                my ($delay, $bytes) = answer($request);
                push @later, [time + $delay, $peer, $bytes];
            }
        }
        my @due = grep { $$_[0] <= time } @later;
        @later = grep { my $it = $_; !grep { $_ == $it } @due } @later;
        for my $it (@due) {
            my (undef, $peer, $bytes) = @$it;
            next unless defined fileno $peer;
            if (defined $bytes) {
                local $SIG{PIPE} = 'IGNORE';
                print $peer $bytes;
                $peer->flush;
            } else {
                $select->remove($peer);
                close $peer;
            }
        }
    }
    return;
}

sub request {
    my ($in) = @_;
    my ($head) = $$in =~ /\A(.*?\r\n)\r\n/s or return;
    my ($length) = $head =~ /^Content-Length: *(\d+)/mi;
    my $all = length($head) + 2 + ($length // 0);
    return if length $$in < $all;
    my $body = substr $$in, length($head) + 2, $length // 0;
    substr($$in, 0, $all) = '';
    my ($method, $uri) = $head =~ /^(\S+) (\S+)/;
    my ($path, $query) = split /\?/, $uri, 2;
    my %query = map { split /=/, $_, 2 } split /&/, $query // '';
    my %fields = map { /^(\S+?): *(.*?)\r?$/ ? (lc $1, $2) : () }
        split /\n/, $head;
    return { method => $method, uri => $uri, path => $path, query => \%query,
        fields => \%fields, body => $body };
}

# (seconds, bytes or undef to close the connection)
sub answer {
    my ($request) = @_;
    my ($path, $query) = @$request{qw(path query)};

    if ($path eq '/told') {
        reset_all() if delete $$query{reset};
        $refused{$_} = 1 for split /,/, delete $$query{refuse} // '';
        $state{$_} = $$query{$_} for keys %$query;
        return (0, reply(200, {}));
    }
    return (0, reply(200, \%ledger)) if $path eq '/ledger';
    return grant($request) if $path =~ m{/oauth/v2/token$};
    return api($request);
}

sub grant {
    my ($request) = @_;
    my $number = ++$ledger{tokens};
    my $token = "token-$number";
    $ledger{token} = { %$request };
    return ($state{delay}, undef) if $state{status} == 0;
    return ($state{delay}, reply($state{status}, { error => 'told so' }))
        if $state{status} != 200;
    return ($state{delay}, reply(200, $state{junk})) if $state{junk};
    return ($state{delay}, $Unspoken) if $state{unspoken};
    $token = 'x' x $state{large} if $state{large};
    $issued{$token} = 1;
    my $reply = reply(200, { access_token => $token,
        token_type => 'Bearer', expires_in => $state{expires} + 0,
        scope => 'eats.deliveries' });
    return ($state{delay}, $state{chunked} ? chunked($reply) : $reply);
}

sub api {
    my ($request) = @_;
    my ($query, $body) = @$request{qw(query body)};
    my ($bearer) = ($$request{fields}{authorization} // '') =~ /^Bearer (.*)/;
    my $good = $$request{path} =~ m{^/drive/} ? jwt_good($bearer // '')
        : $issued{$bearer // ''} && !$refused{$bearer} && !$refused{all};

    $ledger{calls}++;
    $ledger{connections}++ unless $ledger{seen}{$$request{connection}}++;
    return (0, reply(401, { error => 'unauthorized' },
        'WWW-Authenticate: Bearer realm="partner"')) unless $good;

    return ($$query{delay} // 0, undef) if $$query{close};
    return (0, $Unspoken) if $$query{unspoken};
    return ($$query{delay} // 0, reply($$query{status} // 200,
        $$query{size} ? 'x' x $$query{size} : {
            (map { $_ => $$request{$_} } qw(method uri fields)),
            length => length $body, sha1 => sha1_hex($body) },
        'Set-Cookie: partner=1',
        $$query{accel} ? "X-Accel-Redirect: $$query{accel}" : (),
        $$request{method} eq 'HEAD' ? 'HEAD' : ()));
}

sub jwt_good {
    my ($token) = @_;
    my ($text, $signature) = $token =~ /^(.*)\.([\w-]+)$/ or return 0;
    my ($header, $claims) = map { eval { decode_json(decode_base64url($_)) } }
        split /\./, $text;
    return 0 unless $claims && !$refused{all}
        && decode_base64url($signature) eq hmac_sha256($text, $Key);
    $ledger{claims} = $claims;
    $ledger{jwts}{$token}++;
    return $$header{'dd-ver'} eq 'DD-JWT-V1' && $$header{alg} eq 'HS256'
        && $$claims{aud} eq 'doordash' && $$claims{iat} <= time + 1
        && $$claims{exp} > time && $$claims{iss} eq 'coco-stack'
        && $$claims{kid} eq 'coco-stack-1';
}

sub reply {
    my ($status, $body, @fields) = @_;
    my $head = @fields && $fields[-1] eq 'HEAD' && pop @fields;
    $body = JSON::PP->new->canonical->encode($body) if ref $body;
    return join "\r\n", "HTTP/1.1 $status Told", @fields,
        'Content-Type: application/json', 'Content-Length: ' . length $body,
        '', $head ? '' : $body;
}

# As much of it as is no end: the connection stays, and nothing follows.
sub chunked {
    my ($reply) = @_;
    my ($head, $body) = split /\r\n\r\n/, $reply, 2;
    $head =~ s/Content-Length: \d+/Transfer-Encoding: chunked/;
    return sprintf "%s\r\n\r\n%x\r\n%s\r\n", $head, length $body, $body;
}


# --- what suites say to it ---------------------------------------------------

sub own {
    my ($uri) = @_;
    my $reply = HTTP::Tiny->new(timeout => 60)->get(
        "http://127.0.0.1:$port$uri");
    die "partner: $$reply{status} $$reply{content}" unless $$reply{success};
    return decode_json($$reply{content});
}

# told(reset => 1, status => 500, delay => 0.1, expires => 2, refuse =>
# 'token-1', junk => ..., large => 100000, chunked => 1, unspoken => 1)
sub told {
    my (%is) = @_;
    own('/told?' . join '&', map { "$_=$is{$_}" } sort keys %is);
    return;
}

sub ledger {
    return own('/ledger');
}


# --- conf/coco.conf ----------------------------------------------------------

sub part {
    my ($from, $to) = @_;
    my $path = "$ENV{TEST_NGINX_COCO_ROOT}/conf/coco.conf";
    open my $file, '<', $path or die "$path: $!";
    my $text = do { local $/; <$file> };
    my ($part) = $text =~ /(^ *$from.*?)(?=^ *$to)/ms
        or die "$path has nothing from $from to $to";
    return $part =~ s/127\.0\.0\.1:8088/127.0.0.1:$port/gr
        =~ s{var/run/(uber|doordash)\.secret}
            {'$TEST_NGINX_' . uc($1) . '_SECRET'}ger;
}

sub partner_http {
    return Coco::http_config(coco_redis => undef, coco_postgres => undef)
        . part('upstream coco_uber ', '# --- nginx')
        . part('map \$status \$coco_problem_title', 'server \{');
}

# Times are shorter there; further changes by from => to.
sub partner_server {
    my (%is) = @_;
    my $text = part('location = /problem', 'location / ')
        . part("# Partners' APIs", '# Dispatch and Fleet');
    my @changes = ('scope=eats.deliveries' => 'scope=eats.deliveries'
        . ' timeout=20s', %is);
    while (my ($from, $to) = splice @changes, 0, 2) {
        $text =~ s/\Q$from\E/$to/g or die "no $from";
    }
    return $text;
}


# --- requests ----------------------------------------------------------------

sub header {
    return { Authorization => (bearer(scope => 'partners:write') =~ s/.*: //r),
        Cookie => 'caller=1' };
}

# The reply of HTTP::Tiny; JSON is decoded.
sub call {
    my ($method, $path, $content, %headers) = @_;
    $http //= HTTP::Tiny->new(timeout => 60, max_redirect => 0);
    my $reply = $http->request($method,
        "http://127.0.0.1:$ENV{TEST_NGINX_CLIENT_PORT}$path",
        { headers => { %{ header() }, %headers },
          defined $content ? (content => $content) : () });
    $$reply{json} = eval { decode_json($$reply{content}) };
    return $reply;
}

# So many at once; how often each status came.
sub many {
    my ($count, $path) = @_;
    my %fields = %{ header() };
    my (@sockets, %statuses);
    for (1 .. $count) {
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $ENV{TEST_NGINX_CLIENT_PORT}) or die "connect: $!";
        print $socket join("\r\n", "GET $path HTTP/1.1", 'Host: localhost',
            'Connection: close', map { "$_: $fields{$_}" } sort keys %fields),
            "\r\n\r\n";
        $socket->flush;
        push @sockets, $socket;
    }
    for my $socket (@sockets) {
        my ($status) = (<$socket> // '') =~ /^HTTP\S+ (\d+)/;
        $statuses{$status // 'none'}++;
        1 while <$socket>;
    }
    return \%statuses;
}

# "status detail" of a problem
sub problem {
    my ($reply) = @_;
    my $json = $$reply{json};
    return "no problem: $$reply{status} $$reply{content}"
        unless $json && $$reply{headers}{'content-type'} eq
            'application/problem+json' && $$json{status} == $$reply{status};
    return "$$reply{status} $$json{detail}";
}


# --- nginx -------------------------------------------------------------------

sub await {
    my ($holds) = @_;
    my $until = time + 60;
    while (time < $until) {
        my $is = $holds->();
        return $is if $is;
        sleep 0.01;
    }
    return $holds->();
}

sub log_text {
    my $folder = Test::Nginx::Socket::server_root() . '/logs';
    local (@ARGV, $/) = ("$folder/error.log", "$folder/access.log");
    return join '', <>;
}

sub master_pid {
    my $path = Test::Nginx::Socket::server_root() . '/logs/nginx.pid';
    open my $file, '<', $path or die "$path: $!";
    return <$file> + 0;
}

sub workers_of {
    return split ' ', `pgrep -P $_[0]`;
}

# A reload, until no old worker is left.
sub reloaded {
    my $master = master_pid();
    my %old = map { $_ => 1 } workers_of($master);
    kill HUP => $master;
    return await(sub {
        my @now = workers_of($master);
        return @now == keys %old && !grep { $old{$_} } @now;
    });
}

1;
