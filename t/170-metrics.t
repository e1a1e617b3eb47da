# GET /metrics: every outcome of a webhook is counted once, by all processes,
# over reloads and deaths of workers; the format, held against a strict parser;
# and the docs, which name what is shown.

use Test::Nginx::Socket;
use Test::More;
use Coco;
use HTTP::Tiny;
use IO::Socket::INET;
use Time::HiRes qw(sleep);

no_shuffle();
no_long_string();
worker_connections(1024);

$ENV{TEST_NGINX_DRIVEU} = write_file('driveu.secret', 's3cret');

our $Config = <<'END_CONFIG';
location /driveu/ {
    coco_state;
    coco_driveu_secret $TEST_NGINX_DRIVEU;
    add_header X-Pid $pid always;
}
location = /metrics { coco_metrics; allow 127.0.0.1; deny all; }
location = /denied { coco_metrics; deny all; }
END_CONFIG

our $Json = 'Content-Type: application/json';
our $Good = "X-DriveU-Token: s3cret\n$Json";
our $Reload = $ENV{TEST_NGINX_USE_HUP};

# A block without a configuration asks the nginx of the block before.
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => Coco::http_config())
        if defined $block->config && !defined $block->http_config;
    $block->set_value(more_headers => $Good)
        unless defined $block->more_headers;
    $block->set_value(no_error_log => '[alert]')
        unless defined $block->no_error_log || defined $block->must_die;
});

sql("delete from coco.webhook_inbox where payload ->> 'uuid' like 's170%'");
sql(<<'END_SQL');
create or replace function coco.s170() returns trigger language plpgsql as $$
begin
    raise division_by_zero;
end $$;
create or replace trigger s170 before insert on coco.webhook_inbox
    for each row when (new.payload ->> 'uuid' = 's170-fail')
    execute function coco.s170();
END_SQL

our $Us = now_ms() . '000';

sub hook {
    my ($uuid, $rest) = @_;
    return qq({"eventName":"status","unit":"node","status":"online",)
        . qq("uuid":"s170-$uuid","vin":"s170-a","time":$Us)
        . ($rest // '') . '}';
}

sub post {
    return "POST /driveu/webhook\n" . hook(@_);
}

our $Huge = ',"more":"' . 'x' x 65536 . '"';

# --- the numbers ------------------------------------------------------------

my $http = HTTP::Tiny->new(timeout => 10);
my ($text, %last);

# {sample: value}; dies of whatever Prometheus or its style would refuse.
sub parse {
    my ($lines) = @_;
    my $name = qr/[a-z][a-z0-9]*(?:_[a-z0-9]+)*/;
    my (%family, %value, $now, $type);

    $lines =~ s/\n\z// or die "no newline at the end\n";
    for my $line (split /\n/, $lines, -1) {
        if (!defined $type && defined $now) {
            ($type) = $line =~ /^# TYPE \Q$now\E (counter|gauge)$/
                or die "no type: $line\n";
            die "the name belies its type: $line\n"
                if ($now =~ /_total$/) != ($type eq 'counter');
        } elsif ($line =~ /^# HELP ($name) [A-Z][^\\]*\.$/) {
            die "a family without samples, or twice: $line\n"
                if $family{$1} || defined $now && !$family{$now};
            ($now, $type) = ($1, undef);
        } elsif ($line =~
            /^(($name)(?:\{$name="[^"\\]+"(?:,$name="[^"\\]+")*\})?) (\d+)$/)
        {
            die "out of its family: $line\n" if ($now // '') ne $2;
            die "twice: $line\n" if exists $value{$1};
            $family{$2} = 1;
            $value{$1} = $3;
        } else {
            die "neither comment nor sample: $line\n";
        }
    }
    die "a family without samples\n" unless defined $now && $family{$now};
    return %value;
}

sub short {
    my ($sample) = @_;
    return $1 if $sample =~
        /^coco_webhooks_total\{provider="driveu",outcome="(\w+)"\}$/;
    return "lid_$1" if $sample =~
        /^coco_lid_requests_total\{outcome="(\w+)"\}$/;
    return $sample =~ s/^coco_(?:webhooks_|inbox_)//r =~ s/_total$//r;
}

sub numbers {
    my $reply = $http->get(
        "http://127.0.0.1:$ENV{TEST_NGINX_CLIENT_PORT}/metrics");
    die "GET /metrics: $reply->{status}" unless $reply->{success};
    $text = $reply->{content};
    my %value = parse($text);
    return map { short($_) => $value{$_} } keys %value;
}

sub await {
    my ($holds) = @_;
    my $until = now_ms() + 60_000;
    sleep 0.01 until $holds->() || now_ms() > $until;
    return;
}

# After a start all are 0, after a reload as before.
sub begin {
    my %now = numbers();
    my %want = map { $_ => $Reload && $last{$_} || 0 } keys %now;
    is_deeply(\%now, \%want, $Reload ? 'kept by a reload' : 'from 0 on');
    %last = %now;
    return;
}

# By how much the counters grew since they were asked last. A request is
# counted when nginx is done with it: a moment after the answer.
sub came {
    my ($what, %wanted) = @_;
    my (%now, %more);
    await(sub {
        %now = numbers();
        %more = map { $_ => $now{$_} - $last{$_} }
            grep { $_ ne 'waiting' && $now{$_} != $last{$_} } keys %now;
        return join(',', map { "$_=$more{$_}" } sort keys %more)
            eq join(',', map { "$_=$wanted{$_}" } sort keys %wanted);
    });
    is_deeply(\%more, \%wanted, "counted: $what");
    %last = %now;
    return;
}

# --- clients that wait ------------------------------------------------------

sub begin_post {
    my ($uuid) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $ENV{TEST_NGINX_CLIENT_PORT}) or die "connect: $!";
    my $body = hook($uuid);
    print $socket "POST /driveu/webhook HTTP/1.1\r\nHost: x\r\n"
        . "Connection: close\r\n" . $Good =~ s/\n/\r\n/r
        . "\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    $socket->flush;
    return $socket;
}

# The process that answered 202.
sub end_post {
    my ($socket) = @_;
    my $reply = do { local $/; <$socket> };
    return $reply =~ /^HTTP\/1\.1 202 .*^X-Pid: (\d+)\r/ms ? $1 : 'none';
}

# Nothing is stored until the returned handle is closed.
sub hold {
    open my $psql, '|-', 'psql', '-X', '-q', '-h', '127.0.0.1', '-p',
        $ENV{TEST_NGINX_POSTGRES_PORT}, '-U', 'coco', '-d', 'coco'
        or die "psql: $!";
    print $psql "begin; lock table coco.webhook_inbox in share mode;\n";
    $psql->flush;
    await(sub {
        return sql('select count(*) from pg_locks where granted and'
            . " relation = 'coco.webhook_inbox'::regclass"
            . " and mode = 'ShareLock'");
    });
    return $psql;
}

# Webhooks until five wait: each is one that waits, or makes a statement that
# is held, before the next one is sent.
sub send_until_five_wait {
    my ($name) = @_;
    my (@sockets, %now);
    do {
        push @sockets, begin_post("$name-" . @sockets);
        await(sub {
            %now = numbers();
            return $now{waiting} + held_statements() == @sockets;
        });
    } while ($now{waiting} < 5 && @sockets < 50);
    return @sockets;
}

sub held_statements {
    return sql('select count(*) from pg_locks where not granted'
        . " and relation = 'coco.webhook_inbox'::regclass");
}

sub waiting {
    my $held = hold();
    my @sockets = send_until_five_wait('wait');
    my (%now, %gone);

    # the statements under way took some, and the others wait
    %now = numbers();
    cmp_ok($now{waiting}, '<', @sockets, 'what is under way does not wait');

    close pop @sockets;
    await(sub { %gone = numbers(); $gone{abandoned} > $last{abandoned} });
    is($gone{abandoned} - $last{abandoned}, 1, 'one client left');
    await(sub { %gone = numbers(); $gone{waiting} < $now{waiting} });
    is($gone{waiting}, $now{waiting} - 1, 'and waits no longer');

    close $held;
    is(scalar(grep { end_post($_) eq 'none' } @sockets), 0,
        'the others are stored');
    await(sub {
        %now = numbers();
        return $now{accepted} - $last{accepted} == @sockets;
    });
    is($now{accepted} - $last{accepted}, @sockets, 'and counted');
    is($now{stored} - $last{stored}, @sockets, 'as new');
    cmp_ok($now{statements} - $last{statements}, '<', @sockets,
        'in fewer statements');
    is($now{waiting}, 0, 'none waits any more');
    %last = %now;
    return;
}

# Both workers answer some, and one sum has them all.
sub by_two_workers {
    my ($sent, %pids, %now) = (0);
    await(sub {
        my @sockets = map { begin_post("two-" . $sent++) } 1 .. 50;
        $pids{$_}++ for map { end_post($_) } @sockets;
        return keys %pids >= 2;
    });
    is(scalar(grep { /^\d+$/ } keys %pids), 2, 'two processes answered');
    await(sub { %now = numbers(); $now{accepted} - $last{accepted} >= $sent });
    is($now{accepted} - $last{accepted}, $sent, 'one count of both');
    is($now{stored} - $last{stored}, $sent, 'and of what they stored');
    %last = %now;
    return;
}

# Workers die with what waited; their numbers stay.
sub killed {
    my $held = hold();
    my @sockets = send_until_five_wait('killed');
    open my $file, '<', server_root() . '/logs/nginx.pid' or die "pid: $!";
    my $master = <$file> + 0;
    my @workers = split ' ', `pgrep -P $master`;
    my %now;

    is(kill(KILL => @workers), 2, 'two workers are killed');
    await(sub {
        my %is = map { $_ => 1 } split ' ', `pgrep -P $master`;
        return keys %is == 2 && !grep { $is{$_} } @workers;
    });
    await(sub { %now = numbers(); $now{waiting} == 0 });
    close $held;
    is_deeply(\%now, \%last, 'their successors go on from their counts');
    return;
}

plan 'no_plan';
run_tests();

sql('set client_min_messages = warning; drop function coco.s170 cascade');

# --- the format, and the docs -----------------------------------------------

my $good = "# HELP a_total B c.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n"
    . "# HELP d E.\n# TYPE d gauge\nd 0\n";
is_deeply({ parse($good) }, { 'a_total{b="c"}' => 1, d => 0 },
    'the parser understands');

for my $fault (
    ['an end without newline', qr/\n\z/, ''],
    ['an empty line', qr/(?=# HELP d)/, "\n"],
    ['an empty line at the end', qr/\z/, "\n"],
    ['no help', qr/# HELP a_total B c\.\n/, ''],
    ['no type', qr/# TYPE d gauge\n/, ''],
    ['another type', qr/counter/, 'count'],
    ['a counter called a gauge', qr/counter/, 'gauge'],
    ['a gauge called a counter', qr/gauge/, 'counter'],
    ['a type of another name', qr/TYPE d/, 'TYPE e'],
    ['no samples', qr/d 0\n/, ''],
    ['no samples in between', qr/a_total\{.*1\n/, ''],
    ['a sample of another family', qr/^d 0/m, 'e 0'],
    ['a family twice', qr/\z/, "# HELP d E.\n# TYPE d gauge\nd{b=\"c\"} 0\n"],
    ['a sample twice', qr/\z/, "d 0\n"],
    ['a value that is none', qr/d 0/, 'd x'],
    ['a negative value', qr/d 0/, 'd -1'],
    ['no value', qr/d 0/, 'd'],
    ['a label without quotes', qr/"c"/, 'c'],
    ['a label that does not end', qr/"\}/, '}'],
    ['a carriage return', qr/0\n/, "0\r\n"],
) {
    my ($name, $pattern, $by) = @$fault;
    my $bad = $good =~ s/$pattern/$by/r;
    ok($bad ne $good && !eval { parse($bad); 1 }, "the parser refuses $name");
}

open my $file, '<', "$ENV{TEST_NGINX_COCO_ROOT}/docs/directives.md"
    or die "docs: $!";
my ($docs) = do { local $/; <$file> } =~ /^### coco_metrics\n(.*?)^### /ms;
my @rows = $docs =~ /^\| `(coco_\w+)/mg;
my (%docs, %shown);
for my $row ($docs =~ /^\| `coco_\w+_total\{.*/mg) {
    my ($family) = $row =~ /^\| `(\w+)/;
    $docs{"$family $_"} = 1 for
        $row =~ /`(\w+)`(?= \(|,)/g;
}
$shown{"$1 $2"} = 1 while $text =~ /^(\w+)\{.*outcome="(\w+)"/mg;
is_deeply([sort @rows], [sort $text =~ /^# TYPE (\w+)/mg],
    'the docs have each family');
is_deeply(\%docs, \%shown, 'and each outcome');

__DATA__

=== TEST 1: from the start
--- config eval: $::Config
--- init
main::begin()
--- request
GET /metrics
--- response_headers
Content-Type: text/plain; version=0.0.4; charset=utf-8
--- response_body_like eval
qr/\A[#] HELP .*\n[#] TYPE .*\ncoco_webhooks_total\{provider="driveu",outcome="accepted"\} 0\n.*\ncoco_inbox_waiting 0\n.*\ncoco_lid_requests_waiting 0\n.*\ncoco_zone_fresh 0\n.* 0\n\z/s



=== TEST 2: what is answered, and how
--- request eval
[main::post('good'), main::post('good-2'), main::post('good'),
 main::post('bad'), main::post('bad'), main::post('bad'),
 main::post('bad', $::Huge), main::post('bad', ',"time":1'),
 "POST /driveu/webhook\n{"]
--- more_headers eval
[($::Good) x 3, "X-DriveU-Token: x\n$::Json", $::Json,
 "X-DriveU-Token: s3cret\nContent-Type: text/plain", ($::Good) x 3]
--- error_code eval
[202, 202, 202, 401, 401, 415, 413, 400, 400]



=== TEST 3: is counted once; HEAD
--- init
main::came('each outcome', accepted => 3, unauthorized => 2,
    unsupported_media_type => 1, too_large => 1, invalid => 2, stored => 2,
    statements => 3)
--- request
HEAD /metrics
--- response_headers
Content-Type: text/plain; version=0.0.4; charset=utf-8
--- response_body



=== TEST 4: a chunked body that grows too large
--- request eval
my $body = main::hook('bad', $::Huge);
"POST /driveu/webhook\n" . CORE::join '', map { sprintf("%x\r\n%s\r\n",
    length $_, $_) } unpack('(a7000)*', $body), ''
--- more_headers eval
"$::Good\nTransfer-Encoding: chunked"
--- error_code: 413



=== TEST 5: is counted too; over one connection
--- init
main::came('a chunked body', too_large => 1)
--- pipelined_requests eval
[main::post('bad', ',"time":1'), main::post('good-3'), 'GET /metrics']
--- error_code eval
[400, 202, 200]



=== TEST 6: what is no webhook
--- init
main::came('over one connection', invalid => 1, accepted => 1, stored => 1,
    statements => 1)
--- request eval
['GET /driveu/webhook', "POST /driveu/other\n{}", 'GET /denied',
 "POST /metrics\n{}", "DELETE /metrics"]
--- error_code eval
[405, 404, 403, 405, 405]
--- response_headers eval
['Allow: POST', '', '', 'Allow: GET, HEAD', 'Allow: GET, HEAD']



=== TEST 7: is not counted
--- init
main::came('no webhook')
--- request
GET /metrics



=== TEST 8: Postgres is away
--- config eval: $::Config
--- http_config eval: Coco::down('postgres')
--- init
main::begin()
--- request eval
[main::post('down'), main::post('down')]
--- error_code eval
[503, 503]



=== TEST 9: and back
--- init
main::came('what could not be stored', unavailable => 2)
--- request
GET /metrics



=== TEST 10: the database refuses
--- config eval: $::Config
--- init
main::begin()
--- request eval
[main::post('fail'), main::post('after')]
--- error_code eval
[500, 202]



=== TEST 11: one of two
--- init
main::came('what was refused', failed => 1, accepted => 1, stored => 1,
    statements => 1)
--- request
GET /metrics



=== TEST 12: without any backend that Coco knows
--- config
location = /metrics { coco_metrics; }
--- http_config
--- init
main::begin()
--- request
GET /metrics



=== TEST 13: what waits, and a client that does not
--- config eval: $::Config
--- http_config eval: Coco::http_config(coco_postgres_timeout => '30s')
--- init
main::begin(), main::waiting()
--- request
GET /metrics



=== TEST 14: two workers
--- config eval: $::Config
--- init
main::begin(), main::by_two_workers() if $::Reload
--- request
GET /metrics
--- skip_eval: 2: !$::Reload



=== TEST 15: workers that are killed
--- config eval: $::Config
--- http_config eval: Coco::http_config(coco_postgres_timeout => '30s')
--- init
main::begin(), main::killed() if $::Reload
--- request
GET /metrics
--- no_error_log
[emerg]
--- skip_eval: 2: !$::Reload



=== TEST 16: where another handler is
--- config
location = /metrics { coco_metrics; coco_health live; }
--- must_die
--- error_log
cannot be used where another handler is
