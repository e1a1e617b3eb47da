"""What is wrong between the partners' ledgers and our books: nothing, when
each partner heard every status once, in order, and no position too early or too
late. Must never ask a server anything: it is given all it judges.
"""

import collections

from partner_field import MAP, STATUS

# of a push: how it is told and where it stands
Push = collections.namedtuple("Push",
                              "provider external number status state")
# of a position that was once claimed: the delivery's status then
Position = collections.namedtuple("Position", "external status")


def judge(entries, pushes, positions, history, late):
    """Findings, each a sentence. `entries` are those of the ledgers, oldest
    first; pushes {key: Push} and positions {key: Position} are our books,
    history {external id: [(number, status)]}. `late` is how many ms a call may
    be under way."""
    calls = [entry for entry in entries if entry["key"]]
    statuses, places = [], []
    for call in calls:
        words = MAP[call["partner"]]["statuses"].values()
        told = call["body"].get(STATUS[call["partner"]]) in words
        (statuses if told else places).append(call)
    return (bytes_changed(calls) + books_differ(pushes, history)
            + unknown(statuses, pushes) + out_of_order(statuses, pushes)
            + misplaced(statuses, places, pushes, positions, late))


def accepted(calls):
    """{key: the call by which the partner took it first}"""
    taken = {}
    for call in calls:
        if call["status"] == 200:
            taken.setdefault(call["key"], call)
    return taken


def bytes_changed(calls):
    digests = collections.defaultdict(set)
    for call in calls:
        digests[call["key"]].add((call["digest"], call["path"]))
    return ["%s came with %d bodies" % (key, len(found))
            for key, found in digests.items() if len(found) > 1]


def books_differ(pushes, history):
    """A push for each change, and for nothing else."""
    booked = collections.defaultdict(list)
    for push in pushes.values():
        booked[push.external].append((push.number, push.status))
    return ["%s: pushes %s, history %s" % (external, sorted(booked[external]),
                                           history.get(external))
            for external in {*booked, *history}
            if sorted(booked[external]) != history.get(external)]


def unknown(calls, pushes):
    found = []
    for call in calls:
        push, name = pushes.get(call["key"]), call["partner"]
        if push is None:
            found.append("%s is a key of no push" % call["key"])
        elif (name, call["delivery"], call["body"][STATUS[name]]) != (
                push.provider, push.external,
                MAP[name]["statuses"][push.status]):
            found.append("%s tells of something else" % call["key"])
    return found


def out_of_order(calls, pushes):
    """Each status is taken, or refused for good, before the next one comes."""
    first, ended = {}, {}
    for call in calls:
        first.setdefault(call["key"], call["came"])
        if call["status"] in (200, 422):
            ended.setdefault(call["key"], call)
    taken, found = accepted(calls), []
    deliveries = collections.defaultdict(list)
    for key, push in pushes.items():
        deliveries[push.external].append((push.number, key))
    for external, keys in deliveries.items():
        before = None
        for number, key in sorted(keys):
            state = pushes[key].state
            if state == "DELIVERED" and key not in taken:
                found.append("%s %d was not heard" % (external, number))
            elif state != "DELIVERED" and key in taken:
                found.append("%s %d was heard, and is %s" % (
                    external, number, state))
            elif state not in ("DELIVERED", "REFUSED"):
                found.append("%s %d is %s" % (external, number, state))
            if before and key in first and (
                    before not in ended
                    or ended[before]["at"] > first[key]):
                found.append("%s %d came before the one before it was heard"
                             % (external, number))
            before = key
        heard = [taken[key]["at"] for _, key in sorted(keys) if key in taken]
        if heard != sorted(heard):
            found.append("%s was heard out of order" % external)
    return found


def misplaced(statuses, places, pushes, positions, late):
    """A position comes when its status was heard, and no later than a call may
    be under way once the next was."""
    taken, found = accepted(statuses), []
    deliveries = collections.defaultdict(list)
    for key, push in pushes.items():
        deliveries[push.external].append((push.number, push.status, key))
    for call in places:
        position = positions.get(call["key"])
        if position is None or position.external != call["delivery"]:
            found.append("%s is a key of no position" % call["key"])
            continue
        told = sorted(deliveries[position.external])
        those = [number for number, status, _ in told
                 if status == position.status]
        for number, status, key in told:
            heard = key in taken and taken[key]["at"]
            if heard and number <= those[0] and call["came"] < heard:
                found.append("%s: a position came before %s" % (
                    position.external, status))
            if heard and number > those[-1] and call["came"] > heard + late:
                found.append("%s: a position of %s came after %s" % (
                    position.external, position.status, status))
    return found
