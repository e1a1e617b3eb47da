package Test::Nginx::Runner::Mock;

# A TCP server for one connection, in a process of its own: tcp_listen says
# where, tcp_query what it should be asked, tcp_reply what it answers.

use strict;
use warnings;

use File::Temp ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use POSIX ();
use Time::HiRes qw(sleep);

use Test::Nginx::Runner::Server ();

my $pid;


# The file in which it leaves what it was asked; undef without tcp_listen.
sub start {
    my ($block) = @_;
    my $target = Test::Nginx::Runner::Server::expand(
        scalar $block->tcp_listen, $block->name);
    my ($socket, $file);

    return undef unless defined $target;
    $target =~ s/^\s+|\s+$//g;
    unlink $target if $target =~ m{^/};
    Test::Nginx::Runner::Server::wait_until(5, sub {
        $socket = $target =~ m{^/}
            ? IO::Socket::UNIX->new(Local => $target, Listen => 5)
            : IO::Socket::INET->new(LocalHost => '127.0.0.1',
                LocalPort => $target, ReuseAddr => 1, Listen => 5);
    }) or Test::Nginx::Runner::Server::bail(
        $block->name, " - can't listen on $target: $!");

    $file = File::Temp->new;
    $pid = fork() // Test::Nginx::Runner::Server::bail("fork: $!");
    if ($pid == 0) {
        serve($block, $socket, $file->filename);
        POSIX::_exit(0);
    }
    return $file;
}


sub serve {
    my ($block, $socket, $file) = @_;
    my $client = $socket->accept or return;
    my $wanted = $block->tcp_query_len // length($block->tcp_query // '');
    my $query = '';
    my $reply = $block->tcp_reply;

    while (sysread $client, $query, 4096, length $query) {
        open my $out, '>:raw', "$file.new" or return;
        print $out $query;
        close $out;
        rename "$file.new", $file;
        last if length $query >= $wanted;
    }

    sleep Test::Nginx::Socket::seconds($block->tcp_reply_delay)
        if defined $block->tcp_reply_delay;
    $reply = $reply->($query) if ref $reply eq 'CODE';
    for my $part (ref $reply ? @$reply : $reply // '') {
        syswrite $client, $part;
    }
    sleep 3600 if defined $block->tcp_no_close;     # until stop()
}


sub stop {
    return unless $pid;
    kill KILL => $pid;
    waitpid $pid, 0;
    undef $pid;
}

1;
