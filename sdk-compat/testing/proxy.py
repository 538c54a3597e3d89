"""TCP proxies that stand between clients and nodes, and between nodes, and do what networks do."""

import asyncio

import resp

MARK = b"MISO.ONCE"
ROW = resp.command(MARK).replace(b"*1\r\n", b"*1\r\n*7\r\n", 1) + b":-2\r\n*1\r\n+write\r\n:0\r\n:0\r\n:0\r\n*0\r\n"


class Proxy:
    """One port in front of another."""

    def __init__(self):
        self.target = None
        self.open = True
        self.lost = None  # What the command contains whose reply is lost.
        self.pairs = set()

    async def listen(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        if not self.open or self.target is None:
            return writer.close()
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return writer.close()
        pair = (writer, upstream[1])
        self.pairs.add(pair)
        try:
            await self.between(reader, writer, *upstream)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # An end of one side is the end of both; a cancelled one ends with the program.
        finally:
            self.pairs.discard(pair)
            for side in pair:
                side.close()

    async def between(self, reader, writer, up_reader, up_writer):
        """Passes bytes both ways until either side ends."""
        state = {"lose": False}

        async def pump(source, sink, from_client):
            while data := await source.read(65536):
                if from_client and self.lost and self.lost in data.upper():
                    state["lose"], self.lost = True, None
                elif not from_client and state["lose"]:
                    return
                sink.write(data)
                await sink.drain()

        pumps = [asyncio.ensure_future(pump(reader, up_writer, True)), asyncio.ensure_future(pump(up_reader, writer, False))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def cut(self):
        """Ends every connection and takes no new one."""
        self.open = False
        self.drop()

    def drop(self):
        for pair in self.pairs.copy():
            for side in pair:
                side.transport.abort()

    def heal(self):
        self.open = True


class ClientProxy(Proxy):
    """In front of a node's client port. It can also show a server that knows `MISO.ONCE`, or one that does not."""

    def __init__(self, kept):
        super().__init__()
        self.once = None  # None passes everything; True plays MISO.ONCE; False hides it.
        self.kept = kept  # Replies by id, of all nodes.

    async def between(self, reader, writer, up_reader, up_writer):
        if self.once is None:
            return await super().between(reader, writer, up_reader, up_writer)

        async def ask(command):
            up_writer.write(command)
            return await resp.frame(up_reader)

        transaction = None
        while True:
            raw = await resp.frame(reader)
            words = resp.words(raw)
            verb = words[0].upper()
            lost = self.lost and self.lost in raw.upper()
            if verb == b"COMMAND" and words[-1].upper() == MARK:
                reply = ROW if self.once else b"*1\r\n*-1\r\n"
            elif verb == MARK and not self.once:
                reply = b"-ERR unknown command 'MISO.ONCE', with args beginning with: \r\n"
            elif verb == MARK and words[2].upper() == b"MULTI":
                transaction, reply = words[1], await ask(resp.command(b"MULTI"))
            elif verb == MARK:
                reply = self.kept.get(words[1])
                if reply is None:
                    reply = await ask(resp.command(*words[2:]))
                    if not reply.startswith(b"-"):  # A write that answered an error has not used its id.
                        self.kept[words[1]] = reply
            elif verb == b"EXEC" and transaction is not None:
                if transaction in self.kept:
                    await ask(resp.command(b"DISCARD"))
                else:
                    self.kept[transaction] = await ask(raw)
                reply, transaction = self.kept[transaction], None
            else:
                reply = await ask(raw)
            if lost:
                self.lost = None
                return
            writer.write(reply)
            await writer.drain()
