"""A rate limit without coordination: each node counts what it and the others have let through in this minute. Nodes
hear of each other some milliseconds late, so a few calls more than the limit may pass."""

import time

from miso_crdt import MisoObject

LIMIT = 3


def allowed(limits, user, now):
    return limits.get_gcounter(f"{int(now // 60)}:{user}").add() <= LIMIT


with MisoObject(id="limits") as limits:
    now = time.time()
    for call in range(1, 6):
        print(f"call {call}: {'let through' if allowed(limits, 'ann', now) else 'refused'}")
    print(f"next minute: {'let through' if allowed(limits, 'ann', now + 60) else 'refused'}")
    limits.delete()
