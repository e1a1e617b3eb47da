package Worker;

# A worker as nginx hears it: beats on coco.supply, every 50 ms from a process
# of its own, and what it tells on both channels.

use strict;
use warnings;

use Coco;
use HTTP::Tiny;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep);

use Exporter 'import';
our @EXPORT = qw(worker_start worker_kill worker_bye publish tell invalidate
    get metrics await await_fresh connections steady);

our $Name = "t-worker-$$";
my ($pid, $owner, $http, %sockets);


sub worker_start {
    my $parent = $$;
    $pid = fork // die "fork: $!";
    $owner = $parent;
    return if $pid;

    while (getppid() == $parent) {
        eval { publish('coco.supply', "\@$Name"); 1 } or POSIX::_exit(1);
        sleep 0.05;
    }
    POSIX::_exit(0);
}


# As redis(), of any length; by a connection of each process. Returns how many
# have heard it.
sub publish {
    my $socket = $sockets{$$} //= IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $ENV{TEST_NGINX_REDIS_PORT})
        or die "redis: $!";
    print $socket join '', "*3\r\n",
        map { '$' . length($_) . "\r\n$_\r\n" } 'PUBLISH', @_;
    $socket->flush;
    my $reply = <$socket> // '';
    return $reply =~ /^:(\d+)\r/ ? $1 : die "PUBLISH: $reply";
}


# Of the process that started it alone.
sub worker_kill {
    return unless $pid && $owner == $$;
    local $?;               # an exit status, in END
    kill KILL => $pid;
    waitpid $pid, 0;
    $pid = undef;
    return;
}


sub worker_bye {
    worker_kill();
    return publish('coco.supply', "\@$Name bye");
}


# Lines of the supply.
sub tell {
    return publish('coco.supply', join "\n", "\@$Name", @_, '');
}


sub invalidate {
    my $serials = join ',', map { qq("$_") } @_;
    return publish('coco.invalidate', qq({"serials":[$serials]}));
}


# The reply to a request, of HTTP::Tiny.
sub get {
    my ($path, $method, $body) = @_;
    $http //= HTTP::Tiny->new(timeout => 10);
    my ($name, $value) = split /: /, bearer();
    return $http->request($method // 'GET',
        "http://127.0.0.1:$ENV{TEST_NGINX_CLIENT_PORT}$path",
        { headers => { $name => $value,
            defined $body ? ('Content-Type' => 'application/json') : () },
          defined $body ? (content => $body) : () });
}


# {sample without coco_: value}
sub metrics {
    my $reply = get('/metrics');
    die "GET /metrics: $reply->{status}" unless $reply->{success};
    return $reply->{content} =~ /^coco_(\S+) (\d+)$/mg;
}


sub await {
    my ($holds) = @_;
    my $until = now_ms() + 60_000;
    while (now_ms() < $until) {
        my $is = $holds->();
        return $is if $is;
        sleep 0.01;
    }
    return $holds->();
}


# The zone is served from.
sub await_fresh {
    my ($fresh) = @_;
    return await(sub { my %is = metrics();
        return $is{zone_fresh} == ($fresh // 1) });
}


# How often the feed has been connected, by the log of this block.
sub connections {
    open my $log, '<', Test::Nginx::Socket::server_root() . '/logs/error.log'
        or die "log: $!";
    return scalar grep { /\[notice\].* connected.*redis subscription/ } <$log>;
}


# What a sub returns that ran from begin to end while nothing cut the feed: a
# process that gets no time loses the feed, and loads the fleet anew when it is
# back. It is run again if that was so, or if a document was not served from
# the zone as this was not fresh.
sub steady {
    my ($run) = @_;
    my $is;

    for (1 .. 20) {
        my ($connections, $at) = (connections(), now_ms());
        my (%was, %now);

        # a PING of since then is answered: the connection has begun its load,
        # if there was one to begin, and that has ended
        await(sub {
            my $begun = now_ms();
            %was = metrics();
            return $was{zone_fresh} && $begun - $at >
                $was{'feed_lag_milliseconds{feed="workers"}'};
        });
        $is = $run->();
        %now = metrics();
        last if connections() == $connections && $now{zone_fresh}
            && !grep { /outcome="stale"/ && $now{$_} != $was{$_} } keys %now;
    }
    return $is;
}


END { worker_kill() }

1;
