# GET /dead-letters and their replay: payloads of any bytes, pages, ids that
# are none, and a repeat under an Idempotency-Key.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(\&Coco::defaults);

# newer than whatever else is set aside meanwhile
our $At = now_ms() + 1000_000;
our @Id = map { sprintf '14000000-0000-8000-8000-00000000000%d', $_ } 0 .. 3;

sql("delete from coco.dead_letter where id::text like '14000000%'");
our @payloads = ('7b7d', '00ff', '', 'c3a42265');
for my $i (0 .. 3) {
    sql("insert into coco.dead_letter (id, source, service, topic, field,"
        . " reason, payload, received_at) values ('$Id[$i]', 'mqtt',"
        . " 'decoder', 'robot/s140/status', " . ($i ? "'ts'" : 'null')
        . ", 'missing \"ts\"', '\\x$payloads[$i]',"
        . " coco.from_ms($At + $i))");
}

our @Payload = ('"{}","payloadEncoding":"utf-8"',
    '"AP8=","payloadEncoding":"base64"', '"","payloadEncoding":"utf-8"',
    qq("\xc3\xa4\\"e","payloadEncoding":"utf-8"));

sub item {
    my ($i) = @_;
    return qq({"id":"$Id[$i]","source":"mqtt","service":"decoder",)
        . qq("topic":"robot/s140/status","field":)
        . ($i ? '"ts"' : 'null') . qq(,"reason":"missing \\"ts\\"",)
        . qq("payload":$Payload[$i],"payloadBytes":)
        . length($payloads[$i]) / 2 . qq(,"receivedAt":) . ($At + $i)
        . qq(,"replayedAt":null,"replayOutcome":null});
}

sub page {
    my ($last, @items) = @_;
    return '{"items":[' . join(',', map { item($_) } @items)
        . '],"nextCursor":"' . cursor($At + $last, $Id[$last]) . '"}';
}

sql("insert into coco.dead_letter (id, source, service, topic, reason,"
    . " payload, received_at) values"
    . " ('14000000-0000-8000-8000-0000000000ff', 'mqtt', 'decoder', 't', 'r',"
    . " '', now() - interval '9 years')");

plan 'no_plan';
run_tests();

is(sql("select response::jsonb ->> 'replayedAt' = coco.to_ms(replayed_at)"
    . "::text from coco.idempotency_key, coco.dead_letter"
    . " where key = 's140-$At' and id = '$Id[2]'"), 't',
    'one key, one replay');
sql("delete from coco.dead_letter where id::text like '14000000%'");

__DATA__

=== TEST 1: newest first, as text or in base64
--- request
GET /dead-letters?limit=4
--- response_body eval
main::page(0, 3, 2, 1, 0)



=== TEST 2: page by page
--- request eval
['GET /dead-letters?limit=2',
 'GET /dead-letters?limit=2&cursor=' . Coco::cursor($::At + 2, $::Id[2])]
--- response_body eval
[main::page(2, 3, 2), main::page(0, 1, 0)]
--- error_code eval
[200, 200]



=== TEST 3: bad arguments
--- request eval
['GET /dead-letters?limit=0', 'GET /dead-letters?cursor=x']
--- error_code eval
[400, 400]
--- response_body_like eval
[qr/"field":"limit"/, qr/"field":"cursor"/]



=== TEST 4: a replay is asked for
--- request eval
"POST /dead-letters/$::Id[0]/replay"
--- error_code: 202
--- response_body_like eval
qr/^\{"id":"$::Id[0]","replayedAt":\d{13}\}$/



=== TEST 5: and shows
--- request
GET /dead-letters?limit=4
--- response_body_like eval
qr/"$::Id[0]".*"replayedAt":\d{13},"replayOutcome":(null|"REFUSED")\}/



=== TEST 6: a body is allowed, if it is JSON's media type
--- more_headers eval
[Coco::bearer() . "\nContent-Type: application/json",
 Coco::bearer() . "\nContent-Type: text/plain"]
--- request eval
[("POST /dead-letters/$::Id[1]/replay\n{}") x 2]
--- error_code eval
[202, 415]



=== TEST 7: ids that are none
--- request eval
['POST /dead-letters/14000000-0000-8000-8000-0000000000fe/replay',
 'POST /dead-letters/x/replay', 'POST /dead-letters/%00/replay',
 'POST /dead-letters//replay']
--- error_code eval
[404, 404, 400, 404]



=== TEST 8: methods that are none
--- request eval
["GET /dead-letters/$::Id[0]/replay", "POST /dead-letters\n{}"]
--- error_code eval
[405, 405]
--- response_headers eval
['Allow: POST', 'Allow: GET, HEAD']



=== TEST 9: under a key the first answer is given again
--- more_headers eval
[(Coco::bearer() . "\nIdempotency-Key: s140-$::At") x 2]
--- request eval
[("POST /dead-letters/$::Id[2]/replay") x 2]
--- error_code eval
[202, 202]
--- response_body_like eval
[(qr/^\{"id":"$::Id[2]","replayedAt":\d{13}\}$/) x 2]



=== TEST 10: without Postgres
--- http_config eval: Coco::down('postgres')
--- request eval
['GET /dead-letters', "POST /dead-letters/$::Id[0]/replay"]
--- error_code eval
[503, 503]
