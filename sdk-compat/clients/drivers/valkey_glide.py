"""valkey-glide for Python. It takes no URL: host, user and password are options."""

import urllib.parse

import glide
from lines import serve


class Driver:
    def settings(self, url, protocol):
        parts = urllib.parse.urlsplit(url)
        user = urllib.parse.unquote(parts.username or "")
        login = glide.ServerCredentials(username=user, password=parts.password) if parts.password else None
        version = {"2": glide.ProtocolVersion.RESP2, "3": glide.ProtocolVersion.RESP3}[protocol]
        return {"addresses": [glide.NodeAddress(parts.hostname, parts.port)], "credentials": login,
                "protocol": version, "request_timeout": 2000}

    async def open(self, url, protocol):
        self.options = self.settings(url, protocol)
        self.client = await glide.GlideClient.create(glide.GlideClientConfiguration(**self.options))
        self.queued = []
        return await self.client.ping()

    async def call(self, *words):
        return await self.client.custom_command(list(words))

    def queue(self, *words):
        self.queued.append(list(words))

    async def run(self, atomic):
        batch = glide.Batch(is_atomic=atomic)
        for words in self.queued:
            batch.custom_command(words)
        self.queued = []
        return len(await self.client.exec(batch, raise_on_error=True))

    async def pipeline(self):
        return await self.run(False)

    async def multi(self):
        return await self.run(True)

    async def listen(self, channel):
        modes = glide.GlideClientConfiguration.PubSubChannelModes
        subscriptions = glide.GlideClientConfiguration.PubSubSubscriptions({modes.Exact: {channel}}, None, None)
        config = glide.GlideClientConfiguration(**self.options, pubsub_subscriptions=subscriptions)
        self.listener = await glide.GlideClient.create(config)
        return True

    async def message(self):
        return (await self.listener.get_pubsub_message()).message


serve(Driver())
