"""Quotes and plans once more, slowly: each robot of /supply's rows is looked
at. It must never share code with what it is compared with.
"""

import math
import struct

import numpy
from scipy.optimize import linear_sum_assignment

RADIUS = 6371008.8              # m, IUGG's mean
NONE = float("inf")


class Rules:
    """conf/coco.conf's, unless told otherwise."""

    def __init__(self, area=(), chargers=()):
        self.speed, self.detour, self.dwell = 1.5, 1.35, 120.0
        self.per_km, self.per_hour, self.reserve = 2.5, 1.0, 10.0
        self.reach = 20000.0
        self.area, self.chargers = area, chargers


def distance(a, b):
    """Haversine, metres."""
    north, south = (math.radians(p["latitude"]) for p in (a, b))
    east = math.radians(b["longitude"] - a["longitude"])
    half = (math.sin((south - north) / 2) ** 2
            + math.cos(north) * math.cos(south) * math.sin(east / 2) ** 2)
    return 2 * RADIUS * math.asin(math.sqrt(min(1.0, half)))


def inside(area, place):
    """Even-odd, on the flat map."""
    y, x, odd = place["latitude"], place["longitude"], False
    for i, (ay, ax) in enumerate(area):
        by, bx = area[i - 1]
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            odd = not odd
    return odd or not area


class Robot:
    """A row, as precisely as the supply keeps it."""

    def __init__(self, row):
        self.serial, self.reasons = row["serial"], set(row["reasons"])
        self.known = row["location"] is not None
        if self.known:
            self.place = {name: round(row["location"][name] * 1e7) / 1e7
                          for name in ("latitude", "longitude")}
            self.battery, = struct.unpack("f", struct.pack("f",
                                                           row["battery"]))


class Trip:
    def __init__(self, rules, pickup, dropoff, wait=0.0):
        """wait: seconds until it is ready."""
        self.rules, self.pickup, self.dropoff = rules, pickup, dropoff
        self.wait = wait
        self.meters = rules.detour * distance(pickup, dropoff)
        charger = min((rules.detour * distance(dropoff, c)
                       for c in rules.chargers), default=0.0)
        self.after = rules.reserve + self.energy(charger,
                                                 charger / rules.speed)
        seconds = rules.dwell + self.meters / rules.speed
        self.reasons = set()
        if not (inside(rules.area, pickup) and inside(rules.area, dropoff)):
            self.reasons.add("OUT_OF_AREA")
        if self.energy(self.meters, seconds) + self.after > 100:
            self.reasons.add("BATTERY_RANGE")

    def energy(self, meters, seconds):
        return (self.rules.per_km * meters / 1000
                + self.rules.per_hour * seconds / 3600)

    def by(self, robot):
        """(reasons of the trip, pickup ETA, drop-off ETA, metres, battery)"""
        rules, reasons = self.rules, set(self.reasons)
        if not robot.known:
            return reasons, NONE, NONE, NONE, NONE
        way = rules.detour * distance(robot.place, self.pickup)
        eta = way / rules.speed
        end = max(eta, self.wait) + rules.dwell + self.meters / rules.speed
        battery = robot.battery - self.energy(way + self.meters, end)
        if not inside(rules.area, robot.place):
            reasons.add("OUT_OF_AREA")
        if way > rules.reach:
            reasons.add("TOO_FAR")
        if battery < self.after:
            reasons.add("BATTERY_RANGE")
        return reasons, eta, end, way + self.meters, battery


def best(robots, trip):
    """(serial, ETA, drop-off ETA, metres, battery) or None, and {serial:
    reasons} of all."""
    explained, found = {}, []
    for robot in robots:
        reasons, *cost = trip.by(robot)
        explained[robot.serial] = robot.reasons | reasons
        if not explained[robot.serial]:
            found.append((cost[0], robot.serial.encode(), robot.serial, cost))
    if not found:
        return None, explained
    _, _, serial, cost = min(found)
    return (serial, *cost), explained


def plan(robots, trips):
    """(served, total), as many as possible first, by scipy."""
    usable = [robot for robot in robots if not robot.reasons]
    if not usable or not trips:
        return 0, 0.0
    cost = numpy.full((len(trips), len(usable)), NONE)
    for i, trip in enumerate(trips):
        for j, robot in enumerate(usable):
            reasons, eta, *_ = trip.by(robot)
            if not reasons:
                cost[i, j] = eta
    allowed = numpy.isfinite(cost)
    most = cost[allowed].max() if allowed.any() else 0
    row, column = linear_sum_assignment(
        numpy.where(allowed, cost, (most + 1) * (min(cost.shape) + 1)))
    kept = allowed[row, column]
    return int(kept.sum()), float(cost[row[kept], column[kept]].sum())
