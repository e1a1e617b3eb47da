# The stack's queues and buses: the SQS emulator, RabbitMQ, Kafka. Sourced by
# scripts/stack with $root, $run, $bin and the ports.

sqs_source=$root/sim/sqs
rabbitmq_server=/usr/lib/rabbitmq/bin/rabbitmq-server
kafka_topics=(robot_platform_robot_updates_v1 IoT.Heartbeat Robots.StateChange
    Robots.BusinessStateChange ConnectivityRawStatusChanged
    Robots.LidOpen Robots.LidClose LidCycle.Complete Deliveries.DeliveryEvent)


# The emulator's packages, fetched once for each state of the lock file. Node
# knows the authorities it was built with; a company's own are the system's.
sqs_install() {
    local kept=$sqs_source/node_modules/.installed log=$root/build/sqs.log
    local authorities=/etc/ssl/certs/ca-certificates.crt

    command -v node >/dev/null ||
        die "the SQS emulator needs Node.js 18: ./coco setup sqs"
    mkdir -p "$root/build"
    (
        flock 9 || exit
        cmp -s "$sqs_source/package-lock.json" "$kept" && exit
        echo "Fetching the SQS emulator" >&2
        command -v npm >/dev/null || { echo "no npm" >"$log"; exit 1; }
        [[ ! -r $authorities ]] ||
            export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-$authorities}
        cd "$sqs_source" &&
            npm ci --no-audit --no-fund --ignore-scripts >"$log" 2>&1 &&
            cp package-lock.json "$kept"
    ) 9>"$root/build/sqs.lock" || {
        tail -n 5 "$log" >&2
        die "npm could not fetch the SQS emulator; once: ./coco setup sqs," \
            "with a network. Without SQS: COCO_STACK_ONLY=\"postgres redis" \
            "mqtt worker nginx\""
    }
}


start_sqs() {
    rm -f -- "$run/sqs.queues"
    launch sqs "$sqs_source" node server.js "$sqs_port" "$run/sqs.queues"
}


ready_sqs() {
    [[ -s $run/sqs.queues ]]
}


rabbitmq_check() {
    [[ -x $rabbitmq_server ]] ||
        die "RabbitMQ is not installed: ./coco setup rabbitmq"
}


# A node that talks to no other: without Erlang's distribution it needs neither
# epmd, which would outlive it, nor a second port. The number in its place is
# for RabbitMQ, which asks for one and never uses it. Those flags go by the
# environment, since RabbitMQ starts a helper that would bring epmd up. Paths
# are relative: its scripts take none with a space.
start_rabbitmq() {
    mkdir -p "$run/rabbitmq"
    echo '[].' >"$run/rabbitmq/enabled_plugins"
    cat >"$run/rabbitmq/rabbitmq.conf" <<END
listeners.tcp.1 = 127.0.0.1:$amqp_port
log.console = false
log.file = rabbitmq.log
log.file.level = warning
END
    launch rabbitmq "$run/rabbitmq" env -i PATH="$PATH" LANG=C.UTF-8 \
        HOME="$run/rabbitmq" ERL_CRASH_DUMP=/dev/null \
        ERL_AFLAGS="-start_epmd false -dist_listen false -erl_epmd_port 1" \
        RABBITMQ_SERVER_START_ARGS="-noinput -sname coco@localhost" \
        RABBITMQ_NODENAME=coco@localhost RABBITMQ_CONF_ENV_FILE=/dev/null \
        RABBITMQ_CONFIG_FILE=rabbitmq RABBITMQ_MNESIA_BASE=mnesia \
        RABBITMQ_LOG_BASE=../log RABBITMQ_GENERATED_CONFIG_DIR=config \
        RABBITMQ_ENABLED_PLUGINS_FILE=enabled_plugins \
        RABBITMQ_ALLOW_INPUT=1 "$rabbitmq_server"
}


# It greets who speaks AMQP 0-9-1 with a method frame, which begins with 1.
ready_rabbitmq() {
    local first

    first=$(exec 2>/dev/null
        exec 3<>"/dev/tcp/127.0.0.1/$amqp_port" || exit
        printf 'AMQP\0\0\011\001' >&3
        head -c 1 <&3 | od -An -tu1)
    [[ ${first// /} == 1 ]]
}


start_kafka() {
    rm -f -- "$run/kafka.brokers"
    launch kafka "$run" "$bin/coco-kafka" "$run/kafka.brokers" \
        "${kafka_topics[@]}"
}


ready_kafka() {
    [[ -s $run/kafka.brokers ]]
}
