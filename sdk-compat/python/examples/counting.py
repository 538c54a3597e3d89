"""Adds each number that comes in on a line, and prints the sum: run it in two shells with one MISO_URL."""

import sys

from miso_crdt import MisoObject

with MisoObject(id="TripData-12345") as so:
    distance = so.get_pncounter("distanceDriven")
    for line in sys.stdin:
        print(distance.add(int(line)))
