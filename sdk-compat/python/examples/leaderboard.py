"""Leaderboard: the fastest laps, by Redis's own commands. They need no SDK: a stock client does."""

import os

import redis

BOARD = "fastest-laps"

with redis.from_url(os.environ["MISO_URL"], decode_responses=True) as client:

    def lap(driver, seconds):
        """Only a driver's best lap counts."""
        best = client.zscore(BOARD, driver)
        if best is None or seconds < best:
            client.zadd(BOARD, {driver: seconds})

    lap("ann", 61.5)
    lap("bob", 62.25)
    lap("eve", 64)
    lap("joe", 70.5)
    lap("bob", 60.75)
    lap("ann", 65)
    for place, (driver, seconds) in enumerate(client.zrange(BOARD, 0, 2, withscores=True), 1):
        print(f"{place}. {driver}: {seconds:.2f} s")
    client.delete(BOARD)
