package TwoWorkers;

# perl -MTwoWorkers t/x.t: a master with two workers, whatever runner is used,
# unless the suite itself says otherwise. With TEST_NGINX_USE_HUP it is reloaded
# between blocks.

use Test::Nginx::Socket ();

Test::Nginx::Socket::master_on();
Test::Nginx::Socket::workers(2);

1;
