# The inbox when Postgres is slow or refuses: a webhook that is refused fails
# no other, one that is late is answered in time, and a client that went away
# leaves nothing behind.

use Test::Nginx::Socket;
use Test::More;
use Coco;
use IO::Socket::INET;
use Worker qw(await);

no_shuffle();
no_long_string();
worker_connections(1024);

$ENV{TEST_NGINX_DRIVEU} = write_file('driveu.secret', 's3cret');

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(more_headers =>
        "X-DriveU-Token: s3cret\nContent-Type: application/json");
    $block->set_value(config => our $Storm);
    Coco::defaults($block);
});

# What a webhook's status asks for: a statement that takes 0.1 s, 3 s or ten
# minutes; a row that is refused by class 23, or by class 22.
sql("delete from coco.webhook_inbox where payload ->> 'uuid' like 's160%'");
sql(<<'END');
create or replace function coco.s160() returns trigger language plpgsql as $$
begin
    case new.payload ->> 'status'
        when 's160-slow' then perform pg_sleep(0.1);
        when 's160-long' then perform pg_sleep(3);
        when 's160-stuck' then perform pg_sleep(600);
        when 's160-null' then new.provider := null;
        when 's160-zero' then new.provider := (1 / 0)::text;
        else null;
    end case;
    return new;
end $$;
create or replace trigger s160 before insert on coco.webhook_inbox
    for each row when (new.payload ->> 'uuid' like 's160%')
    execute function coco.s160();
END

our $Us = now_ms() . '000';

sub hook {
    my ($uuid, $status) = @_;
    return qq({"eventName":"status","unit":"node","status":"$status",)
        . qq("uuid":"s160-$uuid","vin":"s160-a","time":$Us});
}

sub post {
    return "POST /driveu/webhook\n" . hook(@_);
}

# Sent by nginx itself, all at once: an SSI page's subrequests do not wait
# for each other.
my $body = hook('$arg_uuid', '$arg_status');
our $Storm = <<"END";
location /driveu/ {
    coco_state;
    coco_driveu_secret \$TEST_NGINX_DRIVEU;
}
location /storm { ssi on; default_type text/html; }
location /send/ {
    proxy_method POST;
    proxy_http_version 1.1;
    proxy_set_header X-DriveU-Token s3cret;
    proxy_set_header Content-Type application/json;
    proxy_set_body '$body';
    proxy_pass http://127.0.0.1:\$TEST_NGINX_CLIENT_PORT/driveu/webhook;
}
END

# Pages of (status, how many) pairs; the first holds the statements up.
sub page {
    my ($name, @of) = @_;
    my $page = '';
    while (my ($status, $count) = splice @of, 0, 2) {
        $page .= qq(<!--#include virtual="/send/?status=$status&uuid=)
            . qq($name-$status-$_" -->) for 1 .. $count;
    }
    return ">>> storm-$name\n$page";
}

# A client that asks for a page and goes away once its first webhook is being
# stored.
sub gone {
    my $begun = sql('select clock_timestamp()');
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $ENV{TEST_NGINX_CLIENT_PORT}) or die "connect: $!";
    print $socket "GET /storm-gone HTTP/1.1\r\nHost: x\r\n\r\n";
    $socket->flush;
    ok(await(sub { sql("select count(*) from pg_stat_activity"
        . " where wait_event = 'PgSleep' and query_start > '$begun'") }),
        'the first one is being stored');
    close $socket;
    return;
}

plan 'no_plan';
run_tests();

sub stored {
    return sql("select count(*), count(distinct xmin::text)"
        . " from coco.webhook_inbox where payload ->> 'uuid' like"
        . " 's160-$_[0]'");
}

like(stored('bad-%'), qr/^64\|/, 'those that came with refused ones');
is(stored('bad-s160-null%'), '0|0', 'and not the refused ones');
is(stored('bad-s160-zero%'), '0|0', 'of either class');
is(stored('stuck%'), '0|0', 'what was given up is not stored');
is(stored('after%'), '4|4', 'what came after it is');

# its client went away before the commit
await(sub { stored('gone-s160-long-1') eq '1|1' });
is(stored('gone-s160-long-1'), '1|1', 'what was under way is stored');

sql('set client_min_messages = warning; drop function coco.s160 cascade');

__DATA__

=== TEST 1: refused alone, whatever it is refused for
--- request eval
[main::post('bad', 's160-null'), main::post('bad', 's160-zero')]
--- error_code eval
[500, 500]
--- response_body_like eval
[(qr/"status":500,.*The database refused the statement/) x 2]



=== TEST 2: among others, who are stored
--- user_files eval
main::page(bad => 's160-slow' => 4, 'online' => 20, 's160-null' => 1,
    'online-too' => 20, 's160-zero' => 2, 'offline' => 20)
--- request
GET /storm-bad
--- response_body_like eval
my $id = qr/\{"id":"[^"]*"\}/;
my $no = qr/\{"type":"about:blank","title":"[^"]*","status":500,[^}]*\}/;
qr/^(?:$id){24}$no(?:$id){20}$no$no(?:$id){20}$/
--- timeout: 20



=== TEST 3: too late: 503 in time, and the next one is stored
--- http_config eval
Coco::http_config(coco_postgres_timeout => '2s')
--- request eval
[main::post('stuck', 's160-stuck'), main::post('after-1', 'online')]
--- error_code eval
[503, 202]
--- response_headers eval
["Retry-After: 1\nContent-Type: application/problem+json", '! Retry-After']
--- response_body_like eval
[qr/Postgres did not answer in time/, qr/"id"/]



=== TEST 4: too late while both statements are stuck
--- http_config eval
Coco::http_config(coco_postgres_timeout => '2s')
--- user_files eval: main::page(stuck => 's160-stuck' => 30)
--- request eval
['GET /storm-stuck', main::post('after-2', 'online')]
--- response_body_like eval
[qr/^(?:[^}]*"status":503,[^}]*in time[^}]*\}){30}$/, qr/"id"/]
--- error_code eval
[200, 202]
--- timeout: 20



=== TEST 5: clients that went away, while theirs is stored or waits
--- user_files eval: main::page(gone => 's160-long' => 1, 'online' => 200)
--- init
main::gone();
--- request eval
main::post('after-4', 'online')
--- error_code: 202



=== TEST 6: others are served after them
--- request eval: main::post('after-3', 'online')
--- error_code: 202
--- timeout: 20
