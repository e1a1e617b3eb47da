package Test::Nginx::Socket;

# A small runner for suites in the Test::Nginx data format: each block starts
# (or reloads) an nginx of its own, sends requests and checks what came back.
# Answers for the words that suites use and for the order of a block's steps.
# Must count tests exactly as OpenResty's Test::Nginx::Socket does, so that a
# suite's plan holds under both.
#
# In this file every sub has a prototype: Test::Base's source filter would
# put "my $self = shift" into one without.

use Test::Base -Base;

use List::Util ();
use Test::More ();
use Time::HiRes ();

use Test::Nginx::Runner::Check ();
use Test::Nginx::Runner::Client ();
use Test::Nginx::Runner::Mock ();
use Test::Nginx::Runner::Server ();

our @EXPORT = qw(
    plan run_tests repeat_each no_shuffle no_long_string no_root_location
    log_level master_on master_off master_process_enabled workers
    worker_connections env_to_nginx add_block_preprocessor
    add_cleanup_handler add_test_cleanup_handler server_root html_dir
    server_addr server_name server_port server_port_for_client timeout
    use_hup config_preamble bail_out
);

our ($RepeatEach, $Shuffle) = (1, 1);
our (@Preprocessors, @Cleanups, @TestCleanups);

# The configuration of the block before, for blocks that have none.
our $Running = 0;

# shutdown_error_log is checked once the next block has ended nginx.
our $Previous;

*Option = \%Test::Nginx::Runner::Server::Option;
our %Option;


sub repeat_each (@)  { $RepeatEach = shift if @_; $RepeatEach }
sub no_shuffle ()    { $Shuffle = 0 }
sub no_long_string () { $Test::Nginx::Runner::Check::LongString = 0 }
sub no_root_location () { $Option{root_location} = 0 }
sub log_level (@)    { option('log_level', @_) }
sub workers (@)      { option('workers', @_) }
sub worker_connections (@) { option('worker_connections', @_) }
sub config_preamble ($) { $Option{preamble} = shift }
sub master_on ()     { $Option{master} = 'on' }
sub master_off ()    { $Option{master} = 'off' }
sub use_hup ()       { $Option{hup} = 1 }
sub server_addr (@)  { option('address', @_) }
sub server_name (@)  { option('name', @_) }
sub server_port (@)  { option('port', @_) }
sub server_port_for_client (@) { option('client_port', @_) }
sub timeout (@)      { option('timeout', @_) }
sub server_root ()   { $Test::Nginx::Runner::Server::Root }
sub html_dir ()      { "$Test::Nginx::Runner::Server::Root/html" }
sub env_to_nginx (@) { push @{ $Option{env} }, @_ }
sub add_block_preprocessor (&) { unshift @Preprocessors, shift }
sub add_cleanup_handler ($) { unshift @Cleanups, shift }
sub add_test_cleanup_handler ($) { unshift @TestCleanups, shift }


sub option ($@) {
    my ($name, @value) = @_;

    $Option{$name} = $value[0] if @value;
    return $Option{$name};
}


sub master_process_enabled (@) {
    return $Option{master} unless @_;
    $Option{master} = shift() ? 'on' : 'off';
}


sub bail_out (@) {
    cleanup();
    Test::More::BAIL_OUT(join '', @_);
}


sub cleanup () {
    $_->() for splice @Cleanups;
    Test::Nginx::Runner::Mock::stop();
}


sub run_tests () {
    my @blocks = Test::Base::blocks();

    $ENV{TEST_NGINX_SERVER_PORT} //= $Option{port};
    for my $block ($Shuffle ? List::Util::shuffle(@blocks) : @blocks) {
        $_->($block) for @Preprocessors;
        $block->set_value(name => "$0 " . $block->name);
        run_block($block);
        $_->($block) for @TestCleanups;
        $Previous = $block;
    }
    cleanup();
}


# A block without a configuration talks to the nginx of the block before.
sub run_block ($) {
    my ($block) = @_;
    my $name = $block->name;
    my ($skip, $reason) = skip_asked($block);

    local $Option{log_level} = $block->log_level || $Option{log_level};
    local $Option{hup} = defined $block->must_die ? 0 : $Option{hup};
    local $Option{valgrind} = defined $block->must_die
        ? '' : $Option{valgrind};

    if (!defined $skip) {
        if (defined $block->config) {
            Test::Nginx::Runner::Server::stop() unless $Option{hup};
            shutdown_checks();
            if (defined $block->must_die) {
                Test::Nginx::Runner::Server::prepare($block);
                return must_die($block);
            }
            Test::Nginx::Runner::Server::start($block);
            $Running = 1;

        } elsif (!$Running) {
            bail_out("$name - no config section, and no block before it "
                     . "had one");
        }
    }

    if (defined $block->init) {
        eval $block->init;
        bail_out("$name - init failed: $@") if $@;
    }

    Test::Nginx::Runner::Check::log_rewind();

    for my $round (1 .. $RepeatEach) {
        if (defined $skip) {
            SKIP: { Test::More::skip("$name - $reason", $skip) }
            next;
        }
        my $mock = Test::Nginx::Runner::Mock::start($block);
        Test::Nginx::Runner::Server::user_files($block) if $round > 1;
        run_round($block, $round - 1);
        Test::Nginx::Runner::Check::mock($block, $mock);
        Test::Nginx::Runner::Mock::stop();
    }
}


# All requests of a block, once.
sub run_round ($$) {
    my ($block, $round) = @_;
    my $name = $block->name;
    my @requests = Test::Nginx::Runner::Client::requests($block);
    my $pipelined = $block->pipelined_requests;
    my $total = $pipelined ? @$pipelined : @requests;
    my $timeout = seconds($block->timeout) // $Option{timeout};
    my ($index, $rest) = (0, undef);

    for my $i (0 .. $total - 1) {
        my $response;

        if (!$pipelined || $i == 0) {
            $rest = Test::Nginx::Runner::Client::send($block, $requests[$i],
                                                      $timeout);
        }

        if (!defined $block->ignore_response) {
            ($response, my $head, $rest) =
                Test::Nginx::Runner::Client::parse($name, $rest);
            Test::Nginx::Runner::Check::response($block, $response, $head,
                { index => $i, many => $pipelined || $total > 1,
                  round => $round });
        }

        Time::HiRes::sleep($block->wait) if $block->wait;
        Test::Nginx::Runner::Check::error_log($block, $round);
    }
}


sub must_die ($) {
    my ($block) = @_;

    Test::Nginx::Runner::Check::log_rewind();
    for my $round (0 .. $RepeatEach - 1) {
        my $status = Test::Nginx::Runner::Server::execute();

        Test::Nginx::Runner::Check::must_die($block, $status);
        Test::Nginx::Runner::Check::error_log($block, $round);
        Test::Nginx::Runner::Server::stop() if $status == 0;
    }
}


# (how many tests to skip, why) when skip_eval or skip_nginx ask for it.
sub skip_asked ($) {
    my ($block) = @_;
    my $name = $block->name;

    if (defined $block->skip_eval) {
        my ($count, $code) = $block->skip_eval =~ /^\s*(\d+)\s*:\s*(.*)/s
            or bail_out("$name - bad skip_eval: " . $block->skip_eval);
        my $skip = eval $code;
        bail_out("$name - skip_eval failed: $@") if $@;
        return ($count, 'skip_eval') if $skip;
    }

    if (defined $block->skip_nginx) {
        my ($count, $op, $version, $reason) = $block->skip_nginx =~
            /^\s*(\d+)\s*:\s*([<>]=?)\s*(\d+\.\d+\.\d+)(?:\s*:\s*(.*?))?\s*$/
            or bail_out("$name - bad skip_nginx: " . $block->skip_nginx);
        my $order = Test::Nginx::Runner::Server::version()
            <=> version->parse("v$version");
        my %holds = ('<' => $order < 0, '<=' => $order <= 0,
                     '>' => $order > 0, '>=' => $order >= 0);
        return ($count, $reason || "nginx version $op $version")
            if $holds{$op};
    }

    return;
}


sub shutdown_checks () {
    my $block = $Previous or return;

    undef $Previous;
    Test::Nginx::Runner::Check::shutdown_log($block, $Option{hup});
}


# "200ms", "3s" or seconds.
sub seconds ($) {
    my ($text) = @_;

    return undef unless defined $text;
    return $1 / 1000 if $text =~ /^\s*([\d.]+)\s*ms\s*$/;
    return $1 if $text =~ /^\s*([\d.]+)\s*s?\s*$/;
    bail_out("bad time: $text");
}


END {
    # not in the children that Mock forks, nor with our own exit status
    if ($$ == $Test::Nginx::Runner::Server::Owner) {
        local $?;
        cleanup();
        Test::Nginx::Runner::Server::stop();
        shutdown_checks();
    }
}

1;
