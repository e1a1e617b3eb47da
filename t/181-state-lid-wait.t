# Requests that wait for a robot: who is told, and that each has an end when
# its client leaves, when Redis or Postgres do, when nginx is reloaded, and
# when many wait.

use Test::Nginx::Socket;
use Test::More;
use Coco;
use IO::Select;
use Lids;
use Time::HiRes qw(sleep);

no_shuffle();
no_long_string();
worker_connections(4096);

robots_start('s181-');

our $Reload = $ENV{TEST_NGINX_USE_HUP};

# ms within which only a hint can have told; under valgrind all takes longer.
# A busy machine may need more at times, but not each time.
our $Quick = $ENV{TEST_NGINX_USE_VALGRIND} ? 8000 : 900;
our $Config = Coco::locations()
    . 'location = /metrics { coco_metrics; allow 127.0.0.1; deny all; }';

# A block without a configuration asks the nginx of the block before.
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(request => 'GET /metrics');
    $block->set_value(no_error_log => '[alert]');
});

my %last;

sub begin {
    %last = metrics();
    is($last{waiting}, 0, 'nobody waits');
    is(channels(), $Reload ? 2 : 1, 'each process listens');
    return;
}

# How many processes are subscribed, once it is as many as wished for.
sub channels {
    my ($wanted) = @_;
    my $count;

    await(sub {
        $count = () = redis('PUBSUB', 'CHANNELS', 'coco.replies.*') =~ /^./mg;
        return $count == ($wanted // ($Reload ? 2 : 1));
    });
    return $count;
}

sub waiting {
    my ($wanted) = @_;
    my %now;

    await(sub { %now = metrics(); $now{waiting} == $wanted });
    is($now{waiting}, $wanted, "$wanted wait");
    return;
}

# By how much the counters grew; a request is counted a moment after its
# answer.
sub counted {
    my (%wanted) = @_;
    my (%now, %more);

    await(sub {
        %now = metrics();
        %more = map { $_ => $now{$_} - $last{$_} }
            grep { $_ ne 'waiting' && $now{$_} != $last{$_} } keys %now;
        return join(',', map { "$_=$more{$_}" } sort keys %more)
            eq join(',', map { "$_=$wanted{$_}" } sort keys %wanted);
    });
    is_deeply(\%more, \%wanted, 'counted');
    %last = %now;
    return;
}

our $Opened = qr/^200 \{"opened":true,"cycleId":"[0-9a-f-]{36}","commandId":"([0-9a-f-]{36})"\}$/;

# How many lids it took until one was told by a hint.
sub hinted {
    my ($name) = @_;
    my ($took, $count) = ($Quick, 0);

    while ($took >= $Quick && $count++ < 10) {
        my $serial = "s181-opens-$name-$count";
        my $begun = now_ms();
        my $answer = answer(ask($serial));
        $took = now_ms() - $begun;
        like($answer, $Opened, "$name: opened");
        is(($answer =~ $Opened)[0], (command($serial))[0],
            "$name: its command");
    }
    cmp_ok($took, '<', $Quick, "$name: by a hint, not by looking");
    return $count;
}

sub joined {
    my $serial = 's181-waits-join';
    my @sockets = map { ask($serial, key => "join-$serial-$$") } 1 .. 6;

    waiting(6);
    is(scalar(command($serial)), 1, 'six wait for one command');
    robots("open $serial");
    my @answers = map { answer($_) } @sockets;
    like($answers[0], $Opened, 'opened');
    is_deeply(\@answers, [($answers[0]) x 6], 'all are told the same');
    is(answer(ask($serial, key => "join-$serial-$$")), $answers[0],
        'also later');
    like(answer(ask($serial, key => "join-$serial-$$",
        body => '{"source":"PIN"}')), qr/^422 /, 'another body is refused');
    counted(opened => 7, refused => 1);
    return;
}

sub gone {
    my $serial = 's181-waits-gone';
    my $key = "gone-$$";
    my @sockets = map { ask($serial, key => $key) } 1 .. 2;

    waiting(2);
    close shift @sockets;
    waiting(1);
    close shift @sockets;
    waiting(0);
    counted(abandoned => 2);
    robots("open $serial");
    like(answer(ask($serial, key => $key)), $Opened,
        'who comes back is told what came of it');
    is(scalar(command($serial)), 1, 'of the same command');
    counted(opened => 1 + hinted('after-gone'));
    return;
}

sub redis_killed {
    my @sockets = map { ask("s181-waits-$_") } qw(redis-1 redis-2);

    waiting(2);
    robots('shut redis');
    is(channels(0), 0, 'nobody listens any more');
    robots("open s181-waits-$_") for qw(redis-1 redis-2);
    like(answer($_, 40), $Opened, 'opened, without a hint') for @sockets;
    like(answer(ask('s181-opens-dark'), 40), $Opened, 'and a new one');
    is(sql("select max(cardinality(reply_to)) from coco.robot_command"
        . " where serial = 's181-opens-dark'"), 0, 'whose channel is none');
    robots('mend redis');
    is(channels(), $Reload ? 2 : 1, 'subscribed again');
    counted(opened => 3 + hinted('after-redis'));
    return;
}

sub postgres_killed {
    my @sockets = map { ask("s181-waits-pg-$_") } 1 .. 3;

    waiting(3);
    robots('shut postgres');
    like(answer(ask('s181-opens-none')),
        qr/^503 .*is not known\. Look at GET \/state\/\{serial\}\/lid before/,
        'no new one');
    robots("open s181-waits-pg-$_") for 1 .. 3;
    sleep 1.2;      # the hints and a look at least come to nothing
    waiting(3);
    robots('mend postgres');
    like(answer($_, 40), $Opened, 'opened, once Postgres is back')
        for @sockets;
    counted(opened => 3, unavailable => 1);
    return;
}

# To the very end.
sub postgres_lost {
    my $key = "lost-$$";
    my $socket = ask('s181-waits-lost', key => $key);

    waiting(1);
    robots('shut postgres');
    like(answer($socket, 40), qr/^503 .*"detail":"Postgres cannot be reached: whether the lid opens is not known\. Ask again with the same Idempotency-Key/,
        'not known');
    robots('open s181-waits-lost');
    robots('mend postgres');
    my $answer;
    await(sub {
        $answer = answer(ask('s181-waits-lost', key => $key));
        return $answer !~ /^503/;
    });
    like($answer, $Opened, 'asked again: it did open');
    is(scalar(command('s181-waits-lost')), 1, 'once');
    return;
}

sub reloaded {
    my @sockets;
    open my $file, '<', server_root() . '/logs/nginx.pid' or die "pid: $!";
    my $master = <$file> + 0;
    my @old = split ' ', `pgrep -P $master`;
    my @both;

    # of each process some, though one may take what comes
    my %waits;
    await(sub {
        push @sockets, map { ask('s181-waits-hup-' . (@sockets + $_)) } 1 .. 4;
        waiting(scalar @sockets);
        %waits = ();
        push @{ $waits{$$_[1]} }, $$_[0] for map { [split /\|/] } split /\n/,
            sql('select substr(serial, 16), reply_to[1] from'
                . " coco.robot_command where serial like 's181-waits-hup-%'"
                . ' and outcome is null order by issued_at');
        return keys %waits == 2 && !grep { @$_ < 3 } values %waits;
    });
    kill HUP => $master;
    await(sub {
        @both = split ' ', `pgrep -P $master`;
        return @both == 2 * @old;
    });
    is(channels(4), 4, 'old processes listen as well as new ones');
    my $hinted = hinted('reloaded');
    # after one of its process was told, the next look is a second away
    for my $of (values %waits) {
        my @took;
        for my $n (@$of) {
            my $begun = now_ms();
            robots("open s181-waits-hup-$n");
            like(answer($sockets[$n - 1]), $Opened,
                'opened by a process that leaves');
            push @took, now_ms() - $begun;
        }
        my ($quickest) = sort { $a <=> $b } @took[1 .. $#took];
        cmp_ok($quickest, '<', $Quick, 'by a hint still');
    }
    is(channels(), 2, 'which then has left');
    counted(opened => @sockets + $hinted);
    return;
}

sub many {
    my $serial = 's181-waits-many';
    my @sockets = map { ask($serial) } 1 .. 500;
    push @sockets, map { ask($serial, key => "many-$$") } 1 .. 500;

    waiting(1000);
    is(scalar(command($serial)), 501, 'five hundred wait for one command');
    close shift @sockets for 1 .. 10;
    waiting(990);
    my $begun = now_ms();
    robots("open $serial");
    my %answers;
    $answers{substr answer($_), 0, 3}++ for @sockets;
    diag('990 of 1000 that waited were told within '
        . (now_ms() - $begun) . ' ms');
    is_deeply(\%answers, { 200 => 990 }, 'each is told');
    waiting(0);
    counted(opened => 990, abandoned => 10);
    return;
}

sub silent {
    my $begun = now_ms();
    my @sockets = map { ask('s181-mute') } 1 .. 300;

    waiting(300);
    my %answers;
    $answers{substr answer($_), 0, 3}++ for @sockets;
    is_deeply(\%answers, { 504 => 300 }, 'silent');
    cmp_ok(now_ms() - $begun, '>=', 8000, 'not before their time');
    counted(silent => 300);
    return;
}

# More than may wait for Postgres: as many are asked as it takes.
sub full {
    my ($sockets, $refused) = (IO::Select->new, 0);

    robots('lock');
    for (1 .. 4000) {
        $sockets->add(ask('s181-mute-full', key => "full-$$-$_"));
        last if ($refused) = $sockets->can_read(0);
    }

    # nginx may be behind with them
    ($refused) = $sockets->can_read(60) unless $refused;
    like(answer($refused), qr/^503 .*"detail":"Postgres has too many requests waiting; try again later\."/,
        'not sent, thus known not to open');
    cmp_ok($sockets->count, '>', 1024, 'beyond what may wait');
    close $_ for $sockets->handles;
    robots('unlock');
    await(sub { %last = metrics(); $last{waiting} == 0 });
    hinted('after-full');
    return;
}

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: hints, and repeats that join
--- http_config eval: Lids::doors(coco_lid_timeout => '60s')
--- config eval: $::Config
--- init
main::begin(), main::counted(opened => main::hinted('first')), main::joined()



=== TEST 2: a client that leaves
--- init
main::gone()



=== TEST 3: Redis is killed while a request waits
--- init
main::redis_killed()



=== TEST 4: Postgres is
--- init
main::postgres_killed()



=== TEST 5: nginx is reloaded
--- init
main::reloaded() if $::Reload



=== TEST 6: a thousand wait
--- http_config eval: Lids::doors(coco_postgres_timeout => '20s', coco_lid_timeout => '60s')
--- config eval: $::Config
--- init
main::begin(), main::many()



=== TEST 7: nobody is told anything
--- http_config eval: Lids::doors(coco_postgres_timeout => '20s', coco_lid_timeout => '8s')
--- config eval: $::Config
--- init
main::begin(), main::silent()



=== TEST 8: more than may wait for Postgres
--- http_config eval: Lids::doors(coco_postgres_timeout => '20s', coco_lid_timeout => '60s')
--- config eval: $::Config
--- init
main::begin(), main::full()



=== TEST 9: Postgres is lost for good
--- http_config eval: Lids::doors(coco_lid_timeout => '5s')
--- config eval: $::Config
--- init
main::begin(), main::postgres_lost()
