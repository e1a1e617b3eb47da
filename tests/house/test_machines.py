"""The state machines of docs/machines.md are those of the programs."""

import os
import subprocess

from stack import ROOT

DOCS = os.path.join(ROOT, "docs/machines.md")


def drawn(text):
    """What `make docs` would make of a text."""
    program = os.path.join(os.environ.get("COCO_BUILD",
                                          os.path.join(ROOT, "build")),
                           "machines")
    return subprocess.run([program], input=text, capture_output=True,
                          text=True, timeout=30)


def docs():
    with open(DOCS) as file:
        return file.read()


def test_machines_are_drawn_as_they_are():
    done = drawn(docs())
    assert done.returncode == 0, done.stderr
    assert done.stdout == docs(), "docs/machines.md is old: run make docs"


def test_another_transition_would_be_seen():
    for line in ("    INIT --> COMPLETE: LID_CLOSED",
                 "    AtDropoff --> Completed: complete\n",
                 "    stopped --> on_trip: trip_resume, trip_start\n"):
        assert line in docs()
        spoilt = docs().replace(line, "    INIT --> Idle: LID_CLOSED")
        assert drawn(spoilt).stdout == docs()


def test_a_section_without_an_end_is_refused():
    done = drawn("<!-- machine lid -->\n")
    assert done.returncode == 1
    assert "<!-- end -->" in done.stderr
