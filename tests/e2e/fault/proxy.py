"""A TCP proxy that stands between the worker and the broker, so that their
connection can be cut, stalled or left half open while both live.

Its own process (python shares one lock among threads): commands come on
standard input, one word a line, each answered by one line.
    cut     resets every connection on both sides
    stall   passes nothing on, keeps everything open
    half    closes the broker's side, leaves the other open and silent
    abandon leaves what is connected open and silent; passes new ones on
    resume  passes on again; what was left half open is reset
    count   how many connections were accepted so far
"""

import selectors
import socket
import struct
import subprocess
import sys

LINGER_RESET = struct.pack("ii", 1, 0)
CHUNK = 1 << 16


class Proxy:
    """The handle that a test holds."""

    def __init__(self, target_port):
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(target_port)], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self._process.stdout.readline())

    def command(self, word):
        self._process.stdin.write(word + "\n")
        return self._process.stdout.readline().strip()

    def count(self):
        return int(self.command("count"))

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class _Pair:
    def __init__(self, near, far):
        self.near, self.far = near, far
        self.waiting = {near: b"", far: b""}    # not yet taken by that side


class _Server:
    def __init__(self, target_port):
        self.target = ("127.0.0.1", target_port)
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.pairs = {}                         # socket -> its pair
        self.stalled = False
        self.abandoned = []                     # kept open
        self.accepted = 0
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(sys.stdin, selectors.EVENT_READ)

    def run(self):
        print(self.listener.getsockname()[1], flush=True)
        while True:
            for key, mask in self.selector.select():
                if key.fileobj is sys.stdin:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    print(self.command(line.strip()), flush=True)
                elif key.fileobj is self.listener:
                    self.accept()
                elif key.fileobj in self.pairs and not self.stalled:
                    self.move(key.fileobj, mask)

    def command(self, word):
        if word == "count":
            return self.accepted
        if word == "cut":
            for pair in set(self.pairs.values()):
                self.drop(pair, reset=True)
        elif word == "abandon":
            for sock in self.pairs:
                self.unwatch(sock)
            self.abandoned += self.pairs.values()
            self.pairs.clear()
        elif word in ("stall", "half"):
            self.stalled = True
            for sock in self.pairs:
                self.unwatch(sock)
            if word == "half":
                for pair in set(self.pairs.values()):
                    pair.far.close()
                    self.pairs.pop(pair.far)
        elif word == "resume":
            self.stalled = False
            for pair in set(self.pairs.values()):
                if pair.far.fileno() < 0:
                    self.drop(pair, reset=True)
                    continue
                self.watch(pair, pair.near)
                self.watch(pair, pair.far)
        else:
            return "unknown"
        return "ok"

    def accept(self):
        near, _ = self.listener.accept()
        self.accepted += 1
        try:
            far = socket.create_connection(self.target, 5)
        except OSError:
            near.close()
            return
        pair = _Pair(near, far)
        for sock in (near, far):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs[sock] = pair
            if not self.stalled:
                self.watch(pair, sock)

    def unwatch(self, sock):
        if sock in self.selector.get_map():
            self.selector.unregister(sock)

    def watch(self, pair, sock):
        """Reads from a side only while the other has taken everything."""
        other = pair.far if sock is pair.near else pair.near
        events = 0 if pair.waiting[other] else selectors.EVENT_READ
        if pair.waiting[sock]:
            events |= selectors.EVENT_WRITE
        key = self.selector.get_map().get(sock)
        if key and key.events == events:
            return
        self.unwatch(sock)
        if events:
            self.selector.register(sock, events)

    def move(self, sock, mask):
        pair = self.pairs[sock]
        other = pair.far if sock is pair.near else pair.near
        try:
            if mask & selectors.EVENT_READ:
                data = sock.recv(CHUNK)
                if not data:
                    self.drop(pair, reset=False)
                    return
                pair.waiting[other] += data
                sock, other = other, sock
            if pair.waiting[sock]:
                sent = sock.send(pair.waiting[sock])
                pair.waiting[sock] = pair.waiting[sock][sent:]
        except BlockingIOError:
            pass
        except OSError:
            self.drop(pair, reset=True)
            return
        self.watch(pair, sock)
        self.watch(pair, other)

    def drop(self, pair, reset):
        for sock in (pair.near, pair.far):
            if sock.fileno() < 0:
                continue
            self.unwatch(sock)
            self.pairs.pop(sock, None)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                LINGER_RESET)
            sock.close()


if __name__ == "__main__":
    _Server(int(sys.argv[1])).run()
