"""Stands between the processes of a cluster, one TCP port before each, and breaks what passes.

usage: tests/real/relay.py PUBLIC:REAL...          ports of 127.0.0.1; one pair a process

Whoever dials PUBLIC gets a connection to REAL. Commands are lines of JSON on stdin, each answered by one line of JSON with the
counts so far. It ends with stdin.

  {"rules": [RULE...]}            replaces all rules; what was held goes on
  {"now": "reset" | "half-open", "from": .., "to": .., "side": "dialler" | "listener"}
                                  resets connections that are up, or closes one side of them and lets the other believe in it

A RULE: {"do": .., "from": .., "to": .., "way": .., ...}. `from` is the public port of the process that dialled, or "client"; `to`
the public port that it dialled; either may be missing: any. `way` is "there" (what the dialler sends), "back", or missing: both.

  cut        nothing passes, and nobody is told; goes on when the rule goes (as TCP does when a network comes back)
  delay      "ms": [low, high] for each piece of a stream, in order
  corrupt    "chance": of a piece; one bit of it is flipped
  reset      "chance": of a piece; its connection is reset in its place
  refuse     new connections are reset

Who dialled is read from the hello that every connection begins with. Nothing is polled, and a connection holds at most two
pieces of 64 KiB each way.

example:
  tests/real/relay.py 4500:5500 4501:5501 <<< '{"rules": [{"do": "cut", "to": 4501, "way": "there"}]}'
"""
import asyncio
import json
import random
import sys

PIECE_BYTES = 65536
HEADER_BYTES = 32  # of a frame; a hello's body follows


def msgpack_uint(data, at):
    """(number, where the next thing begins)"""
    kind = data[at]
    if kind < 0x80:
        return kind, at + 1
    size = {0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8}[kind]
    return int.from_bytes(data[at + 1:at + 1 + size], "big"), at + 1 + size


def who_dialled(piece):
    """A hello's address as a port, "client", or None: version, both halves of the cluster id, client or not, [ip, port]."""
    try:
        at = HEADER_BYTES + 1
        for _ in range(3):
            _, at = msgpack_uint(piece, at)
        if piece[at] == 0xc3:
            return "client"
        _, at = msgpack_uint(piece, at + 2)
        return msgpack_uint(piece, at)[0]
    except (IndexError, KeyError):
        return None


class Relay:
    def __init__(self):
        self.rules = []
        self.changed = asyncio.Event()  # of the rules; a new one each time
        self.links = set()
        self.counts = {"links": 0, "pieces": 0, "cut": 0, "delay": 0, "corrupt": 0, "reset": 0, "refuse": 0, "half-open": 0}

    def set_rules(self, rules):
        self.rules = rules
        self.changed.set()
        self.changed = asyncio.Event()

    async def accept(self, port, real, reader, writer):
        if any(rule["do"] == "refuse" and rule.get("to", port) == port and "from" not in rule for rule in self.rules):
            self.counts["refuse"] += 1
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", real, limit=PIECE_BYTES)
        except OSError:
            writer.transport.abort()
            return
        self.counts["links"] += 1
        link = Link(self, port, (reader, writer), there)
        self.links.add(link)
        try:
            await link.run()
        finally:
            self.links.discard(link)

    async def command(self, line):
        command = json.loads(line)
        if "rules" in command:
            self.set_rules(command["rules"])
        if "now" in command:
            for link in list(self.links):
                if link.matches(command):
                    self.counts[command["now"]] += 1
                    link.reset() if command["now"] == "reset" else link.half_open(command["side"])
        return self.counts


class Link:
    """One connection, as its two sides: (reader, writer) towards the dialler and towards the listener."""

    def __init__(self, relay, port, dialler, listener):
        self.relay = relay
        self.to = port
        self.source = None
        self.sides = {"dialler": dialler, "listener": listener}
        self.halved = False

    def matches(self, rule):
        return rule.get("to", self.to) == self.to and rule.get("from", self.source) == self.source

    def rule(self, what, way):
        for rule in self.relay.rules:
            if rule["do"] == what and rule.get("way", way) == way and self.matches(rule):
                return rule
        return None

    def reset(self):
        for _, writer in self.sides.values():
            writer.transport.abort()

    def half_open(self, side):
        """`side` keeps its connection; what it sends goes nowhere, and nothing comes back."""
        self.halved = True
        other = "listener" if side == "dialler" else "dialler"
        self.sides[other][1].transport.abort()

    async def run(self):
        await asyncio.gather(self.pump("there", "dialler", "listener"), self.pump("back", "listener", "dialler"))

    async def pump(self, way, source, target):
        reader, writer = self.sides[source][0], self.sides[target][1]
        try:
            while piece := await reader.read(PIECE_BYTES):
                if way == "there" and self.source is None:
                    self.source = who_dialled(piece)
                if self.halved:
                    continue
                piece = await self.treat(way, piece)
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        if not self.halved:
            for _, one in self.sides.values():
                one.close()

    async def treat(self, way, piece):
        counts = self.relay.counts
        counts["pieces"] += 1
        if rule := self.rule("delay", way):
            counts["delay"] += 1
            await asyncio.sleep(random.uniform(*rule["ms"]) / 1000)
        while self.rule("cut", way):
            counts["cut"] += 1
            await self.relay.changed.wait()
        rule = self.rule("reset", way)
        if rule and random.random() < rule["chance"]:
            counts["reset"] += 1
            self.reset()
        rule = self.rule("corrupt", way)
        if rule and random.random() < rule["chance"]:
            counts["corrupt"] += 1
            piece = bytearray(piece)
            piece[random.randrange(len(piece))] ^= 1 << random.randrange(8)
        return piece


async def serve(pairs):
    relay = Relay()
    for public, real in pairs:
        def accepted(reader, writer, public=public, real=real):
            return relay.accept(public, real, reader, writer)
        await asyncio.start_server(accepted, "127.0.0.1", public, limit=PIECE_BYTES)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print(json.dumps({"ready": True}), flush=True)
    while line := await commands.readline():
        print(json.dumps(await relay.command(line)), flush=True)


def main():
    if "--help" in sys.argv or "-h" in sys.argv or len(sys.argv) < 2:
        print(__doc__, end="", file=sys.stdout if len(sys.argv) > 1 else sys.stderr)
        return 0 if len(sys.argv) > 1 else 2
    asyncio.run(serve([tuple(map(int, pair.split(":"))) for pair in sys.argv[1:]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
