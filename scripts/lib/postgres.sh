# The stack's Postgres cluster. Sourced by scripts/stack with $root, $run.
# Postgres refuses to run as root: then the user "postgres" runs it, or nobody.

pg_bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
pg_owner=$(id -un)
as_pg=()
if (( EUID == 0 )); then
    pg_owner=postgres
    id -u postgres >/dev/null 2>&1 || pg_owner=nobody
    as_pg=(setpriv "--reuid=$pg_owner" "--regid=$(id -g "$pg_owner")"
           --clear-groups --)
fi


pg_url() {
    echo "postgresql://coco@127.0.0.1:$pg_port/coco"
}


# host, port
pg_answers() {
    [[ $(PGCONNECT_TIMEOUT=2 psql -XAtqc 'select 1' \
        "host=$1 port=$2 user=coco dbname=coco" 2>/dev/null) == 1 ]]
}


# Where the cluster of this stack lives: in its folder, or, when that folder
# lies where Postgres' user may not go, in /tmp with a link to it.
pg_data_prepare() {
    local data=$run/postgres template

    [[ -s $data/PG_VERSION ]] && return
    pg_data_remove
    if ! "${as_pg[@]}" test -x "$run"; then
        data=$(mktemp -d /tmp/coco-postgres.XXXXXX) || return
        ln -s "$data" "$run/postgres" && chown "$pg_owner" "$data" || return
    fi

    template=$(pg_template) || return
    mkdir -p "$data" && cp -a --reflink=auto "$template/." "$data/"
}


# Where nobody reaps orphans (a container without an init), a killed Postgres
# stays a zombie, and the next one takes it for running. A pid that no process
# can have takes its place; the check of the shared memory stays.
pg_zombie_forget() {
    local file=$run/postgres/postmaster.pid pid state

    [[ -s $file ]] && read -r pid <"$file" || return 0
    read -r state _ <<<"$(process_stat "$pid")"
    [[ $state == Z ]] && sed -i '1s/.*/4194304/' "$file"
    return 0
}


pg_data_remove() {
    local data

    data=$(realpath -m -- "$run/postgres")
    [[ -L $run/postgres && $data == /tmp/coco-postgres.* ]] &&
        rm -rf -- "$data"
    rm -rf -- "${run:?}/postgres"
}


# A migrated cluster to copy from, made once for each state of the migrations
# and day (they make partitions from today on). Prints its path.
pg_template() {
    local all=$root/build/postgres key template

    key=$(cat "$root"/db/migrations/*.sql "$root/scripts/migrate" \
        "${BASH_SOURCE[0]}" | sha256sum | cut -c1-16)-$(date -u +%Y%m%d)-$EUID
    template=$all/$key
    mkdir -p "$all" || return
    (
        flock 9 || exit
        [[ -s $template/PG_VERSION ]] && exit
        rm -rf -- "$all"/*-"$EUID" "$all"/*-"$EUID".new
        pg_template_make "$template.new" >&2 && mv "$template.new" "$template"
    ) 9>"$all/lock" && echo "$template"
}


pg_template_make() {
    local work rc

    work=$(mktemp -d /tmp/coco-template.XXXXXX) && chown "$pg_owner" "$work" &&
        pg_template_fill "$work" >"$1.log" 2>&1 &&
        cp -a "$work/data" "$1"
    rc=$?
    rm -rf -- "$work"
    (( rc == 0 )) || { tail -n 15 "$1.log"; return 1; }
    rm -f -- "$1.log"
}


pg_template_fill() (
    work=$1
    unset "${!PG@}"

    cd / && "${as_pg[@]}" "$pg_bin/initdb" --no-sync -D "$work/data" \
        -U postgres --auth=trust --locale=C.UTF-8 --encoding=UTF8 || exit

    "${as_pg[@]}" "$pg_bin/pg_ctl" -D "$work/data" -w -t 60 \
        -l "$work/data/start.log" start -o \
        "-c fsync=off -c listen_addresses= -k $work" || exit
    trap '"${as_pg[@]}" "$pg_bin/pg_ctl" -D "$work/data" -m fast -w stop' EXIT

    psql -XqAt -v ON_ERROR_STOP=1 -h "$work" -U postgres postgres \
        -c 'create role coco login' -c 'create database coco owner coco' &&
        "$root/scripts/migrate" "host=$work user=coco dbname=coco"
)
