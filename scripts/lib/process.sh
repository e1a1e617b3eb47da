# Processes of a stack: start, look after, end. Sourced by scripts/stack with
# $run set. A process is known by its pid and its start time, so that a pid
# that was given to another process is never signalled.


die() {
    echo "coco: $*" >&2
    exit 1
}


die_with_log() {
    local name=$1

    {
        echo "coco: $2; the end of $run/log/$name.log:"
        tail -n 15 -- "$run/log/$name.log" | sed 's/^/    /'
    } >&2
    exit 1
}


# One command at a time works on a stack; the lock ends with this shell.
locked() {
    exec {lock_fd}>"$run/lock" && flock -w 120 "$lock_fd" ||
        die "another command works on the stack in $run"
}


# "state ppid starttime" of a pid; the name in parentheses may hold anything.
process_stat() {
    local line fields

    line=$(cat "/proc/$1/stat" 2>/dev/null) && [[ -n $line ]] || return 1
    read -ra fields <<<"${line##*) }"
    echo "${fields[0]} ${fields[1]} ${fields[19]}"
}


# A zombie is dead: in a container nobody may be there to reap it.
alive() {
    local pid start state began

    [[ -r $run/$1.pid && -r $run/$1.start ]] || return 1
    read -r pid <"$run/$1.pid" && read -r start <"$run/$1.start" || return 1
    read -r state _ began <<<"$(process_stat "$pid")"
    [[ $began == "$start" && $state != Z && $state != X ]]
}


is_any_alive() {
    local name

    for name in "${all[@]}"; do
        alive "$name" && return 0
    done
    return 1
}


# Starts "$@" in directory $2 as server $1: in a session of its own, with its
# output in its log and none of this shell's descriptors.
launch() {
    local name=$1 dir=$2 pid start

    shift 2
    (
        cd "$dir" || exit
        for fd in /proc/"$BASHPID"/fd/*; do
            fd=${fd##*/}
            (( fd > 2 )) && eval "exec $fd>&-"
        done
        exec setsid "$@" </dev/null >>"$run/log/$name.log" 2>&1
    ) &
    pid=$!
    disown "$pid"
    read -r _ _ start <<<"$(process_stat "$pid")"
    echo "$start" >"$run/$name.start"
    echo "$pid" >"$run/$name.pid"
}


# Postgres ends its sessions on SIGINT, waits for them on SIGTERM.
stop() {
    local name=$1 signal=TERM until=$((SECONDS + 20))

    if alive "$name"; then
        [[ $name == postgres ]] && signal=INT
        kill -s "$signal" "$(<"$run/$name.pid")"
        while alive "$name"; do
            if (( SECONDS >= until )); then
                echo "coco: $name did not end within 20 s, killed" >&2
                kill_hard "$name"
                break
            fi
            sleep 0.02
        done
    fi
    rm -f -- "$run/$name.pid" "$run/$name.start"
}


# SIGKILL for the server and its children at once; returns when all are gone.
kill_hard() {
    local name=$1 pid all child

    alive "$name" || return 1
    pid=$(<"$run/$name.pid")
    all=("$pid")
    for child in $(cat "/proc/$pid/task/$pid/children" 2>/dev/null); do
        all+=("$child")
    done
    kill -KILL "${all[@]}" 2>/dev/null
    for child in "${all[@]}"; do
        while read -r state _ <<<"$(process_stat "$child")" &&
              [[ -n $state && $state != Z && $state != X ]]
        do
            sleep 0.01
        done
    done
    rm -f -- "$run/$name.pid" "$run/$name.start"
}


# A killed process counts as dead once its first thread is; the others may hold
# its sockets for a moment more.
port_free_await() {
    local until=$((SECONDS + 3))

    while port_taken "$1"; do
        (( SECONDS < until )) || return 1
        sleep 0.02
    done
}


port_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
