package Test::Nginx::Runner::Client;

# Requests from their sections, over a socket, and responses from their bytes.
# Decides nothing about right or wrong, except that a socket timed out.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use HTTP::Response ();
use IO::Select ();
use IO::Socket::INET ();
use Test::More ();
use Time::HiRes qw(sleep time);

use Test::Nginx::Runner::Server ();

*Option = \%Test::Nginx::Runner::Server::Option;
our %Option;


# The block's requests, each a list of [bytes, delay before them in seconds].
sub requests {
    my ($block) = @_;
    my $name = $block->name;

    if (defined(my $raw = $block->raw_request)) {
        my $delay = $block->raw_request_middle_delay;
        return [map [$_, $delay], ref $raw ? @$raw : $raw];
    }

    if (my $list = $block->pipelined_requests) {
        my $all = '';
        for my $i (0 .. $#$list) {
            my $text = Test::Nginx::Runner::Server::expand($list->[$i], $name);
            $all .= build($name, $text, headers($block, $i),
                          $i == $#$list ? 'close' : 'keep-alive');
        }
        return [[$all]];
    }

    my $request = $block->request;
    if (!ref $request) {
        # comment lines and empty lines before the request
        $request =~ s/\A(?:\s*\#[^\n]*\n|\s+)*// if defined $request;
        return [[build($name, $request, headers($block, 0), 'close')]];
    }
    return map { packets($name, $request->[$_], headers($block, $_)) }
        0 .. $#$request;
}


sub headers {
    my ($block, $i) = @_;
    my $headers = $block->more_headers // '';

    return $headers unless ref $headers;
    return $headers->[$i] // Test::Nginx::Runner::Server::bail(
        $block->name, " - more_headers has nothing for request $i");
}


# A request may be one string or several, each with a delay: {value,
# delay_before}. The head goes with the first.
sub packets {
    my ($name, $request, $headers) = @_;

    return [[build($name, $request, $headers, 'close')]] unless ref $request;

    my @parts = map { ref $_ ? $_ : { value => $_ } } @$request;
    my $text = join '', map $_->{value}, @parts;
    my $built = build($name, $text, $headers, 'close');
    my @sent;

    # from the end: bodies are not changed, heads grow
    for my $i (reverse 1 .. $#parts) {
        my $tail = $parts[$i]{value};
        last unless length $tail < length $built
            && substr($built, -length $tail) eq $tail;
        substr($built, -length $tail) = '';
        unshift @sent, [$tail, $parts[$i]{delay_before}];
    }
    return [[$built, $parts[0]{delay_before}], @sent];
}


# "METHOD [url [version]]", then the body.
sub build {
    my ($name, $text, $more, $connection) = @_;
    my ($line, $body) = split /\n/, $text // '', 2;
    my ($method, $url, $version) = split ' ', $line // '';
    my ($fields, $chunked) = ('', 0);

    Test::Nginx::Runner::Server::bail("$name - no request line")
        unless defined $method;
    for my $field (split /\n+/, $more) {
        next if $field =~ /^\s*#/;
        my ($key, $value) = split /:\s*/, $field, 2;
        $value //= '';
        $fields .= "$key: $value\r\n";
        $chunked = 1 if lc $key eq 'transfer-encoding' && $value eq 'chunked';
    }

    my $head = '';
    $head .= "Host: $Option{name}\r\n" unless $fields =~ /^Host:/mi;
    $head .= "Connection: $connection\r\n" unless $fields =~ /^Connection/mi;
    $head .= $fields;
    $body //= '';
    if (length $body && !$chunked && $fields !~ /^Content-Length:/m) {
        # from the end at once: s/\s+$// would try at every space
        $body = $body =~ /\A\s*(.*\S)/s ? $1 : '';
        $head .= 'Content-Length: ' . length($body) . "\r\n";
    }
    return join(' ', $method, $url // '/', $version // 'HTTP/1.1')
        . "\r\n$head\r\n$body";
}


# Everything that came until the server closed. A silence longer than timeout
# fails the block unless it says `abort`.
sub send {
    my ($block, $request, $timeout) = @_;
    my $socket = connect_retry($block) or return '';
    my $select = IO::Select->new($socket);
    my @parts = @$request;
    my ($out, $in) = ('', '');

    while (1) {
        if ($out eq '' && @parts) {
            ($out, my $delay) = @{ shift @parts };
            sleep $delay if $delay;
            next if $out eq '';
        }

        my ($readable, $writable) = IO::Select->select($select,
            $out eq '' ? undef : $select, undef, $timeout);
        if (!defined $readable) {
            next if $! == EINTR;
            Test::More::fail('client socket timed out - ' . $block->name)
                unless defined $block->abort;
            last;
        }

        if (@$writable) {
            my $wrote = syswrite $socket, $out;
            if (defined $wrote) {
                substr($out, 0, $wrote) = '';
                shutdown $socket, $block->shutdown || 1
                    if $out eq '' && !@parts && defined $block->shutdown;
            } elsif ($! != EAGAIN) {
                ($out, @parts) = ('');      # what it said may still be read
            }
        }

        if (@$readable) {
            my $read = sysread $socket, $in, 65536, length $in;
            last if defined $read ? $read == 0 : $! != EAGAIN;
        }
    }

    close $socket;
    return $in;
}


# nginx may still be on its way to listen (valgrind).
sub connect_retry {
    my ($block) = @_;
    my ($socket, $error);

    Test::Nginx::Runner::Server::wait_until($Option{valgrind} ? 30 : 5, sub {
        $socket = IO::Socket::INET->new(
            PeerAddr => $block->server_addr_for_client // $Option{address},
            PeerPort => $Option{client_port}, Proto => 'tcp', Timeout => 3);
        $error = $!;
        return $socket;
    }) or Test::More::fail($block->name . " - can't connect to "
                           . "$Option{address}:$Option{client_port}: $error");
    $socket->blocking(0) if $socket;
    return $socket;
}


# (HTTP::Response, the raw head, bytes that follow: the next pipelined one).
sub parse {
    my ($name, $bytes) = @_;
    my ($head) = $bytes =~ /\A(.*?\r\n)\r\n/s;
    my $response = HTTP::Response->parse($bytes);
    my $body = $response->content // '';
    my $rest = '';

    $response->code(undef)
        if defined $response->code && $response->code !~ /^\d+$/;
    if (($response->code // '') =~ /^(?:1..|204|304)$/) {
        ($body, $rest) = ('', $body);

    } elsif (lc($response->header('Transfer-Encoding') // '') eq 'chunked') {
        ($body, $rest) = unchunk($name, $body);

    } elsif (($response->header('Content-Length') // '') =~ /^(\d+)$/
             && length $body > $1)
    {
        ($body, $rest) = (substr($body, 0, $1), substr($body, $1));
    }

    $response->content($body);
    return ($response, $head // '', $rest);
}


sub unchunk {
    my ($name, $bytes) = @_;
    my $body = '';

    while ($bytes =~ s/\A[ \t]*([0-9a-fA-F]+)[^\r\n]*\r\n//) {
        my $size = hex $1;
        if ($size == 0) {
            $bytes =~ s/\A(?:[^\r\n]+\r\n)*\r\n//;       # trailers
            return ($body, $bytes);
        }
        last if length $bytes < $size + 2;
        $body .= substr $bytes, 0, $size, '';
        last unless $bytes =~ s/\A\r\n//;
    }
    Test::More::fail("$name - bad chunked body");
    return ($body, '');
}

1;
