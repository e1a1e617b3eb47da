# How a play asks over HTTP, and is a robot over MQTT. Sourced by scripts/play
# with $COCO_HTTP and the like, and $folder, which is the play's own.

# --- over HTTP ---------------------------------------------------------------

# request METHOD PATH [BODY]: sets status and body; shows nothing.
request() {
    local answer

    answer=$(curl -sS -m 20 -X "$1" -w '\n%{http_code}' \
        -K "$folder/curl" "$COCO_HTTP$2" \
        ${3:+-H "Content-Type: application/json" -d "$3"} 2>&1)
    status=${answer##*$'\n'} body=${answer%$'\n'*}
}


# ask STATUS METHOD PATH [BODY]: shows both, and ends when it is another.
ask() {
    printf '  curl  %s %s %s\n' "$2" "$3" "${4-}"
    request "${@:2}"
    show
    [[ $status == "$1" ]] || failed "$2 $3 is answered with $status, not $1"
}


# What matters of a delivery and of a robot; all of anything else.
show() {
    printf '        %s %s\n' "$status" "$(jq -c '
        if .attempts then {id, status, serial, loadingFlow}
        elif .readiness then {serial, operationState, lid, delivery}
        elif .items then [.items[] | .status // .type]
        else . end' <<<"$body" 2>/dev/null || printf %s "$body")"
}


field() {
    jq -r "$1" <<<"$body" 2>/dev/null
}


# await WHAT PATH FILTER VALUE: asks until the answer's FILTER is VALUE.
await() {
    local until=$((SECONDS + patience))

    until request GET "$2" && [[ $(field "$3") == "$4" ]]; do
        (( SECONDS < until )) ||
            { show; failed "$1: $3 of GET $2 is not $4 within ${patience} s"; }
        sleep 0.1
    done
    printf '  curl  GET %s\n' "$2"
    show
}


# --- over MQTT ---------------------------------------------------------------

# The robot comes to life: hears its commands and its shadow from now on.
robot_wakes() {
    local until=$((SECONDS + patience))

    serial=play-$1-$(date +%s%3N) heard=0
    printf '  robot %s\n' "$serial"
    stdbuf -oL mosquitto_sub -d -p "$COCO_MQTT_PORT" -q 1 -F 'heard %p' \
        -t "robot/$serial/commands" -t "robot/$serial/shadow/update" \
        >"$folder/$serial" 2>&1 &
    ears+=" $!"
    until grep -qs ^Subscribed "$folder/$serial"; do
        (( SECONDS < until )) || failed "no subscription at the broker:" \
            "$(tail -n 1 "$folder/$serial")"
        sleep 0.05
    done
}


# robot_hears FILTER: what it was sent next, when FILTER finds it there.
robot_hears() {
    local until=$((SECONDS + patience)) line

    while (( SECONDS < until )); do
        line=$(grep '^heard ' "$folder/$serial" | sed -n "$((heard + 1))p")
        if [[ -n $line ]]; then
            ((heard++))
            message=${line#heard }
            if jq -e "$1" <<<"$message" >/dev/null 2>&1; then
                printf '  robot hears %s\n' "$message"
                return
            fi
        else
            sleep 0.02
        fi
    done
    failed "the robot was not sent what $1 would find within ${patience} s"
}


publish() {
    printf '  mosquitto_pub  robot/%s/%s %s\n' "$serial" "$1" "$2"
    mosquitto_pub -p "$COCO_MQTT_PORT" -q 1 -t "robot/$serial/$1" -m "$2" ||
        failed "the broker took no message of the robot"
}


# robot_reports TYPE [MEMBERS [TS]]
robot_reports() {
    publish events \
        "{\"type\":\"$1\",\"ts\":${3:-$(date +%s%3N)}${2:+,$2}}"
}


robot_stands_at() {
    publish status "{\"ts\":$(date +%s%3N),\"state\":\"ON_TRIP\",\"battery\":\
{\"percent\":81},\"location\":$(jq -c '. + {speed: 0} | del(.address)' \
        <<<"$1"),\"lid\":{\"open\":false}}"
}


# --- what the flows share ----------------------------------------------------

# lid_opens_by PATH BODY: a request that waits, and the robot that acts.
lid_opens_by() {
    local asking command

    printf '  curl  POST %s %s   (waits for the robot)\n' "$1" "$2"
    { request POST "$1" "$2"; printf '%s\n%s\n' "$status" "$body"; } \
        >"$folder/answer" &
    asking=$!

    robot_hears '.command == "OPEN_LID"'
    command=$(jq -r .id <<<"$message")
    robot_reports COMMAND_ACK "\"commandId\":\"$command\""
    robot_reports LID_OPENED \
        "\"trigger\":\"COMMAND\",\"commandId\":\"$command\""

    wait "$asking"
    { read -r status; body=$(cat); } <"$folder/answer"
    show
    [[ $status == 200 && $(field .opened) == true ]] ||
        failed "POST $1 is answered with $status, not 200 and opened"
}


lid_is() {
    await "the lid" "/state/$serial/lid" .state "$1"
    [[ $(field .source) == "$2" ]] ||
        failed "the cycle's source is $(field .source), not $2"
}


history_shows() {
    printf '  curl  GET /state/%s/lid/history\n' "$serial"
    request GET "/state/$serial/lid/history"
    [[ $status == 200 ]] || { show; failed "no history: $status"; }
    jq -r '.items | reverse[] | "        \(.ts) \(.type)" +
        ([.source, .trigger, .referenceId] | map(select(.)) |
        map(" " + .) | add // "")' <<<"$body"
}


robot_arrives_at_pickup() {
    say "The robot stands at the pickup: it has arrived"
    robot_stands_at "$pickup"
    await "the arrival" "/deliveries/$delivery" .status AtPickup
    await "the parking" "/robots/$serial" .operationState PARKED
}


customer_takes_the_food() {
    say "Off to the customer, who takes the food and closes the lid"
    ask 200 POST "/deliveries/$delivery/depart"
    robot_stands_at "$dropoff"
    await "the arrival" "/deliveries/$delivery" .status AtDropoff
    lid_opens_by "/state/$serial/lid/open" \
        "{\"source\":\"OPERATOR\",\"referenceId\":\"$delivery\"}"
    robot_reports LID_CLOSED '"trigger":"OTHER"'
    await "the end" "/deliveries/$delivery" .status Completed
}
