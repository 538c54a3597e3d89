"""The page that is made of what was found."""


def spoken(names, expected):
    """For whom connections spoke: for the function, or for what else, by RESP2 and by RESP3."""
    told = ["yes" if name == expected else "refused" if name.startswith("error") else f"**{name}**" for name in names]
    if len(set(told)) == 1:
        return told[0]
    return " ".join(f"{each} (RESP{version})" for version, each in zip("23", told))


def kinds(found, which):
    """The types of replies of one protocol."""
    types = found.get(which)
    return "no" if types is None else ", ".join(f"{types[name]}" for name in ("counter", "set", "map", "flag"))


def yes(value):
    return "yes" if value else "**no**"


def reconnected(found):
    failed, name = found.get("reconnect", (0, None))
    if name is None:
        return "**not by itself**"
    calls = {0: "goes on", 1: "1 call fails"}.get(failed, f"{failed} calls fail")
    return calls if name == "shop" else f"{calls}, then **{name}**"


def lost(found, which="lost"):
    if which not in found:
        return "not run"
    count, told = found[which]
    tells = {"nothing": "tells nothing", "an error": "tells an error", "no end": "does not end in 12 s"}[told]
    if count == 1:
        return f"counts once, {tells}"
    return f"**counts {count if count < 4 else 'many'} times**, {tells}"


def encrypted(found):
    return " / ".join(yes(each) for each in found["tls"]) if "tls" in found else "not run"


def row(client, found):
    if client.url == "URL":
        named = f"{spoken(found['named'], 'shop')} / {spoken(found['no password'], 'shop')} / {spoken(found['encoded'], 'shop/cart')}"
    else:
        named = f"{spoken(found['named'], 'shop')}, by {'hand' if 'hand' in client.url else 'options'}"
    together = f"{yes(found.get('pipeline'))} / {yes(found.get('multi'))} / {yes(found.get('messages'))}"
    cells = [client.name, found["version"], named, kinds(found, "RESP2"), kinds(found, "RESP3"), yes(found.get("exact")),
             together, encrypted(found), reconnected(found), lost(found), f"{client.set}: {lost(found, 'careful')}" if client.set else "-"]
    return "| " + " | ".join(cells) + " |"


PAGE = """\
# Stock clients

Written by `python3 sdk-compat/clients/run.py` (part of `cargo xtask platforms`), which installs each client, starts a
node behind a proxy and drives all clients by the same lines. CI runs the first ones again and fails if a row is stale.

**The function by URL.** The user name of the URL is the function. Tried are `redis://shop:-@host`, `redis://shop@host`
and `redis://shop%2Fcart:-@host`. A name in bold is what the connection spoke for instead: `default` means that the user
name was dropped, and nobody said so. Always write a password (`-` will do in open mode), ask `MISO.FUNCTION` once after
connecting, or set `require-function yes` where the server has it.

**Types** are those of replies to PNCOUNTER.GET, ORSET.MEMBERS, ORMAP.GETALL and EWFLAG.GET in the client's language;
"no" means that the client does not speak that protocol. All seven types were written and read in each. **Exact** tells
whether a counter of 2^53 + 1 comes back whole.

**TLS** tells three things, by `rediss://` and as a user that is bound to a function: the client connects where it trusts
the CA of the node's certificate, and refuses the node where it does not; with a certificate of its own where
`tls-auth-clients yes` asks for one, and is refused without; with a function's token as its password. redis-cli is in
`tests/tests/tls.rs`.

**After a cut** every connection is ended once; the next calls are made one by one. **A lost reply**: one
`PNCOUNTER.ADD .. 1` runs, its reply is thrown away and its connection is ended. What counts more than once was sent again
by the client. The last column says what a program that counts sets, and what the same lost reply did then. The SDKs of
[sdk-compat](../sdk-compat/README.md) do so.

| client | version | function by URL | types in RESP2 | types in RESP3 | exact | pipeline / MULTI / messages | TLS | after a cut | a lost reply | for counting, set |
|---|---|---|---|---|---|---|---|---|---|---|
ROWS

Drivers are in [sdk-compat/clients/drivers](../sdk-compat/clients/drivers). phpredis, valkey-glide, hiredis and the two
of Perl take no URL: they are given the parts of one. hedis takes one, drops its user name and sends the password alone,
which is refused.
"""
