package Test::Nginx::Runner::Check;

# The assertions of a block. How many tests each makes is part of the format,
# since suites plan with it: one for the status, one for each response_headers
# line, for a body, and for each line of error_log and no_error_log.

use strict;
use warnings;

use Test::LongString ();
use Test::More ();
use Time::HiRes qw(sleep);

use Test::Nginx::Runner::Server ();

*Option = \%Test::Nginx::Runner::Server::Option;
our %Option;

our $LongString = 1;

# Seconds for which a line may be on its way.
our $LogLimit = 10;

# How far the error log was read: each check sees only what is new.
my $position = 0;


# --- the response -----------------------------------------------------------

sub response {
    my ($block, $response, $head, $at) = @_;

    status($block, $response, $at);
    raw_headers($block, $head, $at);
    headers($block, $response, $head, $at);
    body($block, $response, $at);
}


# A section's value for this request: suites with several requests give
# arrays.
sub value {
    my ($block, $section, $at) = @_;
    my $value = $block->$section;

    return $value->[$at->{index}] if ref $value eq 'ARRAY';
    Test::Nginx::Runner::Server::bail($block->name,
        " - several requests need an array of $section") if $at->{many};
    return $value;
}


sub ports_expand {
    my ($text) = @_;

    return $text if !defined $text || ref $text;
    $text =~ s/\$ServerPortForClient\b/$Option{client_port}/g;
    $text =~ s/\$ServerPort\b/$Option{port}/g;
    return $text;
}


sub status {
    my ($block, $response, $at) = @_;
    my $name = $block->name . ' - status code ok';
    my $code = $response->code // '';

    if (defined $block->error_code_like) {
        my $pattern = value($block, 'error_code_like', $at);
        Test::More::like($code, qr/$pattern/sm, $name);
    } else {
        Test::More::is($code, defined $block->error_code
            ? value($block, 'error_code', $at) : 200, $name);
    }
}


sub raw_headers {
    my ($block, $head, $at) = @_;
    my $name = $block->name;

    if (defined $block->raw_response_headers_like) {
        my $pattern = value($block, 'raw_response_headers_like', $at);
        Test::More::like($head, qr/$pattern/s, "$name - raw headers like");
    }
    if (defined $block->raw_response_headers_unlike) {
        my $pattern = value($block, 'raw_response_headers_unlike', $at);
        Test::More::unlike($head, qr/$pattern/s, "$name - raw headers unlike");
    }
}


# "Name: value", or "! Name" for one that must not be there. A name given
# twice counts once, the last.
sub headers {
    my ($block, $response, $head, $at) = @_;
    my $like = !defined $block->response_headers;
    my $section = $like ? 'response_headers_like' : 'response_headers';
    my $name = $block->name;
    my %wanted;

    return unless defined $block->$section;
    for my $line (split /\n/, value($block, $section, $at) // '') {
        $line =~ s/^\s+|\s+$//g;
        if ($line =~ s/^!\s*//) {
            $wanted{$line} = undef;
        } else {
            my ($key, $value) = split /\s*:\s*/, $line, 2;
            $wanted{$key // ''} = $value;
        }
    }

    for my $key (sort keys %wanted) {
        my $got = $response->header($key) // '';
        my $value = ports_expand($wanted{$key});

        if ($like) {
            Test::More::like($got, qr/^$value$/, "$name - header $key like");
        } elsif (defined $value) {
            Test::More::is($got, $value, "$name - header $key ok");
        } else {
            Test::More::unlike($head, qr/^\s*\Q$key\E\s*:/ms,
                               "$name - header $key not present");
        }
    }
}


sub body {
    my ($block, $response, $at) = @_;
    my $name = $block->name;
    my $content = $response->content;

    if (defined $block->response_body) {
        my $wanted = ports_expand(value($block, 'response_body', $at));

        $name .= " - response_body (round $at->{round}, "
            . "request $at->{index})";
        if (ref $wanted) {
            Test::More::like($content, $wanted, $name);
        } else {
            same($content, Test::Nginx::Runner::Server::expand($wanted, $name),
                 $name);
        }

    } elsif (defined $block->response_body_like) {
        my $pattern = ports_expand(value($block, 'response_body_like', $at));
        Test::More::like($content, qr/$pattern/s,
                         "$name - response_body_like");

    } elsif (defined $block->response_body_unlike) {
        my $pattern = ports_expand(value($block, 'response_body_unlike', $at));
        Test::More::unlike($content, qr/$pattern/s,
                           "$name - response_body_unlike");
    }
}


sub same {
    my ($got, $wanted, $name) = @_;

    if ($LongString) {
        Test::LongString::is_string($got, $wanted, $name);
    } else {
        Test::More::is($got, $wanted, $name);
    }
}


# --- the error log ----------------------------------------------------------

sub log_rewind {
    $position = 0;
}


# Lines since the last call. nginx logs the end of a request after the client
# has its answer: that is waited for; what it does of itself comes some time
# later: the pause lets it, and each of the patterns is waited for.
sub log_lines {
    my (@patterns) = @_;
    my @lines;

    sleep($ENV{TEST_NGINX_SLEEP} || 0.015);
    Test::Nginx::Runner::Server::wait_until(1,
        \&Test::Nginx::Runner::Server::idle);
    Test::Nginx::Runner::Server::wait_until($LogLimit, sub {
        open my $file, '<', $Test::Nginx::Runner::Server::ErrorLog or return 1;
        seek $file, $position, 0;
        push @lines, <$file>;
        $position = tell $file;
        if (@lines && $lines[-1] !~ /\n\z/) {          # half written
            $position -= length pop @lines;
        }
        for my $pattern (@patterns) {
            return 0 unless grep matches($_, $pattern), @lines;
        }
        return 1;
    });
    return @lines;
}


# A section's patterns: lines are taken literally, a qr// or an array as given.
sub patterns {
    my ($block, $section) = @_;
    my $value = $block->$section;

    return unless defined $value;
    return grep defined, @$value if ref $value eq 'ARRAY';
    return $value if ref $value;
    return grep length, split /\n+/, $value;
}


sub matches {
    my ($line, $pattern) = @_;

    return ref $pattern ? $line =~ $pattern : index($line, $pattern) >= 0;
}


sub error_log {
    my ($block, $round) = @_;
    my $name = $block->name;
    my @lines = log_lines(patterns($block, 'error_log'));

    grep_log($block, $round, @lines) if defined $block->grep_error_log;
    log_has($block, 'error_log', @lines);
    log_has_not($block, 'no_error_log', @lines);

    my $said = join "\n", patterns($block, 'error_log'),
        patterns($block, 'no_error_log');
    for my $level ('[alert', '[crit', '[emerg') {
        next if index($said, $level) >= 0;
        warn "WARNING: $name - $_" for grep index($_, "$level]") >= 0, @lines;
    }
    for my $line (grep /\bAssertion .*?failed\b/, @lines) {
        Test::More::fail("$name - $line");
    }
}


sub log_has {
    my ($block, $section, @lines) = @_;
    my $name = $block->name;

    for my $pattern (patterns($block, $section)) {
        Test::More::ok(scalar(grep matches($_, $pattern), @lines),
            qq{$name - "$pattern" is in the error log}) or
            Test::More::diag(map "    $_", grep !/\[debug\]/, @lines);
    }
}


sub log_has_not {
    my ($block, $section, @lines) = @_;
    my $name = $block->name;

    for my $pattern (patterns($block, $section)) {
        my @found = grep matches($_, $pattern), @lines;
        Test::More::ok(!@found, qq{$name - "$pattern" is not in the error log})
            or Test::More::diag(map "    $_", @found);
    }
}


sub grep_log {
    my ($block, $round, @lines) = @_;
    my ($pattern, $wanted) = map {
        my $value = $block->$_;
        ref $value eq 'ARRAY' ? $value->[$round] : $value;
    } qw(grep_error_log grep_error_log_out);
    my $name = $block->name . " - grep_error_log_out (round $round)";
    my $found = '';

    Test::Nginx::Runner::Server::bail("$name is missing")
        unless defined $wanted;
    $pattern = qr/\Q$pattern\E/ unless ref $pattern;
    for my $line (@lines) {
        $found .= "$1\n" if $line =~ /($pattern)/ && $1 !~ /\n/;
    }

    if (ref $wanted) {
        Test::More::like($found, $wanted, $name);
    } else {
        same($found, Test::Nginx::Runner::Server::expand($wanted, $name),
             $name);
    }
}


# What nginx said while it ended; a reloaded nginx has not ended.
sub shutdown_log {
    my ($block, $reloads) = @_;
    my @lines;

    my $count = map patterns($block, $_),
        qw(shutdown_error_log no_shutdown_error_log);
    return unless $count;
    if ($reloads) {
        SKIP: { Test::More::skip($block->name . ' - nginx reloads', $count) }
        return;
    }

    @lines = log_lines(patterns($block, 'shutdown_error_log'));
    log_has($block, 'shutdown_error_log', @lines);
    log_has_not($block, 'no_shutdown_error_log', @lines);
}


# --- others -----------------------------------------------------------------

sub must_die {
    my ($block, $status) = @_;
    my $name = $block->name;

    if ($status & 127 || $status == -1) {
        Test::More::fail("$name - nginx was killed or not found: $status");
    } elsif ($block->must_die =~ /^\s*(\d+)\s*$/) {
        Test::More::is($status >> 8, $1, "$name - exit status");
    } else {
        Test::More::isnt($status, 0, "$name - dies as expected");
    }
}


sub mock {
    my ($block, $file) = @_;
    my $query;

    return unless defined $file;
    open my $in, '<:raw', $file->filename or return;
    $query = do { local $/; <$in> } // '';
    same($query, $block->tcp_query, $block->name . ' - tcp_query ok')
        if defined $block->tcp_query;
    Test::More::is(length $query, $block->tcp_query_len,
                   $block->name . ' - tcp_query_len ok')
        if defined $block->tcp_query_len;
}

1;
