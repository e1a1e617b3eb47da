"""A proxy before RabbitMQ that says what the broker would say seldom."""

import selectors
import socket
import struct
import threading

ACK, NACK = 60 << 16 | 80, 60 << 16 | 120
BLOCKED, UNBLOCKED = 10 << 16 | 60, 10 << 16 | 61


def method(identity, arguments=b""):
    payload = struct.pack(">I", identity) + arguments
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce"


class Proxy:
    """One connection at a time. `refuse` confirms are turned into nacks."""

    def __init__(self, port):
        self.target = port
        self.refuse = 0
        self.lock = threading.Lock()
        self.client = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, socket.create_connection(
                    ("127.0.0.1", self.target)) as server:
                try:
                    self.pump(client, server)
                except OSError:
                    pass               # one end is gone, and so the other is
            self.client = None

    def pump(self, client, server):
        rest = b""
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ)
            ready.register(server, selectors.EVENT_READ)
            self.client = client
            while True:
                for key, _ in ready.select():
                    try:
                        data = key.fileobj.recv(65536)
                    except OSError:
                        data = b""
                    if not data:
                        return
                    if key.fileobj is client:
                        server.sendall(data)
                        continue
                    rest = self.frames(client, rest + data)

    def frames(self, client, data):
        """Hands whole frames on; returns what is left."""
        while len(data) >= 8:
            size = 8 + struct.unpack(">I", data[3:7])[0]
            if len(data) < size:
                break
            frame, data = data[:size], data[size:]
            if (self.refuse and frame[0] == 1
                    and struct.unpack(">I", frame[7:11])[0] == ACK):
                self.refuse -= 1
                frame = frame[:7] + struct.pack(">I", NACK) + frame[11:]
            with self.lock:
                client.sendall(frame)
        return data

    def blocked(self):
        self.say(method(BLOCKED, b"\x05tests"))

    def unblocked(self):
        self.say(method(UNBLOCKED))

    def say(self, frame):
        with self.lock:
            self.client.sendall(frame)

    def close(self):
        self.listener.close()
