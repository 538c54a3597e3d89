"""redis-py, blocking: by `from_url`, or by `Redis(host, port)` with `constructor`."""

import os
import sys
import urllib.parse

import redis
from lines import serve, tls
from redis.backoff import NoBackoff
from redis.retry import Retry


class Driver:
    def open(self, url, protocol):
        if "constructor" in sys.argv:
            parts = urllib.parse.urlsplit(url)
            login = {"username": parts.username, "password": parts.password}
            if encrypted := tls():
                login |= {"ssl": True, **encrypted}
            if "CAREFUL" in os.environ:
                login["retry"] = Retry(NoBackoff(), 0)
            self.client = redis.Redis(parts.hostname, parts.port, protocol=int(protocol), **login)
        else:
            self.client = redis.from_url(url, protocol=int(protocol), **tls())
        self.queued = []
        return self.client.ping()

    def call(self, *words):
        return self.client.execute_command(*words)

    def queue(self, *words):
        self.queued.append(words)

    def run(self, transaction=False):
        pipe = self.client.pipeline(transaction=transaction)
        for words in self.queued:
            pipe.execute_command(*words)
        self.queued = []
        return len(pipe.execute())

    def pipeline(self):
        return self.run()

    def multi(self):
        return self.run(transaction=True)

    def listen(self, channel):
        self.listener = self.client.pubsub(ignore_subscribe_messages=True)
        self.listener.subscribe(channel)
        return self.listener.get_message(timeout=5) is None

    def message(self):
        while (message := self.listener.get_message(timeout=5)) is None:
            pass
        return message["data"]


serve(Driver())
