"""nginx's processes as the kernel shows them: which there are, which listens
to the feed, and which is writing the zone.
"""

import contextlib
import os
import signal
import time

from harness import await_for

ZONE = 64 << 20         # coco_zone of coco.conf


def workers(stack):
    """Pids, the oldest first."""
    return children(stack.pid("nginx"))


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return [int(child) for child in file.read().split()]


def reload(stack):
    """Returns once new processes serve; the old ones' pids."""
    old = workers(stack)
    os.kill(stack.pid("nginx"), signal.SIGHUP)
    await_for("as many new processes",
              lambda: len(set(workers(stack)) - set(old)) == len(old))
    return old


def kill(stack, pids):
    """Returns once others are in their place."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await_replaced(stack, pids)


def await_replaced(stack, pids):
    await_for("others in their place", lambda: not set(pids) & set(
        workers(stack)) and len(workers(stack)) >= len(pids))


def holder(system, stack):
    """The process that listens to both channels of the feed."""
    return await_for("one listens to the feed", lambda: _holder(system, stack))


def _holder(system, stack):
    for client in system.redis.client_list(_type="pubsub"):
        if client["sub"] == "2":
            port = int(client["addr"].rsplit(":", 1)[1])
            inode = socket_inode(port, stack.redis_port)
            for pid in workers(stack):
                if "socket:[%s]" % inode in descriptors(pid):
                    return pid
    return None


def descriptors(pid):
    """What its open files are; they come and go meanwhile."""
    folder, found = "/proc/%d/fd/" % pid, set()
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(folder + fd))
    return found


def socket_inode(local, remote):
    """Of the connection from this port to that one, None when it is gone."""
    with open("/proc/net/tcp") as file:
        for row in file.readlines()[1:]:
            _, here, there, *rest = row.split()
            if (int(here.split(":")[1], 16), int(there.split(":")[1], 16)) \
                    == (local, remote):
                return rest[6]
    return None


def stop_inside(pids, seconds=60):
    """Stops one after the other, again and again, until one is stopped that
    has the mutex of the zone; returns its pid."""
    until = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        memories = [(pid, *stack.enter_context(zone(pid))) for pid in pids]
        while time.monotonic() < until:
            for pid, memory, begin in memories:
                os.kill(pid, signal.SIGSTOP)
                await_stopped(pid)
                # the zone begins with the pid of who has its mutex
                if int.from_bytes(os.pread(memory, 8, begin), "little") == pid:
                    return pid
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.002)       # in which they do what they have to
    raise AssertionError("none was ever stopped inside")


@contextlib.contextmanager
def zone(pid):
    """(the process' memory, where the zone begins in it)"""
    with open("/proc/%d/maps" % pid) as file:
        ranges = [[int(n, 16) for n in row.split()[0].split("-")]
                  for row in file if " rw-s " in row]
    begin, = [begin for begin, end in ranges if end - begin == ZONE]
    memory = os.open("/proc/%d/mem" % pid, os.O_RDONLY)
    try:
        yield memory, begin
    finally:
        os.close(memory)


def stop_outside(pid):
    """Stops it where it does not have the mutex of the zone: the others would
    wait for it."""
    with zone(pid) as (memory, begin):
        def stopped():
            os.kill(pid, signal.SIGSTOP)
            await_stopped(pid)
            if int.from_bytes(os.pread(memory, 8, begin), "little") != pid:
                return True
            os.kill(pid, signal.SIGCONT)
            return False

        await_for("it is stopped without the mutex", stopped, every=0.002)


def stop_family(pid):
    """Stops a process, and its children once it makes no more: those that end
    meanwhile can be signalled until it goes on."""
    os.kill(pid, signal.SIGSTOP)
    await_stopped(pid)
    for child in children(pid):
        os.kill(child, signal.SIGSTOP)


def continue_family(pid):
    for child in children(pid):
        os.kill(child, signal.SIGCONT)
    os.kill(pid, signal.SIGCONT)


def await_stopped(pid):
    def stopped():
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "T"
    await_for("process %d is stopped" % pid, stopped, every=0)
