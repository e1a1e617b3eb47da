# A day: an order of Uber's by its signed webhook, brought by a robot; what Uber
# was told, and what a city may read of it. Sourced by scripts/play.

play_store=play-noodle-bar play_pin=4271
clock='def clock: "\(. / 1000 | floor | strftime("%H:%M:%S")).\(
    . % 1000 + 1000 | tostring | .[1:])"; '


play_day() {
    [[ -n ${COCO_PARTNERS_URL-} ]] ||
        failed "the partners are not simulated: COCO_PARTNERS=1 ./coco stack up"
    external=del_play$(date +%s%3N) began=$(date +%s%3N)

    day_prepares
    day_orders
    day_loads
    customer_takes_the_food
    day_partner_was_told
    day_city_reads
}


day_prepares() {
    say "A store of Uber's has a PIN; a robot is a vehicle of Uber's"
    printf '  psql  the store %s: MAGIC_LID, PIN %s\n' "$play_store" "$play_pin"
    psql -XqAt -v ON_ERROR_STOP=1 "$COCO_PG_URL" >/dev/null -c "
        insert into coco.integration (provider, store, loading_flow, pin)
        values ('uber', '$play_store', 'MAGIC_LID', '$play_pin')
        on conflict (provider, store) do update
           set loading_flow = excluded.loading_flow, pin = excluded.pin" ||
        failed "Postgres took no row of coco.integration"

    robot_wakes day
    robot_stands_at "$dropoff"
    await "the robot" "/robots/$serial" .connectivity.online true
    ask 200 PUT "/fleet/v1/beacon/external-mappings/uber/uv-$serial" \
        "{\"serial\":\"$serial\"}"
}


day_orders() {
    say "Uber's webhook: refused when it is not Uber's, and once when it is"
    webhook pending
    webhook_is 401 "$(printf '%s ' "$webhook" | uber_signature)"
    webhook_is 200 "$(printf %s "$webhook" | uber_signature)"
    webhook_is 200 "$(printf %s "$webhook" | uber_signature)"
    await "the order" "/deliveries?status=Created&limit=500" \
        "[.items[] | select(.externalId == \"$external\")] | length" 1
    delivery=$(field ".items[] | select(.externalId == \"$external\") | .id")

    say "The robot is sent"
    ask 200 POST "/deliveries/$delivery/assign" "{\"serial\":\"$serial\"}"
    ask 200 POST "/deliveries/$delivery/depart"
}


day_loads() {
    robot_arrives_at_pickup
    robot_hears ".state.desired.pin == \"$play_pin\""

    say "The merchant types it, the lid opens; the food is in, the lid is shut"
    robot_reports PIN_ENTRY_LID_OPEN '"lid_opened":true'
    lid_is LID_CYCLE_INIT MAGIC_LID
    robot_reports PIN_ENTRY_LID_CLOSE '"trigger":"PIN_ENTRY_CONFIRM"'
    await "the loading" "/deliveries/$delivery" .status LoadedWaitingForPilot
    robot_hears '.state.desired.pin == null'
}


# --- Uber's side --------------------------------------------------------------

# webhook STATUS: sets webhook to what Uber sends of the order.
webhook() {
    local now

    now=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
    webhook=$(jq -nc --arg status "$1" --arg id "$external" --arg now "$now" \
        --arg store "$play_store" --argjson from "$pickup" \
        --argjson to "$dropoff" '
        def place: {address: (.address // "-"),
                    location: {lat: .latitude, lng: .longitude}};
        {id: "evt_\($id)_\($status)", kind: "event.delivery_status",
         created: $now, live_mode: false, status: $status, delivery_id: $id,
         data: {id: $id, kind: "delivery", status: $status, updated: $now,
                external_store_id: $store, pickup: ($from | place),
                dropoff: ($to | place)}}')
    printf '  %s\n' "$webhook"
}


# Of what it reads. The key stays out of the command line.
uber_signature() {
    KEY=$COCO_UBER_SIGNING_KEY python3 -c 'import hmac, os, sys; print(hmac.new(
        os.environ["KEY"].encode(), sys.stdin.buffer.read(),
        "sha256").hexdigest())'
}


# webhook_is STATUS SIGNATURE: sends it, by nobody's token.
webhook_is() {
    local answer

    printf '  curl  POST /uber/v1/webhook, x-uber-signature: %s\n' "$2"
    answer=$(curl -sS -m 20 -w '\n%{http_code}' -d "$webhook" \
        -H 'Content-Type: application/json' -H "x-uber-signature: $2" \
        "$COCO_HTTP/uber/v1/webhook" 2>&1)
    status=${answer##*$'\n'} body=${answer%$'\n'*}
    show
    [[ $status == "$1" ]] ||
        failed "the webhook is answered with $status, not $1"
    [[ $1 != 200 || -z ${answer%$'\n'*} ]] ||
        failed "the webhook is answered with a body, which Uber takes for a no"
}


# What Uber was told, from its own ledger, is what became of the delivery.
day_partner_was_told() {
    local expected told path

    say "What Uber was told of it"
    request GET "/deliveries/$delivery/events"
    expected=$(jq -r --slurpfile map "$root/conf/partners.json" \
        '.items[].status | $map[0].uber.statuses[.] // empty' <<<"$body")
    path=$(jq -r .uber.status.path "$root/conf/partners.json")

    body=$(curl -sS -m 60 "$COCO_PARTNERS_URL/ledger?partner=uber&delivery=\
$external&path=$path&count=$(wc -l <<<"$expected")&wait=$patience")
    jq -r "$clock"'.items[] | [(.at | clock), .status, .body.status,
        .body.vehicle_id, .key] | @tsv' <<<"$body" | day_rows
    told=$(jq -r '.items | map(select(.status == 200)) | unique_by(.key) |
        sort_by(.n)[].body.status' <<<"$body")
    [[ $told == "$expected" ]] || failed "Uber was told" ${told:-nothing} \
        "and not" $expected
}


# --- the city's side ----------------------------------------------------------

# mds PATH: sets status and body.
mds() {
    local answer

    answer=$(curl -sS -m 20 -w '\n%{http_code}' -K "$folder/curl" \
        -H 'Accept: application/vnd.mds+json;version=2.0' "$1" 2>&1)
    status=${answer##*$'\n'} body=${answer%$'\n'*}
}


# All events since the play began, page after page: sets events.
day_events() {
    local url

    url="$COCO_HTTP/mds/events/recent?start_time=$began&end_time=$(
        date +%s%3N)"
    events='[]'
    while [[ -n $url ]]; do
        mds "$url"
        [[ $status == 200 ]] || return
        events=$(jq -c --argjson before "$events" '$before + .events' \
            <<<"$body") || return
        url=$(field '.links.next // empty')
    done
}


day_city_reads() {
    local until=$((SECONDS + patience)) vehicle

    say "What the city reads of the vehicle: /mds/events/recent"
    until day_events && vehicle=$(jq -c --arg trip "$delivery" '
        (map(select(.trip_ids // [] | index($trip)))[0].device_id) as $device
        | map(select(.device_id == $device))' <<<"$events") &&
        [[ $(jq -r '.[-1].event_types[0]' <<<"$vehicle") == trip_end ]]
    do
        (( SECONDS < until )) ||
            { show; failed "the trip's end is not told within ${patience} s"; }
        sleep 0.1
    done
    jq -r "$clock"'.[] | [(.timestamp | clock), .vehicle_state,
        (.event_types | join(",")), "\(.battery_percent) %",
        "\(.location.lat),\(.location.lng)", (.trip_ids // [] | join(","))]
        | @tsv' <<<"$vehicle" | day_rows
    [[ $(jq -r 'map(.event_types[0]) | join(" ")' <<<"$vehicle") == \
        *"reservation_start reservation_stop trip_start order_pick_up \
trip_resume order_drop_off trip_end" ]] ||
        failed "that is no trip as MDS has it"
}


# Of columns between tabs.
day_rows() {
    awk -F '\t' '
        {
            for (i = 1; i <= NF; i++) {
                cell[NR, i] = $i
                if (length($i) > width[i]) width[i] = length($i)
            }
            count[NR] = NF
        }
        END {
            for (row = 1; row <= NR; row++) {
                line = "       "
                for (i = 1; i <= count[row]; i++)
                    line = line sprintf(" %-*s", width[i] + 1, cell[row, i])
                sub(/ +$/, "", line)
                print line
            }
        }'
}
