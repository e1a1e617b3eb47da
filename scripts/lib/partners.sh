# The stack's partners: simulators of Uber and DoorDash, or whoever is named to
# play them. Sourced by scripts/stack with $root, $run and the ports.

# Who we are to them; conf/coco.conf says the same.
uber_client_id=coco-stack
doordash_developer_id=coco-stack
doordash_key_id=coco-stack-1


partners_check() {
    local name

    [[ ${COCO_PARTNERS:-0} =~ ^[01]$ ]] ||
        die "COCO_PARTNERS is 1 for the partners' simulators, or 0," \
            "not \"$COCO_PARTNERS\""
    for name in COCO_UBER_URL COCO_DOORDASH_URL COCO_DRIVEU_URL; do
        [[ ${!name-} =~ ^(https?://[][A-Za-z0-9.:-]+(/[^[:space:]\"\;{}]*)?)?$ ]] ||
            die "$name is where that partner is, like http://127.0.0.1:9000," \
                "not \"${!name}\""
    done
}


# partner_url UBER|DOORDASH: where it is, without a slash at the end; fails
# when there is none.
partner_url() {
    local name=COCO_$1_URL url

    url=${!name-}
    [[ -n $url ]] || ! wanted partners || url=http://127.0.0.1:$partners_port
    [[ -n $url ]] && echo "${url%/}"
}


# Without an address nothing is told to a partner, and its pushes are skipped.
worker_own_partners() {
    local url

    if url=$(partner_url UBER); then
        echo "uber.base_url=$url"
        echo "uber.oauth_url=$url/oauth/v2/token"
        echo "uber.client_id=$uber_client_id"
        echo "uber.client_secret_file=$run/uber.secret"
    fi
    if url=$(partner_url DOORDASH); then
        echo "doordash.base_url=$url"
        echo "doordash.developer_id=$doordash_developer_id"
        echo "doordash.key_id=$doordash_key_id"
        echo "doordash.signing_secret_file=$run/doordash.secret"
    fi
}


# Puts them into a rendered coco.conf, whose lines end with their names. For
# those that are nowhere it says a port where nobody listens.
partners_nginx() {
    local name url scheme address path

    for name in UBER DOORDASH; do
        url=$(partner_url "$name") || continue
        [[ $url =~ ^(https?)://([^/]+)(.*)$ ]] || return
        scheme=${BASH_REMATCH[1]} address=${BASH_REMATCH[2]}
        path=${BASH_REMATCH[3]}
        [[ $scheme == http || $address =~ :[0-9]+$ ]] || address+=:443
        sed -i -E "/; *# COCO_${name}_URL\$/{
                s|server [^;]*;|server $address;|
                s|proxy_pass http:(//[a-z_]*)([^;]*);|proxy_pass $scheme:\1$path\2;|
            }" "$1" || return
    done
}


start_partners() {
    launch partners "$root" /usr/bin/python3 tests/partners/server.py \
        --port "$partners_port" --uber-client "$uber_client_id" \
        --uber-secret "$run/uber.secret" \
        --doordash-developer "$doordash_developer_id" \
        --doordash-key "$doordash_key_id" \
        --doordash-secret "$run/doordash.secret"
}


ready_partners() {
    curl -sf -m 2 -o /dev/null "http://127.0.0.1:$partners_port/control"
}


# What whoever plays a partner needs: to sign its webhooks, and to verify our
# calls.
stack_env_partners() {
    say_env COCO_UBER_SIGNING_KEY "$(<"$run/uber.key")"
    say_env COCO_UBER_CLIENT_ID "$uber_client_id"
    say_env COCO_UBER_CLIENT_SECRET "$(<"$run/uber.secret")"
    say_env COCO_DOORDASH_TOKEN "$(<"$run/doordash.token")"
    say_env COCO_DOORDASH_DEVELOPER_ID "$doordash_developer_id"
    say_env COCO_DOORDASH_KEY_ID "$doordash_key_id"
    say_env COCO_DOORDASH_SIGNING_SECRET "$(<"$run/doordash.secret")"
    alive partners && say_env COCO_PARTNERS_URL \
        "http://127.0.0.1:$partners_port"
}
