# Lids by QR code, by a Magic Lid's PIN, and by events in the wrong order.
# Sourced by scripts/play.


# delivery_is_at_pickup FLOW [MEMBERS]
delivery_is_at_pickup() {
    say "A delivery is ordered, a robot is sent"
    robot_wakes "${flow}"
    ask 201 POST /deliveries \
        "{\"loadingFlow\":\"$1\",\"pickup\":$pickup,\"dropoff\":$dropoff${2-}}"
    delivery=$(field .id)
    ask 200 POST "/deliveries/$delivery/assign" "{\"serial\":\"$serial\"}"
    ask 200 POST "/deliveries/$delivery/depart"

    robot_arrives_at_pickup
}


play_qr() {
    delivery_is_at_pickup QR

    say "The merchant scans the QR code"
    lid_opens_by /open-lid-for-load "{\"deliveryId\":\"$delivery\"}"
    lid_is LID_CYCLE_INIT QR
    [[ $(field .referenceId) == "$delivery" ]] ||
        failed "the cycle does not refer to the delivery"

    say "The merchant loads the food and closes the lid"
    robot_reports LID_CLOSED '"trigger":"OTHER"'
    await "the loading" "/deliveries/$delivery" .status LoadedWaitingForPilot
    lid_is LID_CYCLE_COMPLETE QR

    customer_takes_the_food

    say "What is remembered"
    history_shows
    ask 200 GET "/deliveries/$delivery/events"
}


play_magic() {
    delivery_is_at_pickup MAGIC_LID ',"pin":"4271"'

    say "The robot has its PIN; the merchant types it, the lid opens at once"
    robot_hears '.state.desired.pin == "4271"'
    robot_reports PIN_ENTRY_LID_OPEN '"lid_opened":true'
    lid_is LID_CYCLE_INIT MAGIC_LID

    say "The merchant loads the food and closes the lid"
    robot_reports PIN_ENTRY_LID_CLOSE '"trigger":"PIN_ENTRY_CONFIRM"'
    await "the loading" "/deliveries/$delivery" .status LoadedWaitingForPilot
    lid_is LID_CYCLE_COMPLETE MAGIC_LID
    robot_hears '.state.desired.pin == null'

    say "What is remembered"
    history_shows
    ask 200 GET "/deliveries/$delivery/events"
}


play_scrambled() {
    local opened closed

    delivery_is_at_pickup MAGIC_LID ',"pin":"4271"'

    say "The robot was without a network: the close comes first, all come twice"
    closed=$(date +%s%3N) opened=$((closed - 700))
    robot_reports PIN_ENTRY_LID_CLOSE '"trigger":"PIN_ENTRY_CONFIRM"' "$closed"
    robot_reports PIN_ENTRY_LID_CLOSE '"trigger":"PIN_ENTRY_CONFIRM"' "$closed"
    robot_reports PIN_ENTRY_LID_OPEN '"lid_opened":true' "$opened"
    robot_reports PIN_ENTRY_LID_OPEN '"lid_opened":true' "$opened"
    await "the loading" "/deliveries/$delivery" .status LoadedWaitingForPilot
    lid_is LID_CYCLE_COMPLETE MAGIC_LID
    [[ $(field .openedAt) == "$opened" && $(field .closedAt) == "$closed" ]] ||
        failed "the cycle is not from $opened to $closed"

    say "What is remembered: each once, in the order of the robot's clock"
    history_shows
    ask 200 GET "/deliveries/$delivery/events"
    [[ $(jq '[.items[] | select(.status == "LoadedWaitingForPilot")] |
        length' <<<"$body") == 1 ]] || failed "it was not loaded once"
}
