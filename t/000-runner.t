# The runner itself: each section that the suites use does what the format
# says. Needs nothing of ours in nginx. What must fail is in
# tests/house/test_runner.py.

use Test::Nginx::Socket;

no_shuffle();
no_long_string();
repeat_each(2);

$ENV{TEST_NGINX_MOCK_PORT} = $ENV{TEST_NGINX_CLOSED_PORT} || 1985;

# 42 of the blocks that run, 3 of the one that is skipped, each twice
plan tests => repeat_each() * (42 + 3);

run_tests();

__DATA__

=== TEST 1: status, body, headers, error log
--- config
    location /a {
        add_header X-One 1;
        return 200 "hello\n";
    }
--- request
GET /a
--- response_body
hello
--- response_headers
X-One: 1
! X-Two
--- no_error_log
[alert]
[error]



=== TEST 2: error_code, response_body_like and a missing file in the log
--- config
    location /a { root html; }
--- request
GET /a/missing
--- error_code: 404
--- response_body_like: 404 Not Found
--- error_log eval
qr/open\(\) .*missing" failed/



=== TEST 3: several requests, one connection each
--- config
    location /a { return 200 "a $request_method\n"; }
    location /b { return 201 "b\n"; }
--- request eval
["GET /a", "POST /b", "DELETE /a"]
--- error_code eval
[200, 201, 200]
--- response_body eval
["a GET\n", "b\n", "a DELETE\n"]



=== TEST 4: more_headers, and a body that a proxied location sees
--- config
    location /a {
        proxy_set_header X-Seen $http_x_in;
        proxy_pass http://127.0.0.1:$TEST_NGINX_CLIENT_PORT/b;
    }
    location /b {
        client_body_in_single_buffer on;
        return 200 "$http_x_seen $content_length\n";
    }
--- more_headers
X-In: yes
--- request
POST /a
12345
--- response_body
yes 5



=== TEST 5: pipelined requests
--- config
    location /a { return 200 "a\n"; }
    location /b { return 200 "bb\n"; }
--- pipelined_requests eval
["GET /a", "GET /b", "GET /a"]
--- response_body eval
["a\n", "bb\n", "a\n"]



=== TEST 6: raw_request
--- config
    location /a { return 200 "$http_x\n"; }
--- raw_request eval
"GET /a HTTP/1.0\r\nX: raw\r\nConnection: close\r\n\r\n"
--- response_body
raw
--- raw_response_headers_like: Content-Length: 4
--- raw_response_headers_unlike: X-Nothing



=== TEST 7: user_files, and a chunked answer
--- config
    location /f.txt {
        ssi on;
        ssi_types text/plain;
    }
--- user_files
>>> f.txt
from <!--#echo var="request_method" --> a file
--- request
GET /f.txt
--- response_body
from GET a file
--- raw_response_headers_like: Transfer-Encoding: chunked



=== TEST 8: bad configuration dies and says why
--- config
    no_such_directive;
--- must_die
--- error_log
unknown directive "no_such_directive"



=== TEST 9: a mocked server, its query and its answer
--- config
    location /a {
        proxy_http_version 1.1;
        proxy_set_header Host x;
        proxy_pass http://127.0.0.1:$TEST_NGINX_MOCK_PORT/m;
    }
--- tcp_listen: $TEST_NGINX_MOCK_PORT
--- tcp_reply eval
"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nmock\n"
--- tcp_query eval
"GET /m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
--- request
GET /a
--- response_body
mock



=== TEST 10: abort: a client that goes away is no failure
--- config
    location /a {
        proxy_pass http://127.0.0.1:$TEST_NGINX_MOCK_PORT/;
    }
--- tcp_listen: $TEST_NGINX_MOCK_PORT
--- tcp_no_close
--- tcp_reply:
--- request
GET /a
--- timeout: 200ms
--- abort
--- ignore_response
--- no_error_log
[alert]



=== TEST 11: grep_error_log counts what it finds
--- config
    location /a { root html; }
--- request
GET /a/x
--- error_code_like: ^4\d\d$
--- grep_error_log eval
qr/failed \(2: [\w ]+\)/
--- grep_error_log_out
failed (2: No such file or directory)
--- response_body_unlike: It works



=== TEST 12: skipped
--- config
--- request
GET /
--- skip_nginx: 3: > 1.0.0
--- error_code: 599



=== TEST 13: no config section: the block before goes on
--- request
GET /a/y
--- error_code: 404



=== TEST 14: a request in parts, with a pause
--- config
    location /a { return 200 "$content_length\n"; }
--- request eval
[["POST /a\nab", {value => "cd", delay_before => 0.05}]]
--- response_body eval
["4\n"]



=== TEST 15: not run
--- SKIP
--- config
--- request
GET /
--- error_code: 599
