"""Random streams of instructions for stack machines: data, tuples, versionstamps, conflicts, threads and directories, from a seed."""
import random

from stack_machine import ATOMICS
from tuples import Stamp, Uuid, double, pack, single

PLAIN_ATOMICS = [name for name in ATOMICS if "VERSIONSTAMPED" not in name]
# What may be done twice: for runs in which processes die, where a commit whose answer was lost is tried again.
REPEATABLE = ["BIT_AND", "BIT_OR", "MAX", "MIN", "BYTE_MIN", "BYTE_MAX"]
NAMES = ["a", "b", "c", "d"]
FENCE = 6  # more than any offset of a selector
LAYERS = [None, None, b"one", b"two", b"partition"]


class Stream:
    """Writes only below `work`, so that several streams run side by side. Where the same instructions give other bytes each time (versionstamps,
    allocated prefixes) it writes below work + b"free", which is not compared."""

    def __init__(self, seed, prefix, version, killing):
        self.random = random.Random(seed)
        self.version, self.killing = version, killing
        self.work = prefix + b"/work/"
        self.log = prefix + b"/log/"
        self.out = []
        self.logs = 0
        self.directories = []
        self.prefix = prefix
        self.threads = []  # streams of their own, which a tester runs beside this one

    # ---- parts ----

    def add(self, name, *item):
        self.out.append((name, *item))

    def push(self, *items):
        """In the order in which they are popped."""
        for item in reversed(items):
            self.add("PUSH", item)

    def key(self):
        return self.work + pack(self.random.choice(["x", "y"]), self.random.randrange(30))

    def range(self):
        keys = [self.key(), self.key()]
        return keys if self.random.random() < 0.1 else sorted(keys)

    def value(self):
        return self.random.randbytes(self.random.choice([0, 1, 4, 8, 20]))

    def item(self, depth=0):
        r = self.random
        kinds = [
            lambda: None, lambda: r.randbytes(r.randrange(6)), lambda: "".join(r.choice("a\0\u00e9\u4e2d") for _ in range(r.randrange(5))),
            lambda: r.randrange(-2 ** r.randrange(1, 70), 2 ** r.randrange(1, 70)), lambda: r.choice([True, False]),
            lambda: single(r.uniform(-1e6, 1e6)), lambda: double(r.uniform(-1e12, 1e12)), lambda: Uuid(r.randbytes(16)),
            lambda: Stamp(b"\x00" + r.randbytes(11)),
        ]
        if depth < 2:
            kinds.append(lambda: [self.item(depth + 1) for _ in range(r.randrange(4))])
        return r.choice(kinds)()

    def suffix(self, snapshot=True):
        if self.killing:
            return "_DATABASE"
        return self.random.choice(["", "", "_SNAPSHOT", "_DATABASE"] if snapshot else ["", "", "_DATABASE"])

    def wait(self):
        self.add("WAIT_FUTURE")

    def read(self, name, *parameters):
        self.push(*parameters)
        self.add(name + self.suffix())
        self.wait()
        if self.killing:
            self.keep()

    def keep(self):
        """Writes what was read. Not by LOG_STACK: the tester's forgets what it had written when its commit is tried again."""
        self.push(self.log + b"%05d" % len(self.out))
        self.add("SET_DATABASE")
        self.wait()

    def write(self, name, *parameters):
        suffix = self.suffix(False)
        self.push(*parameters)
        self.add(name + suffix)
        if suffix == "_DATABASE":
            self.wait()

    def log_stack(self):
        if self.killing:
            self.add("EMPTY_STACK")
            return
        self.push(self.log + b"%04d/" % self.logs)
        self.add("LOG_STACK")
        self.logs += 1

    def end_transaction(self):
        if self.killing:
            return
        way = self.random.random()
        if way < 0.8:
            self.add("COMMIT")
            self.wait()
            if self.random.random() < 0.1:
                self.read("GET", self.key())  # 2017
            self.add("RESET")
        elif way < 0.85:
            self.add("CANCEL")
            self.read("GET", self.key())
            self.add("RESET")
        elif way < 0.95:
            self.push(self.random.choice([1007, 1020, 1021, 2000, 2017]))
            self.add("ON_ERROR")
            self.wait()
            self.add("RESET")
        else:
            self.add("NEW_TRANSACTION")

    # ---- what a stream is made of ----

    def data(self):
        r = self.random
        mode = r.choice([-2, -1, 0, 1, 2, 3, 4])
        limit = r.choice([0, 0, 1, 3, 10]) if mode != 0 else r.choice([0, 2, 5, 50])
        offset = r.choice([-3, -1, 0, 1, 2, 5])
        atomics = REPEATABLE if self.killing else PLAIN_ATOMICS
        kind = r.randrange(15)
        if kind < 3:
            self.write("SET", self.key(), self.value())
        elif kind < 4:
            self.write("CLEAR", self.key())
        elif kind < 5:
            begin, end = sorted(self.range())
            self.write("CLEAR_RANGE", begin, end)
        elif kind < 7:
            self.write("ATOMIC_OP", r.choice(atomics), self.key(), self.value())
        elif kind < 9:
            self.read("GET", self.key())
        elif kind < 10:
            self.read("GET_KEY", self.work + pack("x", 10 + r.randrange(10)), int(r.random() < 0.5), offset, self.work + b"\x02")
        elif kind < 12:
            self.read("GET_RANGE", *self.range(), limit, int(r.random() < 0.5), mode)
        elif kind < 14 and kind >= 13:
            self.write("CLEAR_RANGE_STARTS_WITH", self.work + pack(r.choice(["x", "y"]), r.randrange(30)))
        elif kind < 13:
            self.read("GET_RANGE_STARTS_WITH", self.work + pack(r.choice(["x", "y"])), limit, int(r.random() < 0.5), mode)
        else:
            self.read("GET_RANGE_SELECTOR", self.key(), 0, 1, self.key(), int(r.random() < 0.5), r.choice([0, 1]), limit,
                      int(r.random() < 0.5), mode, self.work)

    def questions(self):
        begin, end = sorted(self.range())
        self.push(begin, end)
        self.add("GET_ESTIMATED_RANGE_SIZE" + ("_DATABASE" if self.killing else ""))
        self.push(begin, end, 10000)
        self.add("GET_RANGE_SPLIT_POINTS" + ("_DATABASE" if self.killing else ""))

    def conflicts(self):
        """Two transactions, of which the second read what the first wrote: 1020 unless the read leaves no conflict."""
        if self.killing:
            return
        r = self.random
        key = self.key()
        one, other = self.prefix + b"one", self.prefix + b"other"  # a tester has one table of transactions for all of its threads
        for name in (one, other):
            self.push(name)
            self.add("USE_TRANSACTION")
            self.add("RESET")
            self.add("GET_READ_VERSION")
        way = r.randrange(4)
        if way == 0:
            self.push(key)
            self.add("GET" + r.choice(["", "_SNAPSHOT"]))
            self.wait()
        elif way == 1:
            self.push(key)
            self.add("READ_CONFLICT_KEY")
        elif way == 2:
            self.push(*sorted([key, self.key()]))
            self.add("READ_CONFLICT_RANGE")
        self.push(self.key(), self.value())
        self.add("SET")
        self.push(one)
        self.add("USE_TRANSACTION")
        if r.random() < 0.3:
            self.add("DISABLE_WRITE_CONFLICT")
        if r.random() < 0.8:
            self.push(key, self.value())
            self.add("SET")
        else:
            self.push(key)
            self.add("WRITE_CONFLICT_KEY")
        for name in (one, other):
            self.push(name)
            self.add("USE_TRANSACTION")
            self.add("COMMIT")
            self.wait()
            self.add("RESET")

    def tuples(self):
        r = self.random
        items = [self.item() for _ in range(r.randrange(4))]
        way = r.randrange(5)
        self.push(len(items), *items)
        if way < 2:
            self.add("TUPLE_PACK")
            if way == 1:
                self.add("TUPLE_UNPACK")
        elif way == 2:
            self.add("TUPLE_RANGE")
        elif way == 3:
            self.add("EMPTY_STACK")
            packed = [pack(self.item(), self.item()) for _ in range(r.randrange(5))]
            self.push(len(packed), *packed)
            self.add("TUPLE_SORT")
        else:
            self.add("EMPTY_STACK")
            self.push(single(r.uniform(-10, 10)).bits)
            self.add("ENCODE_FLOAT")
            self.push(double(r.uniform(-10, 10)).bits)
            self.add("ENCODE_DOUBLE")
            self.add("DUP")
            self.add("DECODE_DOUBLE")
            self.push(r.randrange(100), r.randrange(2 ** 40))
            self.add("SUB")
            self.push(b"con", b"cat")
            self.add("CONCAT")
            self.push(1)
            self.add("SWAP")

    def stamps(self):
        if self.killing:
            return
        r = self.random
        items = [r.randrange(100), Stamp(b"\xff" * 10 + b"\x00\x07"), b"end"]
        way = r.randrange(4)
        if way == 0:
            items[1] = b"none"
        if way == 1:
            items.append([Stamp(b"\xff" * 12)])
        self.push(self.work + b"free", len(items), *items)
        self.add("TUPLE_PACK_WITH_VERSIONSTAMP")
        if way >= 2:  # the packed key is on the stack already: the value goes below it
            self.push(b"of the stamped key")
            self.push(1)
            self.add("SWAP")
            self.push("SET_VERSIONSTAMPED_KEY")
            self.add("ATOMIC_OP")
        self.end_stamped()

    def end_stamped(self):
        self.add("GET_VERSIONSTAMP")
        self.add("COMMIT")
        self.wait()
        self.push(1)
        self.add("SWAP")
        self.add("POP")
        self.add("RESET")

    # ---- directories ----

    def start_directories(self):
        """1: nodes, 2: contents, 3: a layer of its own with prefixes by hand."""
        self.push(0, self.work + b"free/node")
        self.add("DIRECTORY_CREATE_SUBSPACE")
        self.push(0, self.work + b"free/content")
        self.add("DIRECTORY_CREATE_SUBSPACE")
        self.push(1, 2, 1)
        self.add("DIRECTORY_CREATE_LAYER")
        self.push(3)
        self.add("DIRECTORY_SET_ERROR_INDEX")
        self.push(3)
        self.add("DIRECTORY_CHANGE")
        self.directories = ["root", "subspace", "subspace", "layer"]

    def path(self, least=1):
        return [self.random.choice(NAMES) for _ in range(self.random.randrange(least, 3))]

    def directory_target(self):
        return "_DATABASE" if self.killing or self.random.random() < 0.5 else ""

    def directory(self):
        r = self.random
        self.push(r.choice([3] + list(range(3, len(self.directories)))))
        self.add("DIRECTORY_CHANGE")
        way = r.randrange(13)
        path, other, layer = self.path(), self.path(), r.choice(LAYERS)
        target = self.directory_target()
        if way < 3:
            self.push(len(path), *path, layer)
            self.add("DIRECTORY_CREATE_OR_OPEN" + target)
            self.directories.append("directory")
        elif way < 4 and not self.killing:
            by_hand = r.choice([None, self.work + b"free/hand%d" % r.randrange(20)])
            self.push(len(path), *path, layer, by_hand)
            self.add("DIRECTORY_CREATE" + target)
            self.directories.append("directory")
        elif way < 5:
            self.push(len(path), *path, layer)
            self.add("DIRECTORY_OPEN" + target)
            self.directories.append("directory")
        elif way < 6 and not self.killing:
            self.push(len(path), *path, len(other), *other)
            self.add("DIRECTORY_MOVE" + target)
            self.directories.append("directory")
        elif way < 7 and not self.killing and r.random() < 0.4:
            self.push(len(other), *other)
            self.add("DIRECTORY_MOVE_TO" + target)
            self.directories.append("directory")
        elif way < 7:
            self.push(1, len(path), *path)
            self.add("DIRECTORY_REMOVE_IF_EXISTS" + target)
        elif way < 8 and not self.killing:
            self.push(1, len(path), *path)
            self.add("DIRECTORY_REMOVE" + target)
        elif way < 10:
            self.push(1, len(path), *path)
            self.add(("DIRECTORY_LIST" if self.killing else r.choice(["DIRECTORY_LIST", "DIRECTORY_EXISTS"])) + target)
            if self.killing:
                self.keep()
        elif way < 11:
            self.push(self.log + b"directory/%d/" % len(self.out))
            self.add("DIRECTORY_LOG_DIRECTORY_DATABASE")
        else:
            self.subspace()
            return
        if not self.killing:
            self.add("COMMIT")
            self.wait()
            self.add("RESET")

    def subspace(self):
        """Of the two with known prefixes."""
        r = self.random
        items = [self.item() for _ in range(r.randrange(1, 4))]
        self.push(r.choice([1, 2]))
        self.add("DIRECTORY_CHANGE")
        way = r.randrange(5)
        if way == 4:
            self.push(self.log + b"subspace/%d/" % len(self.out))
            self.add("DIRECTORY_LOG_SUBSPACE_DATABASE")
        elif way == 0:
            self.push(len(items), *items)
            self.add("DIRECTORY_PACK_KEY")
            self.add("DIRECTORY_UNPACK_KEY")
        elif way == 1:
            self.push(len(items), *items)
            self.add("DIRECTORY_RANGE")
        elif way == 2:
            self.push(r.choice([self.key(), self.work + b"free/node" + pack(1)]))
            self.add(r.choice(["DIRECTORY_CONTAINS", "DIRECTORY_STRIP_PREFIX"]))
        else:
            self.push(len(items), *items)
            self.add("DIRECTORY_OPEN_SUBSPACE")
            self.directories.append("subspace")

    # ---- threads ----

    def mark(self, number):
        return self.prefix + b"/running/%d/" % number

    def start_thread(self, count):
        """Its keys are below this stream's, where nobody else writes; it clears its mark at its end."""
        number = len(self.threads)
        thread = Stream(self.random.random(), self.prefix + b"/thread%d" % number, self.version, self.killing)
        thread.build(count)
        thread.push(self.mark(number))
        thread.add("CLEAR_DATABASE")
        thread.wait()
        self.threads.append(thread)
        self.push(self.mark(number), b"running")
        self.add("SET_DATABASE")
        self.wait()
        self.push(thread.prefix)
        self.add("START_THREAD")

    def wait_for_threads(self):
        self.push(self.prefix + b"/running/")
        self.add("WAIT_EMPTY")

    def make(self, count):
        """What to store: (prefix, instructions) of the stream and of its threads."""
        self.start_thread(count // 6)
        self.start_thread(count // 6)
        self.add("UNIT_TESTS")
        self.build(count - sum(len(thread.out) for thread in self.threads))
        self.wait_for_threads()
        self.log_stack()
        return [(stream.prefix, [pack(*instruction) for instruction in stream.out]) for stream in [self, *self.threads]]

    def fence(self):
        """Keys around those of key(), which nothing clears: no selector walks out to where another thread writes, which would be a conflict, or none,
        as it happens."""
        for side in ("a", "z"):
            for i in range(FENCE):
                self.push(self.work + pack(side, i), b"fence")
                self.add("SET_DATABASE")
                self.wait()

    def build(self, count):
        self.fence()
        self.add("NEW_TRANSACTION")
        self.start_directories()
        while len(self.out) < count:
            draw = self.random.random()
            if draw < 0.55:
                for _ in range(self.random.randrange(1, 6)):
                    self.data()
                self.end_transaction()
            elif draw < 0.6:
                self.questions()
            elif draw < 0.7:
                self.conflicts()
            elif draw < 0.8:
                self.tuples()
            elif draw < 0.87:
                self.stamps()
            else:
                self.directory()
            self.log_stack()
