"""Presence: each user's device says when it was last seen; silence for 30 s means that the user is away."""

import asyncio
import time

from miso_crdt import AsyncMisoObject

AWAY = 30


async def main():
    async with AsyncMisoObject(id="room-7") as room:
        last_seen = room.get_ormap("lastSeen")

        async def present(now):
            return ", ".join(sorted([user async for user, when in last_seen.items() if now - when < AWAY]))

        start = time.time()
        await asyncio.gather(last_seen.set("ann", start), last_seen.set("bob", start))
        print(f"at first: {await present(start)}")
        await last_seen.set("ann", start + 40)
        print(f"after 40 s: {await present(start + 40)}")
        await last_seen.delete("ann")
        print(f"after ann has left: {await present(start + 40) or 'nobody'}")
        await room.delete()


asyncio.run(main())
