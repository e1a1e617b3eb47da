"""Programs of others that bring deliveries over HTTP, several at once, while
things break: each step is asked for under one Idempotency-Key until it is
answered. What was answered is what they know. Must never look elsewhere.
"""

import threading
import time
import uuid

import requests
from harness import await_for

PICKUP = {"latitude": 34.01, "longitude": -118.49}
DROPOFF = {"latitude": 34.03, "longitude": -118.47}
LOADED = "LoadedWaitingForPilot"

# word, body, and the status that it leads to; the robot itself is loaded
WAY = (("assign", None, "Assigned"), ("depart", None, "EnrouteToPickup"),
       ("arrive", {"at": "pickup"}, "AtPickup"), (None, None, LOADED),
       ("depart", None, "EnrouteToDropoff"),
       ("arrive", {"at": "dropoff"}, "AtDropoff"),
       ("complete", None, "Completed"))


class Actor:
    """`field` is shared, `dice` is its own."""

    def __init__(self, field, dice):
        self.field, self.dice = field, dice
        self.http = requests.Session()
        self.http.headers["Authorization"] = "Bearer " + field.token
        self.retries = 0

    def insist(self, path, body, status=200, seconds=60):
        key, until = str(uuid.UUID(int=self.dice.getrandbits(128))), \
            time.monotonic() + seconds
        answers = []
        # now and then once more although it was answered
        while len(answers) < 1 + (self.dice.random() < 0.1):
            try:
                reply = self.http.post(self.field.url + path, json=body,
                                       headers={"Idempotency-Key": key},
                                       timeout=10)
                if reply.status_code < 500:
                    assert reply.status_code == status, (path, reply.text)
                    answers.append(reply.json())
                    continue
            except requests.RequestException:
                pass
            assert time.monotonic() < until, "%s: no answer" % path
            self.retries += 1
            threading.Event().wait(0.05)
        assert all(answer == answers[0] for answer in answers), path
        return answers[0]

    def place(self, provider, external_id):
        return self.insist("/deliveries", {
            "provider": provider, "externalId": external_id,
            "pickup": PICKUP, "dropoff": DROPOFF}, 201)

    def bring(self, delivery, serials, until=len(WAY), cancels=False, gives=0,
              dwell=0):
        """Takes so many steps, and up to `dwell` seconds for each; yields each
        status that it came to. After `gives` of them, of up to three, the first
        robot leaves it to the second."""
        path, (serial, other) = "/deliveries/" + delivery["id"], serials
        yield "Created"
        steps = list(WAY[:until])
        if 0 < gives <= until:
            steps = steps[:gives] + steps
        for number, (word, body, status) in enumerate(steps):
            if number == gives > 0:
                serial = other
            threading.Event().wait(dwell * self.dice.random())
            if word is None:
                self.load(path, serial)
            else:
                self.insist("%s/%s" % (path, word), {"serial": serial}
                            if word == "assign" else body)
            yield status
        if cancels:
            self.insist(path + "/cancel", {"reason": "judged"})
            yield "Canceled"

    def load(self, path, serial):
        self.field.reports(serial, "PIN_ENTRY_LID_OPEN", lid_opened=True)
        self.field.reports(serial, "PIN_ENTRY_LID_CLOSE",
                           trigger="PIN_ENTRY_CONFIRM")
        await_for(path + " is loaded", lambda: self.http.get(
            self.field.url + path, timeout=10).json()["status"] == LOADED, 60)
