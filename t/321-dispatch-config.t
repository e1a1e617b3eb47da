# The directives of dispatch: what is no number, no place, no thread pool.

use Test::Nginx::Socket;
use Coco;

no_shuffle();
no_long_string();
add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(http_config => http_config() . $block->directive);
});
add_block_preprocessor(\&Coco::defaults);

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: coco_dispatch_speed 0
--- directive: coco_dispatch_speed 0;
--- must_die
--- error_log
"coco_dispatch_speed" must be a speed from 0.1 to 10 metres a second, not "0"
--- no_error_log
[alert]



=== TEST 2: coco_dispatch_speed fast
--- directive: coco_dispatch_speed fast;
--- must_die
--- error_log
"coco_dispatch_speed" must be
--- no_error_log
[alert]



=== TEST 3: coco_dispatch_speed inf
--- directive: coco_dispatch_speed inf;
--- must_die
--- error_log
"coco_dispatch_speed" must be
--- no_error_log
[alert]



=== TEST 4: coco_dispatch_speed 1e1
--- directive: coco_dispatch_speed 1e1;
--- must_die
--- error_log
"coco_dispatch_speed" must be
--- no_error_log
[alert]



=== TEST 5: coco_dispatch_speed 1.5m
--- directive: coco_dispatch_speed 1.5m;
--- must_die
--- error_log
"coco_dispatch_speed" must be
--- no_error_log
[alert]



=== TEST 6: coco_dispatch_speed 1; coco_dispatch_speed 2
--- directive: coco_dispatch_speed 1; coco_dispatch_speed 2;
--- must_die
--- error_log
"coco_dispatch_speed" directive is duplicate
--- no_error_log
[alert]



=== TEST 7: coco_dispatch_detour 0.99
--- directive: coco_dispatch_detour 0.99;
--- must_die
--- error_log
"coco_dispatch_detour" must be a factor from 1 to 10
--- no_error_log
[alert]



=== TEST 8: coco_dispatch_dwell x
--- directive: coco_dispatch_dwell x;
--- must_die
--- error_log
"coco_dispatch_dwell" directive invalid value
--- no_error_log
[alert]



=== TEST 9: coco_dispatch_energy 101
--- directive: coco_dispatch_energy 101;
--- must_die
--- error_log
"coco_dispatch_energy" must be a number from 0 to 100 percent
--- no_error_log
[alert]



=== TEST 10: coco_dispatch_idle -1
--- directive: coco_dispatch_idle -1;
--- must_die
--- error_log
"coco_dispatch_idle" must be
--- no_error_log
[alert]



=== TEST 11: coco_dispatch_reserve ""
--- directive: coco_dispatch_reserve "";
--- must_die
--- error_log
"coco_dispatch_reserve" must be
--- no_error_log
[alert]



=== TEST 12: coco_dispatch_reach -1
--- directive: coco_dispatch_reach -1;
--- must_die
--- error_log
"coco_dispatch_reach" directive invalid number
--- no_error_log
[alert]



=== TEST 13: coco_dispatch_area 1,1 2,2
--- directive: coco_dispatch_area 1,1 2,2;
--- must_die
--- error_log
"coco_dispatch_area" directive needs at least three corners
--- no_error_log
[alert]



=== TEST 14: coco_dispatch_area 1,1 2,2 3
--- directive: coco_dispatch_area 1,1 2,2 3;
--- must_die
--- error_log
"coco_dispatch_area": "3" is no place
--- no_error_log
[alert]



=== TEST 15: coco_dispatch_area 1,1 2,2 91,1
--- directive: coco_dispatch_area 1,1 2,2 91,1;
--- must_die
--- error_log
"coco_dispatch_area": "91,1" is no place
--- no_error_log
[alert]



=== TEST 16: coco_dispatch_area 1,1 2,2 1,181
--- directive: coco_dispatch_area 1,1 2,2 1,181;
--- must_die
--- error_log
"coco_dispatch_area": "1,181" is no place
--- no_error_log
[alert]



=== TEST 17: coco_dispatch_area 1,1 2,2 1,1,1
--- directive: coco_dispatch_area 1,1 2,2 1,1,1;
--- must_die
--- error_log
"coco_dispatch_area": "1,1,1" is no place
--- no_error_log
[alert]



=== TEST 18: coco_dispatch_area 1,-170 2,170 1,1
--- directive: coco_dispatch_area 1,-170 2,170 1,1;
--- must_die
--- error_log
"coco_dispatch_area" directive must not be over 180 degrees wide
--- no_error_log
[alert]



=== TEST 19: coco_dispatch_area off; coco_dispatch_area 1,1 2,2 3,1
--- directive: coco_dispatch_area off; coco_dispatch_area 1,1 2,2 3,1;
--- must_die
--- error_log
"coco_dispatch_area" directive is duplicate
--- no_error_log
[alert]



=== TEST 20: coco_dispatch_charger here
--- directive: coco_dispatch_charger here;
--- must_die
--- error_log
"coco_dispatch_charger": "here" is no place
--- no_error_log
[alert]



=== TEST 21: coco_dispatch_charger "1, 2"
--- directive: coco_dispatch_charger "1, 2";
--- must_die
--- error_log
"coco_dispatch_charger": "1, 2" is no place
--- no_error_log
[alert]



=== TEST 22: coco_quote_lifetime 0
--- directive: coco_quote_lifetime 0;
--- must_die
--- error_log
"coco_quote_lifetime" must not be 0
--- no_error_log
[alert]



=== TEST 23: coco_plan_threads nobodys
--- directive: coco_plan_threads nobodys;
--- must_die
--- error_log
unknown thread pool "nobodys"
--- no_error_log
[alert]
