#!/usr/bin/env bash
# `redis://name@host`, a user without a password: redis-py 8.1.0 and ioredis 6.0.0 authenticate as `name` with an
# empty password; node-redis 6.3.1 sends no AUTH at all and goes on as the user `default`, without a word. A listener
# records the first bytes of each.
#
# Matters wherever the user name selects something (an ACL user with `nopass`, a namespace). `redis://name:-@host`
# sends the name with all three.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0
(cd "$work" && echo '{"private":true,"type":"module"}' >package.json && npm install --silent --no-audit --no-fund ioredis@6.0.0 redis@6.3.1)
cat >"$work/try.py" <<'PY'
import socket, subprocess, sys

node, python = sys.argv[1:3]
CLIENTS = {
    "redis-py 8.1.0": [python, "-c", "import redis,sys; redis.Redis.from_url(sys.argv[1]).ping()"],
    "ioredis 6.0.0": ["node", "--input-type=module", "-e",
        "import R from 'ioredis'; const r=new R(process.argv[1],{retryStrategy:null}); r.on('error',()=>{}); r.ping().catch(()=>{})"],
    "node-redis 6.3.1": ["node", "--input-type=module", "-e",
        "import {createClient} from 'redis'; const r=createClient({url:process.argv[1],socket:{reconnectStrategy:false}}); r.on('error',()=>{}); r.connect().catch(()=>{})"],
}
# Whether the user is named if the URL has no password; with one, all name it.
EXPECTED = {"redis-py 8.1.0": True, "ioredis 6.0.0": True, "node-redis 6.3.1": False}

failed = False
for name, command in CLIENTS.items():
    for password in ("", ":-"):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(20)
            url = f"redis://checkout{password}@127.0.0.1:{listener.getsockname()[1]}"
            child = subprocess.Popen(command + [url], cwd=node, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            connection, _ = listener.accept()
            connection.settimeout(20)
            first = connection.recv(65536)
            connection.close()
        child.kill()
        child.wait()
        named = b"checkout" in first
        print(f"{name:18} redis://checkout{password}@..  names the user: {named}")
        failed |= named != (bool(password) or EXPECTED[name])
sys.exit(failed)
PY
"$work/env/bin/python" "$work/try.py" "$work" "$work/env/bin/python"
