package Coco;

# What the suites of the modules share: rows and keys put in before a block
# is run, tokens signed by keys made at run time, and the blocks' defaults.
# Each suite uses serials of its own, so that suites do not collide.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use File::Temp qw(tempdir);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);
use Time::HiRes;

use Exporter 'import';
our @EXPORT = qw(sql redis token bearer sign now_ms cursor robot heartbeat
    driveu supply http_config locations defaults write_file pem_sign);

my $dir = tempdir('coco-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $secret = join '', map { chr 33 + rand 94 } 1 .. 47;

# a last newline belongs to the key: the raw bytes count
$secret .= "\n";

# Under valgrind all takes longer, also until a heartbeat counts as old.
my $slow = $ENV{TEST_NGINX_USE_VALGRIND};

# s, how long nginx may be silent: not the runner's 3, which a busy machine
# can take. Blocks whose silence is the question say a time of their own.
Test::Nginx::Socket::timeout(20)
    if defined &Test::Nginx::Socket::timeout && !$ENV{TEST_NGINX_TIMEOUT};

# how long a robot counts as heard, ms: the directive's default, if not slow
our $Window = $slow ? 1200_000 : 60_000;

# what a configuration names as $TEST_NGINX_...
$ENV{TEST_NGINX_COCO_KEY} = write_file('hs256.key', $secret);

for my $kind (
    ['RS256', 'RSA -pkeyopt rsa_keygen_bits:2048'],
    ['ES256', 'EC -pkeyopt ec_paramgen_curve:P-256'],
) {
    my ($alg, $how) = @$kind;
    my $private = "$dir/$alg.pem";
    $ENV{"TEST_NGINX_COCO_$alg"} = "$dir/$alg.pub";
    system("openssl genpkey -algorithm $how -out $private 2>$dir/openssl.log"
        . " && openssl pkey -in $private -pubout -out $dir/$alg.pub") == 0
        or die "openssl cannot make a key for $alg";
}


sub write_file {
    my ($name, $bytes) = @_;
    my $path = "$dir/$name";
    open my $file, '>:raw', $path or die "$path: $!";
    print $file $bytes;
    close $file or die "$path: $!";
    return $path;
}


sub now_ms {
    return int(Time::HiRes::time() * 1000);
}


# Runs statements, returns what they select: columns by |, rows by newline.
sub sql {
    my ($text) = @_;
    my $path = write_file('fixture.sql', $text);
    my $out = `psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 \\
        -p $ENV{TEST_NGINX_POSTGRES_PORT} -U coco -d coco -f $path`;
    die "psql failed on: $text" if $?;
    chomp $out;
    return $out;
}


sub redis {
    my (@command) = @_;
    open my $pipe, '-|', 'redis-cli', '-h', '127.0.0.1', '-p',
        $ENV{TEST_NGINX_REDIS_PORT}, @command or die "redis-cli: $!";
    my $out = do { local $/; <$pipe> };
    close $pipe or die "redis-cli failed on: @command";
    chomp $out;
    return $out;
}


# One heartbeat as the worker would have written it; further members by name:
# state, ts (ms), received, details (JSON text), operation (null: no business
# state), flags (column => SQL), copies (1: in Redis too).
sub robot {
    my ($serial, %is) = @_;
    my $ts = $is{ts} // now_ms();
    my $received = $is{received} // $ts;
    my $state = $is{state} // 'PARKED';
    my $details = $is{details} // heartbeat();
    my $operation = exists $is{operation} ? $is{operation} : $state;
    my %flags = %{ $is{flags} // {} };
    my $sql = <<"END";
insert into coco.robot_state (serial, id, state, ts, received_at, order_ts,
                              details)
values ('$serial', gen_random_uuid(), '$state', coco.from_ms($ts),
        coco.from_ms($received), least(coco.from_ms($ts),
        coco.from_ms($received)), '$details')
on conflict (serial) do update
   set id = excluded.id, state = excluded.state, ts = excluded.ts,
       received_at = excluded.received_at, order_ts = excluded.order_ts,
       details = excluded.details;
delete from coco.robot_operation where serial = '$serial';
END

    if (defined $operation) {
        my $names = join '', map { ", $_" } sort keys %flags;
        my $values = join '', map { ", $flags{$_}" } sort keys %flags;
        $sql .= <<"END";
insert into coco.robot_operation (serial, operation_state, changed_at$names)
values ('$serial', '$operation', coco.from_ms($ts)$values);
END
    }

    sql($sql);
    redis('DEL', "robot.heartbeat.cache.$serial", "robot.ephemeral.$serial");
    return unless $is{copies};

    my $head = qq({"serial":"$serial","id":"11111111-1111-8111-8111-)
        . qq(111111111111","ts":$ts,"receivedAt":$received,);
    my $rest = substr $details, 1;
    redis('SET', "robot.heartbeat.cache.$serial",
        qq($head"operationState":"$state",$rest), 'PX', 2 * $Window);
    redis('SET', "robot.ephemeral.$serial", $head
        . qq("healthy":true,"components":null,"lid":{"open":true},)
        . qq("remotelyControllable":true,"driveu":{"streamer":"online"}}),
        'PX', 2 * $Window);
    return;
}


# One robot of the supply, at a place; further members of LegacyRobot by name
# (JSON text), columns in `row` (SQL), and when it was heard in `ts` (ms).
sub supply {
    my ($serial, $latitude, $longitude, %is) = @_;
    my $ts = delete $is{ts} // now_ms();
    my %row = (telemetry_id => 'gen_random_uuid()',
        (map { $_ => "coco.from_ms($ts)" } qw(telemetry_ts telemetry_order_ts
            business_changed_at)), %{ delete $is{row} // {} });
    my %data = ((map { $_ => 'null' } qw(deployed activeDemand needsMovement
            hasFood tripType needsMaintenance needsPickup driveable
            attemptCancellationReason undergoingMaintenance)),
        serial => qq("$serial"), status => '"ONLINE"', battery => 80,
        lastSynced => $ts, healthy => 'true', futureDemand => '[]',
        operationState => '"PARKED"', location =>
        qq({"latitude":$latitude,"longitude":$longitude}), %is);
    my $data = join ',', map { qq("$_":$data{$_}) } sort keys %data;
    my @names = sort keys %row;
    sql("delete from coco.resource where id = '$serial';"
        . "insert into coco.resource (" . join(', ', 'id', 'data', @names)
        . ") values (" . join(', ', "'$serial'", "'{$data}'",
            map { $row{$_} } @names) . ')');
    return;
}


# The statuses of a robot's teleoperation, unit => status, all at `ts` (ms);
# units that are not named have none.
sub driveu {
    my ($serial, $ts, %statuses) = @_;
    sql(join "\n", "delete from coco.driveu_status where serial = '$serial';",
        map { <<"END" } sort keys %statuses);
insert into coco.driveu_status (serial, unit, status, uuid, time, received_at,
                                order_time, id)
select '$serial', '$_', '$statuses{$_}', 'u-$_', at, at, at,
       gen_random_uuid() from coco.from_ms($ts) at;
END
    return;
}


# What driveu() put in, as the API shows it.
sub driveu_json {
    my ($ts, @statuses) = @_;
    my @members;
    while (my ($unit, $status) = splice @statuses, 0, 2) {
        push @members, qq("$unit":{"status":"$status","ts":$ts,)
            . qq("uuid":"u-$unit"});
    }
    return '{' . join(',', @members) . '}';
}


# The details of a heartbeat.
sub heartbeat {
    my (%is) = @_;
    my $percent = $is{percent} // 80;
    my $latitude = $is{latitude} // 37.77;
    my $longitude = $is{longitude} // -122.41;
    my $healthy = exists $is{healthy} ? $is{healthy} : 'true';
    return '{' . (defined $healthy ? qq("healthy":$healthy,) : '')
        . qq("battery":{"percent":$percent},"location":{"latitude":)
        . qq($latitude,"longitude":$longitude})
        . ($is{rest} // ',"components":{"motor":"OK"}') . '}';
}


# A token; claims override the good ones, undef takes one out.
sub token {
    my (%claims) = @_;
    my %header = (alg => 'HS256', typ => 'JWT',
        %{ delete $claims{header} // {} });
    my $key = delete $claims{key} // $secret;
    my %all = (iss => 'coco', aud => 'coco', sub => 'suite',
        exp => time + 3600, scope => 'state:read robots:read robots:write'
        . ' deliveries:read deliveries:write fleet:read dispatch:read'
        . ' dispatch:write admin', %claims);
    delete $all{$_} for grep { !defined $all{$_} } keys %all;
    return sign(\%header, \%all, $key);
}


sub sign {
    my ($header, $claims, $key) = @_;
    my $json = JSON::PP->new->canonical;
    my $text = join '.', map { encode_base64url($json->encode($_)) }
        $header, $claims;
    return "$text." if $header->{alg} eq 'none';
    my $signature = $header->{alg} =~ /^[RE]S/
        ? pem_sign($header->{alg}, $text) : hmac_sha256($text, $key);
    return "$text." . encode_base64url($signature);
}


sub pem_sign {
    my ($alg, $text) = @_;
    my $path = write_file('signed.txt', $text);
    my $signature = `openssl dgst -sha256 -sign $dir/$alg.pem $path`;
    die "openssl cannot sign" if $?;
    return $signature if $alg eq 'RS256';

    # JWS wants the two numbers as they are, openssl gives them in DER
    my (undef, undef, undef, $r_len) = unpack 'C4', $signature;
    my $r = substr $signature, 4, $r_len;
    my $s = substr $signature, 6 + $r_len;
    return join '', map { s/^\0+//r =~ s/^(.*)$/"\0" x (32 - length $1)
        . $1/ers } $r, $s;
}


# The line of a request's headers.
sub bearer {
    return 'Authorization: Bearer ' . token(@_);
}


sub cursor {
    my ($ms, $key) = @_;
    return encode_base64url("$ms:$key");
}


# http_config; members override a directive's arguments, undef drops it. The
# backends are given more time than by default, so that a busy machine is not
# taken for one that has lost them.
sub http_config {
    my (%is) = @_;
    my $redis = "127.0.0.1:$ENV{TEST_NGINX_REDIS_PORT}";
    my $postgres = "host=127.0.0.1 port=$ENV{TEST_NGINX_POSTGRES_PORT}"
        . " user=coco dbname=coco";
    my %all = (coco_redis => $redis, coco_postgres => qq("$postgres"),
        coco_auth_key => $ENV{TEST_NGINX_COCO_KEY},
        coco_redis_timeout => '10s', coco_postgres_timeout => '10s',
        $slow ? (coco_online_window => "${Window}ms",
            coco_heartbeat_ttl => 2 * $Window . 'ms') : (), %is);
    return join '', map { "$_ $all{$_};\n" }
        grep { defined $all{$_} } sort keys %all;
}


# http_config with backends that nobody listens for.
sub down {
    my (@backends) = @_;
    my $port = $ENV{TEST_NGINX_CLOSED_PORT};
    my %address = (redis => "127.0.0.1:$port",
        postgres => qq("host=127.0.0.1 port=$port user=coco dbname=coco"));
    return http_config(map { ("coco_$_" => $address{$_}) } @backends);
}


sub locations {
    return <<'END';
location /state { coco_state; }
location /dead-letters { coco_state; }
location /robots { coco_ops; }
location /deliveries { coco_ops; }
location /anomalies { coco_ops; }
location /fleet { coco_dispatch; }
location /quote { coco_dispatch; }
location /plan { coco_dispatch; }
location /supply { coco_dispatch; }
location /demands { coco_dispatch; }
END
}


# To be given to add_block_preprocessor: what a block does not say.
sub defaults {
    my ($block) = @_;
    $block->set_value(http_config => http_config())
        unless defined $block->http_config;
    $block->set_value(config => locations()) unless defined $block->config;
    $block->set_value(more_headers => bearer())
        unless defined $block->more_headers || defined $block->raw_request;
    $block->set_value(no_error_log => '[alert]')
        unless defined $block->no_error_log;
    return;
}

1;
