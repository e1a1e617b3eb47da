package Lids;

# The robots of t/util/robots.py, and requests to open their lids that are
# sent without waiting for the answer.

use strict;
use warnings;

use Coco;
use File::Temp qw(tempdir);
use HTTP::Tiny;
use IO::Select;
use IO::Socket::INET;
use IPC::Open2;
use Time::HiRes qw(sleep);

use Exporter 'import';
our @EXPORT = qw(robots_start robots metrics await lid_open ask answer
    command);

my ($to, $from);
our $Doors = tempdir('coco-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $Doors;


sub robots_start {
    my ($prefix) = @_;

    sql("delete from coco.robot_command where serial like '$prefix%';"
        . "delete from coco.robot_task where serial like '$prefix%';"
        . "delete from coco.lid_cycle where serial like '$prefix%';"
        . "delete from coco.lid_cycle_event_history"
        . " where serial like '$prefix%'");
    open2($from, $to, '/usr/bin/python3',
        "$ENV{TEST_NGINX_COCO_ROOT}/t/util/robots.py", $prefix, $Doors);
    die "the robots did not start" if (<$from> // '') ne "ready\n";
    return;
}


# Tells them something, and waits until it is done.
sub robots {
    my ($line) = @_;

    print $to "$line\n";
    $to->flush;
    die "the robots have ended" if (<$from> // '') ne "done\n";
    return;
}


# http_config with the backends behind doors.
sub doors {
    return Coco::http_config(coco_redis => "unix:$Doors/redis.sock",
        coco_postgres => qq("host=$Doors user=coco dbname=coco"), @_);
}


# The members of the metrics whose name begins so, the labels' values instead
# of their names.
sub metrics {
    my $reply = HTTP::Tiny->new(timeout => 10)->get(
        "http://127.0.0.1:$ENV{TEST_NGINX_CLIENT_PORT}/metrics");
    die "GET /metrics: $reply->{status}" unless $reply->{success};
    return map { /^coco_lid_requests_(?:total\{outcome=")?(\w+).* (\d+)$/
        ? ($1 => $2) : () } split /\n/, $reply->{content};
}


sub await {
    my ($holds, $seconds) = @_;
    my $until = now_ms() + 1000 * ($seconds // 60);

    sleep 0.01 until $holds->() || now_ms() > $until;
    return;
}


# The text of a request.
sub lid_open {
    my ($serial, %is) = @_;
    my $body = $is{body} // '{"source":"QR"}';
    my $head = Coco::bearer(scope => 'lid:write', exp => time + 3600);

    return "POST /state/$serial/lid/open HTTP/1.1\r\nHost: x\r\n"
        . "Connection: close\r\n$head\r\nContent-Type: application/json\r\n"
        . ($is{key} ? "Idempotency-Key: $is{key}\r\n" : '')
        . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
}


# Sends it, and returns the socket.
sub ask {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $ENV{TEST_NGINX_CLIENT_PORT}) or die "connect: $!";

    print $socket lid_open(@_);
    $socket->flush;
    return $socket;
}


# "status body", "none" when nothing came in time.
sub answer {
    my ($socket, $seconds) = @_;
    my $until = now_ms() + 1000 * ($seconds // 60);
    my ($all, $more) = ('', 1);

    while ($more && now_ms() < $until) {
        next unless IO::Select->new($socket)->can_read(0.1);
        $more = sysread $socket, $all, 65536, length $all;
    }

    my ($status, $body) = $all =~ /^HTTP\/1\.1 (\d+) .*?\r\n\r\n(.*)/s
        or return 'none';
    return "$status $body";
}


# The ids of a robot's commands, the oldest first.
sub command {
    my ($serial) = @_;

    return split /\n/, sql("select id from coco.robot_command"
        . " where serial = '$serial' order by issued_at");
}

1;
