"""A lean MQTT 3.1.1 publisher at QoS 1 that knows exactly what the broker
acknowledged. It must never count a message that has no PUBACK.
"""

import select
import socket
import struct
import threading
import time


def _length(n):
    out = bytearray()
    while True:
        n, digit = n >> 7, n & 0x7f
        out.append(digit | (0x80 if n else 0))
        if not n:
            return bytes(out)


def _field(data):
    return struct.pack(">H", len(data)) + data


class Refused(Exception):
    """The broker closed the connection on what was sent."""


class Publisher:
    """publish() takes (key, topic, payload) triples from an iterator, keeps at
    most `window` unacknowledged, and appends each key to `acked` when its
    PUBACK comes. A lost connection is made again within the same session and
    what was not acknowledged is sent again, in order, with DUP set."""

    def __init__(self, port, client_id, window=1000, reconnects=100):
        self.port = port
        self.client_id = client_id.encode()
        self.window = window
        self.reconnects = reconnects    # how many are borne before Refused
        self.acked = []
        self.resent = 0
        self._inflight = {}             # packet id -> (key, packet), in order
        self._next_id = 0
        self._sock = None
        self._out = bytearray()
        self._in = b""
        self._cut = threading.Event()

    def cut(self):
        """Drops the connection from another thread; publish() mends it."""
        self._cut.set()

    def close(self):
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def publish(self, messages, seconds=120):
        """Returns how many were acknowledged by this call."""
        messages = iter(messages)
        deadline = time.monotonic() + seconds
        before, lost, more = len(self.acked), 0, True
        while more or self._inflight:
            if time.monotonic() > deadline:
                raise TimeoutError("%d messages without a PUBACK after %g s"
                                   % (len(self._inflight), seconds))
            try:
                if self._sock is None:
                    self._connect(deadline)
                more = self._fill(messages, more)
                self._transfer()
            except OSError as e:
                self.close()
                lost += 1
                if lost > self.reconnects:
                    raise Refused(str(e)) from e
        return len(self.acked) - before

    def _connect(self, deadline):
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", self.port), 30)
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        # Clean session off: the broker keeps the id's session over cuts.
        body = _field(b"MQTT") + b"\x04\x00\x00\x00" + _field(self.client_id)
        sock.sendall(b"\x10" + _length(len(body)) + body)
        reply = b""
        while len(reply) < 4:
            part = sock.recv(4 - len(reply))
            if not part:
                raise ConnectionError("closed before CONNACK")
            reply += part
        if reply[0] != 0x20 or reply[3] != 0:
            raise ConnectionError("CONNACK %s" % reply.hex())
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._cut.clear()
        self._sock, self._in = sock, b""
        self._out = bytearray()
        for _, packet in self._inflight.values():
            self._out += bytes([packet[0] | 0x08]) + packet[1:]
            self.resent += 1

    def _fill(self, messages, more):
        inflight, out = self._inflight, self._out
        while more and len(inflight) < self.window and len(out) < 1 << 18:
            try:
                key, topic, payload = next(messages)
            except StopIteration:
                return False
            self._next_id = self._next_id % 65535 + 1
            while self._next_id in inflight:
                self._next_id = self._next_id % 65535 + 1
            body = b"%b%b%b%b" % (struct.pack(">H", len(topic)), topic,
                                  struct.pack(">H", self._next_id), payload)
            packet = b"\x32%b%b" % (_length(len(body)), body)
            inflight[self._next_id] = (key, packet)
            out += packet
        return more

    def _transfer(self):
        readable, writable, _ = select.select(
            [self._sock], [self._sock] if self._out else [], [], 0.05)
        if self._cut.is_set():
            raise ConnectionError("cut")
        if writable:
            del self._out[:self._sock.send(self._out)]
        if readable:
            data = self._sock.recv(1 << 16)
            if not data:
                raise ConnectionError("closed by the broker")
            self._acknowledge(self._in + data)

    def _acknowledge(self, data):
        whole = len(data) & ~3
        words = struct.unpack(">%dH" % (whole // 2), data[:whole])
        self._in = data[whole:]
        for kind, packet_id in zip(words[::2], words[1::2]):
            if kind != 0x4002:
                raise ConnectionError("not a PUBACK: %04x" % kind)
            self.acked.append(self._inflight.pop(packet_id)[0])
