package Test::Nginx::Runner::Server;

# The nginx under test: its folder, its configuration, its start, reload and
# end. Never signals a process other than the one it started.

use strict;
use warnings;

use File::Path ();
use File::Spec ();
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep time);

our $Owner = $$;
our $Root = $ENV{TEST_NGINX_SERVROOT} || File::Spec->rel2abs('t/servroot');
our $Binary = $ENV{TEST_NGINX_BINARY} || 'nginx';
our $ErrorLog = "$Root/logs/error.log";

our %Option = (
    workers            => 1,
    worker_connections => 64,
    log_level          => $ENV{TEST_NGINX_LOG_LEVEL} || 'debug',
    master             => $ENV{TEST_NGINX_MASTER_PROCESS} || 'off',
    hup                => $ENV{TEST_NGINX_USE_HUP},
    valgrind           => $ENV{TEST_NGINX_USE_VALGRIND},
    address            => '127.0.0.1',
    name               => 'localhost',
    port               => $ENV{TEST_NGINX_SERVER_PORT}
                          || $ENV{TEST_NGINX_PORT} || 1984,
    timeout            => $ENV{TEST_NGINX_TIMEOUT} || 3,
    root_location      => 1,
    preamble           => '',
    env                => [],
);
$Option{client_port} = $ENV{TEST_NGINX_CLIENT_PORT} || $Option{port};
$ENV{TEST_NGINX_SERVER_ROOT} = $Root;

my $pid;        # nginx, once it has written its pid file
my $child;      # nginx under valgrind is a child of ours, and no daemon


sub bail {
    Test::More::BAIL_OUT(join '', @_);
}


# One section's value, undef without it; a plain call would give nothing at
# all in a list.
sub section {
    my ($block, $name) = @_;

    return scalar $block->$name;
}


# Replaces $TEST_NGINX_NAME by the environment's value.
sub expand {
    my ($text, $name) = @_;

    return undef unless defined $text;
    $text =~ s/\$(TEST_NGINX_[_A-Z0-9]+)/
        $ENV{$1} \/\/ bail("$name - no environment variable $1")/eg;
    return $text;
}


sub version {
    my ($text) = `'$Binary' -V 2>&1` =~ m{nginx/(\d+\.\d+\.\d+)}
        or bail("$Binary -V tells no version");
    return version->parse("v$text");
}


# --- the folder and the configuration ---------------------------------------

sub prepare {
    my ($block) = @_;

    # Only what we made: the variable may point at somebody's data.
    for my $made (qw(conf html)) {
        File::Path::remove_tree("$Root/$made");
    }
    File::Path::make_path(map "$Root/$_", qw(conf html logs));

    # nginx appends, so that a log may be cut while it is open (reload).
    for my $log (glob("'$Root'/logs/*.log"), $ErrorLog) {
        open my $file, '>', $log or bail("$log: $!");
    }

    write_file("$Root/html/index.html", '<html><head><title>It works!</title>'
        . '</head><body>It works!</body></html>');
    user_files($block);
    write_file("$Root/conf/nginx.conf", configuration($block));
}


sub write_file {
    my ($path, $text) = @_;

    open my $file, '>:raw', $path or bail("$path: $!");
    print $file $text;
    close $file or bail("$path: $!");
}


# ">>> name [date]" begins a file; an array holds [name, body, date].
sub user_files {
    my ($block) = @_;
    my $files = $block->user_files;

    return unless $files;
    if (!ref $files) {
        my @found;
        for my $line (split /^/m, $files) {
            if ($line =~ /^>>> (\S+)(?:\s+(.+))?/) {
                push @found, [$1, '', $2];
            } elsif (@found) {
                $found[-1][1] .= $line;
            }
        }
        $files = \@found;
    }

    for my $file (@$files) {
        my ($name, $body, $date) = @$file;
        my $path = $name =~ m{^/} ? $name : "$Root/html/$name";

        File::Path::make_path($path =~ m{(.*)/});
        write_file($path, expand($body // '', $block->name));
        system('env', 'TZ=GMT', 'touch', '-t', $date, $path) if $date;
    }
}


sub configuration {
    my ($block) = @_;
    my $name = $block->name;
    my ($config, $http, $main, $late) = map {
        scalar expand(section($block, $_), $name) // ''
    } qw(config http_config main_config post_main_config);
    my $modules = join '', map "load_module $_;\n",
        split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    my $master = $Option{hup} ? 'on' : $Option{master};
    my $daemon = $Option{valgrind} ? 'off' : 'on';
    my $env = join '', map { /\s/ ? "env '$_';\n" : "env $_;\n" }
        @{ $Option{env} }, 'ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LD_PRELOAD';
    my $user = $> == 0 ? "user root;\n" : '';
    my $temp = join ' ', map {
        $http =~ /\b${_}_temp_path\b/ ? () : "${_}_temp_path $Root/${_}_temp;"
    } qw(client_body proxy fastcgi scgi uwsgi);
    my $server = $block->server_name // $Option{name};
    my $root = $Option{root_location}
        ? "location / { root $Root/html; index index.html index.htm; }" : '';
    my $log = expand(section($block, 'error_log_file'), $name) || $ErrorLog;

    return <<"END";
worker_processes $Option{workers};
daemon $daemon;
master_process $master;
error_log $log $Option{log_level};
pid $Root/logs/nginx.pid;
$user$env$modules$main
http {
    access_log $Root/logs/access.log;
    $temp
    default_type text/plain;
    keepalive_timeout 68000ms;
$http
    server {
        listen $Option{port};
        server_name '$server';
        client_max_body_size 30M;
$Option{preamble}
$config
        $root
    }
}
$late
events {
    accept_mutex off;
    worker_connections $Option{worker_connections};
}
END
}


# --- its life ---------------------------------------------------------------

sub start {
    my ($block) = @_;

    if ($Option{hup} && defined $pid && running($pid)) {
        return reload($block);
    }

    stop();
    prepare($block);
    if ($Option{valgrind}) {
        start_valgrind();
        pid_await();
    } elsif (execute() != 0) {
        bail($block->name, ' - nginx did not start: ', log_end());
    }
}


# The command line in the foreground; its wait status. 0: it runs.
sub execute {
    my $status = system("'$Binary' -e '$ErrorLog' -p '$Root/' "
                        . "-c '$Root/conf/nginx.conf' >/dev/null");

    pid_await() if $status == 0;
    return $status;
}


sub pid_await {
    wait_until(20, sub { defined($pid = pid_read()) })
        or bail('nginx wrote no pid file: ', log_end());
}


sub start_valgrind {
    my @options = $Option{valgrind} =~ /^\d+$/
        ? qw(--leak-check=full --show-possibly-lost=no --num-callers=50)
        : split ' ', $Option{valgrind};

    $child = fork() // bail("fork: $!");
    return if $child;
    exec 'valgrind', '-q', @options, $Binary, '-e', $ErrorLog, '-p', "$Root/",
        '-c', "$Root/conf/nginx.conf" or POSIX::_exit(127);
}


# Returns when no worker of the old configuration is left, so that a request
# cannot reach one, and what it logs at its exit is this block's to check.
sub reload {
    my ($block) = @_;
    my %old = map { $_ => 1 } workers();

    prepare($block);
    kill HUP => $pid or bail("reload: $!");
    wait_until(20, sub {
        my @now = workers();
        return 1 if !running($pid) || log_end() =~ /\[emerg\]/;
        return @now == $Option{workers} && !grep $old{$_}, @now;
    }) or Test::More::fail($block->name . ' - old workers did not exit: '
                           . log_end());
    if (!running($pid)) {
        kill KILL => grep running($_), keys %old;   # they would stay
        bail($block->name, ' - nginx died of the reload: ', log_end());
    }
    bail($block->name, ' - the reload failed: ', log_end())
        if log_end() =~ /\[emerg\]/ && !defined $block->reload_fails;
}


sub workers {
    open my $file, '<', "/proc/$pid/task/$pid/children" or return;
    return grep running($_), split ' ', <$file> // '';
}


# Gracefully first: what leaks a connection says so in the log then.
sub stop {
    return unless defined $pid;

    if (running($pid)) {
        kill(($ENV{TEST_NGINX_FAST_SHUTDOWN} ? 'TERM' : 'QUIT') => $pid);
        if (!wait_until($Option{timeout} + 2, sub { !running($pid) })) {
            warn "nginx $pid did not exit, killed\n";
            kill KILL => workers(), $pid;
            wait_until(5, sub { !running($pid) });
        }
    }
    unlink "$Root/logs/nginx.pid";
    undef $pid;
    undef $child;
}


sub pid_read {
    open my $file, '<', "$Root/logs/nginx.pid" or return undef;
    my ($read) = (<$file> // '') =~ /^(\d+)/;
    return $read;
}


# A zombie does not run: in a container nobody may be there to reap it.
sub running {
    my ($it) = @_;

    waitpid $child, POSIX::WNOHANG() if defined $child;
    return state_of($it) !~ /[ZX]/;
}


# As /proc says: S waits for something; X is gone.
sub state_of {
    my ($it) = @_;

    open my $file, '<', "/proc/$it/stat" or return 'X';
    return (<$file> // '') =~ /\) (\S)/ ? $1 : 'X';
}


# No worker is at work: what a request that was answered made it log is there.
sub idle {
    return !defined $pid || !grep state_of($_) ne 'S', workers();
}


sub wait_until {
    my ($seconds, $check) = @_;
    my $until = time + $seconds;

    while (!$check->()) {
        return 0 if time > $until;
        sleep 0.005;
    }
    return 1;
}


sub log_end {
    open my $file, '<', $ErrorLog or return "no $ErrorLog";
    my @lines = grep !/\[debug\]/, <$file>;
    return join '', @lines > 10 ? @lines[-10 .. -1] : @lines;
}

1;
