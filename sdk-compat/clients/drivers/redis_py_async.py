"""redis-py, asyncio, by `from_url`."""

import redis.asyncio as redis
from lines import serve, tls


class Driver:
    async def open(self, url, protocol):
        self.client = redis.from_url(url, protocol=int(protocol), **tls())
        self.queued = []
        return await self.client.ping()

    async def call(self, *words):
        return await self.client.execute_command(*words)

    def queue(self, *words):
        self.queued.append(words)

    async def run(self, transaction=False):
        pipe = self.client.pipeline(transaction=transaction)
        for words in self.queued:
            pipe.execute_command(*words)
        self.queued = []
        return len(await pipe.execute())

    async def pipeline(self):
        return await self.run()

    async def multi(self):
        return await self.run(transaction=True)

    async def listen(self, channel):
        self.listener = self.client.pubsub(ignore_subscribe_messages=True)
        await self.listener.subscribe(channel)
        return await self.listener.get_message(timeout=5) is None

    async def message(self):
        while (message := await self.listener.get_message(timeout=5)) is None:
            pass
        return message["data"]


serve(Driver())
