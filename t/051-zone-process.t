# The zone and its processes: a reload keeps it, other rules and another size
# do not, and worker processes that are killed, the holder of the lease or of
# the lock among them, leave it whole.

use Test::Nginx::Socket;
use Test::More;
use Coco;
use Worker;
use Time::HiRes qw(sleep);

master_on();
workers(2);
no_shuffle();
no_long_string();
log_level('warn');       # or what is logged of each event is the load
worker_connections(256);
add_block_preprocessor(\&Coco::defaults);

our $Locations = Coco::locations() . "location /metrics { coco_metrics; }\n";
our $Robots = 100;

sub zone {
    my ($arguments, %is) = @_;
    return Coco::http_config(coco_zone => $arguments, %is);
}

sub master {
    open my $file, '<', server_root() . '/logs/nginx.pid' or die "pid: $!";
    return <$file> + 0;
}

sub workers_of {
    return split ' ', `pgrep -P $_[0]`;
}

# Changes the configuration, reloads, and waits until the old workers left.
sub reload {
    my ($from, $to) = @_;
    my $path = server_root() . '/conf/nginx.conf';
    my $text = do { local (@ARGV, $/) = ($path); <> };
    my $new = $text =~ s/$from/$to/r if defined $from;
    die "nothing to change" if defined $from && $new eq $text;

    open my $file, '>', $path or die "$path: $!";
    print $file $new // $text;
    close $file;

    my @old = workers_of(master());
    kill HUP => master();
    return await(sub {
        my %is = map { $_ => 1 } workers_of(master());
        return keys %is == 2 && !grep { $is{$_} } @old;
    });
}

sub hit {
    return get('/robots/s051-1')->{headers}{'x-coco-cache'} eq 'HIT';
}

sub reloaded {
    ok(await_fresh(), 'it is fresh');
    ok(await(\&hit), 'a robot is kept');
    my %before = metrics();

    ok(reload(), 'reloaded');
    ok(await_fresh(), 'fresh again');
    my %is = metrics();
    is($is{zone_robots}, $before{zone_robots}, 'the fleet is kept');
    is($is{zone_resets_total}, $before{zone_resets_total}, 'and was always');

    ok(reload(qr/coco_online_window \w+/, 'coco_online_window 77s'),
        'other rules');
    ok(await_fresh(), 'fresh again');
    %is = metrics();
    is($is{zone_resets_total}, $before{zone_resets_total} + 1,
        'the fleet is another one');
    is($is{zone_robots}, $before{zone_robots}, 'of as many robots');
    ok(await(\&hit), 'a robot is kept');

    ok(reload(qr/robots=5000/, 'robots=4000'), 'another layout');
    ok(await_fresh(), 'fresh again');
    %is = metrics();
    is($is{zone_capacity_robots}, 4000, 'with less room');
    is($is{zone_robots}, $before{zone_robots}, 'for as many robots');
    ok(await(\&hit), 'a robot is kept');
    return;
}

# Readers, and a feed that writes all the time, while workers are killed.
sub killed {
    ok(await_fresh(), 'it is fresh');
    my @load = map { load($_) } 1 .. 3;
    my $writer = writer();
    my $master = master();
    my ($slowest, $locked) = (0, 0);

    for my $round (1 .. 12) {
        my @killed = workers_of($master);
        if ($round % 3) {
            @killed = grep { $_ } kill_locked(@killed);
            $locked += @killed;
        } else {
            sleep rand 0.15;
            kill KILL => @killed;
        }
        my $begun = now_ms();
        ok(await(sub {
            my %is = map { $_ => 1 } workers_of($master);
            return keys %is == 2 && !grep { $is{$_} } @killed;
        }), 'others are in their place');
        ok(await(sub { my %is = eval { metrics() }; return $is{zone_fresh} }),
            "fresh after round $round");
        my $took = now_ms() - $begun;
        $slowest = $took if $took > $slowest;
    }

    kill KILL => $writer;
    waitpid $writer, 0;
    my $wrong = 0;
    for my $child (@load) {
        kill TERM => $child;
        waitpid $child, 0;
        $wrong += $? >> 8;
    }
    ok($locked >= 4, "$locked of 8 times one is killed that has the lock");
    is($wrong, 0, 'no answer was another robot\'s, or torn');
    cmp_ok($slowest, '<', 15_000, 'each time in seconds');

    # what the last one has broken may yet be found, and loaded again
    my $robots = sql('select count(*) from coco.resource');
    my %is;
    await(sub { %is = metrics();
        return $is{zone_fresh} && $is{zone_robots} == $robots });
    is($is{feed_refused_total}, 0, 'every line was one');
    is($is{zone_robots}, $robots, 'all robots are there');
    return;
}

# Kills one of them while it holds the zone's mutex, whose first word is the pid
# of who does: each is stopped and looked at, until one has it.
sub kill_locked {
    my (@workers) = @_;
    my %start = map { $_ => zone_start($_) } @workers;
    return await(sub {
        for my $pid (@workers) {
            kill STOP => $pid;
            my $locked = peek($pid, $start{$pid}) == $pid;
            kill(($locked ? 'KILL' : 'CONT') => $pid);
            return $pid if $locked;
            sleep 0.0005;
        }
        return 0;
    });
}

# Where a process has the zone of 16 MiB.
sub zone_start {
    my ($pid) = @_;
    no warnings 'portable';         # hex() of 64 bits
    open my $maps, '<', "/proc/$pid/maps" or die "maps: $!";
    while (my $line = <$maps>) {
        my ($from, $to) = $line =~ /^(\w+)-(\w+) rw-s/ or next;
        return hex $from if hex($to) - hex($from) == 16 << 20;
    }
    die "no zone in $pid";
}

sub peek {
    my ($pid, $at) = @_;
    open my $mem, '<:raw', "/proc/$pid/mem" or die "mem: $!";
    sysseek $mem, $at, 0 or die "seek: $!";
    sysread($mem, my $word, 8) == 8 or die "read: $!";
    return unpack 'Q', $word;
}

# A process that reads robots until it is told to end; its status is how many
# answers were wrong.
sub load {
    my ($seed) = @_;
    my $pid = fork // die "fork: $!";
    return $pid if $pid;

    my ($end, $wrong, $parent) = (0, 0, getppid());
    local $SIG{TERM} = sub { $end = 1 };
    srand $seed;
    until ($end || getppid() != $parent) {
        my $n = 1 + int rand $Robots;
        my $reply = eval { get("/robots/s051-$n") } or next;
        $wrong++ if $reply->{status} == 200 && $reply->{content} !~
            /^\{"serial":"s051-$n",.*"serial":"s051-$n",.*"percent": ?$n\b.*"partial":(?:true|false)\}$/;
    }
    POSIX::_exit($wrong > 100 ? 100 : $wrong);
}

# A process that feeds lines and invalidations of all robots; each line is
# news, so that the fleet is written nearly all the time.
sub writer {
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    my $at = now_ms() - 50_000;
    my $lines = join "\n", map {
        sprintf 's051-%d T %d -1224000000 %d TIME TIME'
            . ' 11111111-1111-8111-8111-%012d 1', 1 + $_ % $Robots,
            377000000 + $_, $_ % 100, $_
    } 1 .. 5000;
    my $parent = getppid();
    while (getppid() == $parent) {
        $at++;
        tell($lines =~ s/TIME/$at/gr);
        invalidate(map { "s051-$_" } 1 .. $Robots);
    }
    POSIX::_exit(0);
}

robot("s051-$_", copies => 0, details => heartbeat(percent => $_)) for 1;
sql(join '', map { <<"END" } 2 .. $Robots);
insert into coco.robot_state (serial, id, state, ts, received_at, order_ts,
                              details)
select 's051-$_', id, state, ts, received_at, order_ts,
       jsonb_set(details, '{battery,percent}', '$_')
  from coco.robot_state where serial = 's051-1'
on conflict (serial) do nothing;
insert into coco.robot_operation (serial, operation_state, changed_at)
values ('s051-$_', 'PARKED', now()) on conflict do nothing;
END
sql("delete from coco.resource where id like 's051-%';"
    . "select coco.supply_put('s051-' || n, '{}', now())"
    . "  from generate_series(1, $Robots) n");

worker_start();
plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: reloads
--- http_config eval
main::zone('16m robots=5000', coco_online_window => '60s')
--- config eval: $::Locations
--- init
main::reloaded()
--- request
GET /robots/s051-1
--- response_body_like: s051-1



=== TEST 2: kills
--- http_config eval: main::zone('16m robots=5000')
--- config eval: $::Locations
--- init
main::killed()
--- request
GET /robots/s051-1
--- response_body_like: s051-1
--- error_log
was locked by
--- no_error_log
[emerg]
