"""A stack machine of our own over libquoin: what FoundationDB's binding testers do, instruction by instruction.

Instructions are tuples at (prefix, i): the operation's name and, for PUSH, the item. Parameters come from the stack, results go
there; an operation of the database fails into the result ("ERROR", code). Reads are done at once, so a stream must wait for each
of a tester's futures (WAIT_FUTURE) before it goes on.
"""
from quoin_library import Directory, Error
from tuples import Double, Single, Stamp, pack, stamp_place, unpack

ATOMICS = {"ADD": 2, "BIT_AND": 6, "BIT_OR": 7, "BIT_XOR": 8, "APPEND_IF_FITS": 9, "MAX": 12, "MIN": 13, "SET_VERSIONSTAMPED_KEY": 14,
           "SET_VERSIONSTAMPED_VALUE": 15, "BYTE_MIN": 16, "BYTE_MAX": 17, "COMPARE_AND_CLEAR": 20}
NOTHING = b"RESULT_NOT_PRESENT"
NEXT_WRITE_NO_WRITE_CONFLICT_RANGE = 30
UNIT_TEST_OPTIONS = [20, 51, 200, 201, 301, 302, 600, 601, 701]
UNIT_TEST_NUMBERS = [500, 501, 502]
# After an error these leave an empty place in the list of directories.
DIRECTORY_MAKERS = {"CREATE_SUBSPACE", "CREATE_LAYER", "CREATE_OR_OPEN", "CREATE", "OPEN", "MOVE", "MOVE_TO", "OPEN_SUBSPACE"}


def increment(prefix):
    prefix = prefix.rstrip(b"\xff")
    return prefix[:-1] + bytes([prefix[-1] + 1])


def error_item(error):
    return pack(b"ERROR", str(error.code).encode())


class Refused(Exception):
    """A tester refuses it without asking the database."""


class Subspace:
    def __init__(self, prefix):
        self.raw = prefix

    def prefix(self):
        return self.raw


class StackMachine:
    def __init__(self, db, library, prefix, version):
        self.db, self.library, self.prefix, self.version = db, library, prefix, version
        self.stack = []
        self.transactions = {}
        self.name = prefix
        self.last_version = 0
        self.at = 0
        self.directories = [Directory.root(library, b"\xfe", b"", False)]
        self.directory = self.directory_of_error = 0

    # ---- the stack ----

    def push(self, item):
        self.stack.append((self.at, item))

    def pop(self):
        return self.stack.pop()[1]

    def pop_many(self):
        return [self.pop() for _ in range(self.pop())]

    def pop_selector(self):
        return self.pop(), bool(self.pop()), self.pop()

    # ---- running ----

    def run(self):
        begin, end = pack(self.prefix) + b"\x00", pack(self.prefix) + b"\xff"
        instructions = self.db.run(lambda transaction: transaction.get_all(begin, end))
        for self.at, (_, instruction) in enumerate(instructions):
            name, *parameters = unpack(instruction)
            self.execute(name, parameters)
        return len(instructions)

    def execute(self, name, parameters):
        base, kind = name, ""
        for suffix in ("_SNAPSHOT", "_DATABASE"):
            if name.endswith(suffix):
                base, kind = name[:-len(suffix)], suffix
        directory = base.startswith("DIRECTORY_")
        run = getattr(self, "op_" + base)
        try:
            if kind == "_DATABASE":
                run(None, *parameters)
            elif kind == "_SNAPSHOT":
                run((self.transactions[self.name], True), *parameters)
            else:
                run((self.transactions.get(self.name), False), *parameters)
        except (Error, Refused) as error:
            if directory:
                if base[len("DIRECTORY_"):] in DIRECTORY_MAKERS:
                    self.directories.append(None)
                self.push(b"DIRECTORY_ERROR")
            else:
                self.push(error_item(error))

    def within(self, target, body):
        """body(transaction, snapshot) in the transaction, or in one of its own that is tried until it commits."""
        if target is not None:
            return body(*target)
        return self.db.run(lambda transaction: body(transaction, False))

    def write(self, target, body):
        self.within(target, lambda transaction, _: body(transaction))
        if target is None:
            self.push(NOTHING)

    # ---- stack operations ----

    def op_PUSH(self, _, item):
        self.push(item)

    def op_POP(self, _):
        self.pop()

    def op_DUP(self, _):
        self.stack.append(self.stack[-1])

    def op_EMPTY_STACK(self, _):
        self.stack.clear()

    def op_SWAP(self, _):
        depth = self.pop()
        self.stack[-1 - depth], self.stack[-1] = self.stack[-1], self.stack[-1 - depth]

    def op_SUB(self, _):
        a, b = self.pop(), self.pop()
        self.push(a - b)

    def op_CONCAT(self, _):
        a, b = self.pop(), self.pop()
        self.push(a + b)

    def op_WAIT_FUTURE(self, _):
        pass

    def op_LOG_STACK(self, _):
        prefix = self.pop()
        entries = [(prefix + pack(i, at), pack(item)[:40000]) for i, (at, item) in enumerate(self.stack)]
        for i in range(0, len(entries), 100):
            self.db.run(lambda transaction: [transaction.set(key, value) for key, value in entries[i:i + 100]])
        self.stack.clear()

    # ---- threads ----

    def op_START_THREAD(self, _):
        """A tester's runs beside it. Ours has done all of it before it goes on: what they write does not meet until WAIT_EMPTY."""
        type(self)(self.db, self.library, self.pop(), self.version).run()

    def op_WAIT_EMPTY(self, _):
        prefix = self.pop()
        if self.db.run(lambda transaction: transaction.get_key(prefix, False, 1, False)).startswith(prefix):
            raise AssertionError(f"nobody is left who would clear {prefix}")
        self.push(b"WAITED_FOR_EMPTY")

    def op_UNIT_TESTS(self, _):
        """What other bindings' testers do there: every option at once, and the transaction still works."""
        transaction = self.db.transaction()
        for option in UNIT_TEST_OPTIONS:
            transaction.set_option(option)
        for option in UNIT_TEST_NUMBERS:
            transaction.set_number_option(option, 60000 if option == 500 else 50)
        transaction.get_read_version()
        transaction.get(b"\xff", False)
        transaction.commit()

    # ---- transactions ----

    def op_NEW_TRANSACTION(self, _):
        self.transactions[self.name] = self.db.transaction()

    def op_USE_TRANSACTION(self, _):
        self.name = self.pop()
        if self.name not in self.transactions:
            self.transactions[self.name] = self.db.transaction()

    def op_COMMIT(self, target):
        target[0].commit()
        self.push(NOTHING)

    def op_ON_ERROR(self, target):
        target[0].on_error(self.pop())
        self.push(NOTHING)

    def op_RESET(self, target):
        target[0].reset()

    def op_CANCEL(self, target):
        target[0].cancel()

    def op_GET_COMMITTED_VERSION(self, target):
        self.last_version = target[0].get_committed_version()
        self.push(b"GOT_COMMITTED_VERSION")

    def op_GET_READ_VERSION(self, target):
        self.last_version = target[0].get_read_version()
        self.push(b"GOT_READ_VERSION")

    def op_SET_READ_VERSION(self, target):
        target[0].set_read_version(self.last_version)

    def op_GET_VERSIONSTAMP(self, _):
        self.push(b"it is another one each time: the stream drops it")

    def op_GET_APPROXIMATE_SIZE(self, _):
        self.push(b"GOT_APPROXIMATE_SIZE")

    # ---- reads ----

    def op_GET(self, target):
        key = self.pop()
        value = self.within(target, lambda transaction, snapshot: transaction.get(key, snapshot))
        self.push(NOTHING if value is None else value)

    def op_GET_KEY(self, target):
        key, or_equal, offset = self.pop_selector()
        prefix = self.pop()
        found = self.within(target, lambda transaction, snapshot: transaction.get_key(key, or_equal, offset, snapshot))
        if found.startswith(prefix):
            self.push(found)
        else:
            self.push(prefix if found < prefix else increment(prefix))

    def _get_range(self, target, begin, end, keep=lambda key: True):
        limit, reverse, mode = self.pop(), bool(self.pop()), self.pop()
        prefix = self.pop() if keep is None else b""
        pairs = self.within(target, lambda transaction, snapshot: transaction.get_range(begin, end, limit, mode, reverse, snapshot))
        self.push(pack(*(part for pair in pairs if pair[0].startswith(prefix) for part in pair)))

    def op_GET_RANGE(self, target):
        begin, end = self.pop(), self.pop()
        self._get_range(target, (begin, False, 1), (end, False, 1))

    def op_GET_RANGE_STARTS_WITH(self, target):
        prefix = self.pop()
        self._get_range(target, (prefix, False, 1), (increment(prefix), False, 1))

    def op_GET_RANGE_SELECTOR(self, target):
        begin = self.pop_selector()
        end = self.pop_selector()
        self._get_range(target, begin, end, None)

    def op_GET_ESTIMATED_RANGE_SIZE(self, target):
        begin, end = self.pop(), self.pop()
        self.within(target, lambda transaction, _: transaction.get_estimated_range_size(begin, end))
        self.push(b"GOT_ESTIMATED_RANGE_SIZE")

    def op_GET_RANGE_SPLIT_POINTS(self, target):
        begin, end, chunk = self.pop(), self.pop(), self.pop()
        self.within(target, lambda transaction, _: transaction.get_range_split_points(begin, end, chunk))
        self.push(b"GOT_RANGE_SPLIT_POINTS")

    # ---- writes ----

    def op_SET(self, target):
        key, value = self.pop(), self.pop()
        self.write(target, lambda transaction: transaction.set(key, value))

    def op_CLEAR(self, target):
        key = self.pop()
        self.write(target, lambda transaction: transaction.clear(key))

    def op_CLEAR_RANGE(self, target):
        begin, end = self.pop(), self.pop()
        self.write(target, lambda transaction: transaction.clear_range(begin, end))

    def op_CLEAR_RANGE_STARTS_WITH(self, target):
        prefix = self.pop()
        self.write(target, lambda transaction: transaction.clear_range(prefix, increment(prefix)))

    def op_ATOMIC_OP(self, target):
        name, key, param = self.pop(), self.pop(), self.pop()
        self.write(target, lambda transaction: transaction.atomic(ATOMICS[name], key, param))

    def _conflict(self, target, kind, begin, end, result):
        target[0].add_conflict_range(kind, begin, end)
        self.push(result)

    def op_READ_CONFLICT_RANGE(self, target):
        begin, end = self.pop(), self.pop()
        self._conflict(target, 0, begin, end, b"SET_CONFLICT_RANGE")

    def op_WRITE_CONFLICT_RANGE(self, target):
        begin, end = self.pop(), self.pop()
        self._conflict(target, 1, begin, end, b"SET_CONFLICT_RANGE")

    def op_READ_CONFLICT_KEY(self, target):
        key = self.pop()
        self._conflict(target, 0, key, key + b"\x00", b"SET_CONFLICT_KEY")

    def op_WRITE_CONFLICT_KEY(self, target):
        key = self.pop()
        self._conflict(target, 1, key, key + b"\x00", b"SET_CONFLICT_KEY")

    def op_DISABLE_WRITE_CONFLICT(self, target):
        target[0].set_option(NEXT_WRITE_NO_WRITE_CONFLICT_RANGE)

    # ---- tuples ----

    def op_TUPLE_PACK(self, _):
        self.push(pack(*self.pop_many()))

    def op_TUPLE_PACK_WITH_VERSIONSTAMP(self, _):
        prefix, items = self.pop(), self.pop_many()
        place = stamp_place(items)
        if place is None or place < 0:
            self.push(b"ERROR: NONE" if place is None else b"ERROR: MULTIPLE")
            return
        self.push(b"OK")
        self.push(prefix + pack(*items) + (len(prefix) + place).to_bytes(4 if self.version >= 520 else 2, "little"))

    def op_TUPLE_UNPACK(self, _):
        for item in unpack(self.pop()):
            self.push(pack(item))

    def op_TUPLE_RANGE(self, _):
        packed = pack(*self.pop_many())
        self.push(packed + b"\x00")
        self.push(packed + b"\xff")

    def op_TUPLE_SORT(self, _):
        for packed in sorted(self.pop_many()):
            self.push(packed)

    def op_ENCODE_FLOAT(self, _):
        self.push(Single(self.pop()))

    def op_ENCODE_DOUBLE(self, _):
        self.push(Double(self.pop()))

    def op_DECODE_FLOAT(self, _):
        self.push(self.pop().bits)

    def op_DECODE_DOUBLE(self, _):
        self.push(self.pop().bits)

    # ---- directories ----

    def current(self, kind=None):
        found = self.directories[self.directory]
        if kind is not None and not isinstance(found, kind):
            raise Refused()
        return found

    def current_prefix(self):
        if self.current() is None:
            raise Refused()
        return self.current().prefix()

    def op_DIRECTORY_CREATE_SUBSPACE(self, _):
        path, raw = self.pop_many(), self.pop()
        self.directories.append(Subspace(raw + pack(*path)))

    def op_DIRECTORY_CREATE_LAYER(self, _):
        node, content, manual = self.directories[self.pop()], self.directories[self.pop()], bool(self.pop())
        known = node is not None and content is not None
        self.directories.append(Directory.root(self.library, node.prefix(), content.prefix(), manual) if known else None)

    def _make(self, target, make):
        parent = self.current(Directory)
        self.directories.append(self.within(target, lambda transaction, _: make(parent, transaction)))

    def op_DIRECTORY_CREATE_OR_OPEN(self, target):
        path, layer = self.pop_many(), self.pop()
        self._make(target, lambda parent, transaction: parent.create_or_open(transaction, path, layer))

    def op_DIRECTORY_CREATE(self, target):
        path, layer, prefix = self.pop_many(), self.pop(), self.pop()
        self._make(target, lambda parent, transaction: parent.create(transaction, path, layer, prefix))

    def op_DIRECTORY_OPEN(self, target):
        path, layer = self.pop_many(), self.pop()
        self._make(target, lambda parent, transaction: parent.open(transaction, path, layer))

    def op_DIRECTORY_MOVE(self, target):
        old, new = self.pop_many(), self.pop_many()
        self._make(target, lambda parent, transaction: parent.move(transaction, old, new))

    def op_DIRECTORY_MOVE_TO(self, target):
        new = self.pop_many()
        self._make(target, lambda parent, transaction: parent.move_to(transaction, new))

    def op_DIRECTORY_CHANGE(self, _):
        self.directory = self.pop()
        if self.directories[self.directory] is None:
            self.directory = self.directory_of_error

    def op_DIRECTORY_SET_ERROR_INDEX(self, _):
        self.directory_of_error = self.pop()

    def _path(self):
        return self.pop_many() if self.pop() == 1 else []

    def op_DIRECTORY_REMOVE(self, target):
        path, parent = self._path(), self.current(Directory)
        self.within(target, lambda transaction, _: parent.remove(transaction, path, True))

    def op_DIRECTORY_REMOVE_IF_EXISTS(self, target):
        path, parent = self._path(), self.current(Directory)
        self.within(target, lambda transaction, _: parent.remove(transaction, path, False))

    def op_DIRECTORY_LIST(self, target):
        path, parent = self._path(), self.current(Directory)
        self.push(pack(*self.within(target, lambda transaction, _: parent.list(transaction, path))))

    def op_DIRECTORY_EXISTS(self, target):
        path, parent = self._path(), self.current(Directory)
        self.push(int(self.within(target, lambda transaction, _: parent.exists(transaction, path))))

    def op_DIRECTORY_PACK_KEY(self, _):
        items = self.pop_many()
        self.push(self.current_prefix() + pack(*items))

    def op_DIRECTORY_UNPACK_KEY(self, _):
        key, prefix = self.pop(), self.current_prefix()
        if not key.startswith(prefix):
            raise Refused()
        for item in unpack(key[len(prefix):]):
            self.push(item)

    def op_DIRECTORY_RANGE(self, _):
        items = self.pop_many()
        packed = self.current_prefix() + pack(*items)
        self.push(packed + b"\x00")
        self.push(packed + b"\xff")

    def op_DIRECTORY_CONTAINS(self, _):
        key = self.pop()
        self.push(int(key.startswith(self.current_prefix())))

    def op_DIRECTORY_OPEN_SUBSPACE(self, _):
        items = self.pop_many()
        self.directories.append(Subspace(self.current_prefix() + pack(*items)))

    def op_DIRECTORY_STRIP_PREFIX(self, _):
        key, prefix = self.pop(), self.current_prefix()
        if not key.startswith(prefix):
            raise Refused()
        self.push(key[len(prefix):])

    def op_DIRECTORY_LOG_SUBSPACE(self, target):
        prefix = self.pop()
        key, value = prefix + pack(self.directory), self.current_prefix()
        self.within(target, lambda transaction, _: transaction.set(key, value))

    def op_DIRECTORY_LOG_DIRECTORY(self, target):
        found, prefix = self.current(Directory), self.pop()
        exists = self.within(target, lambda transaction, _: found.exists(transaction, []))
        children = self.within(target, lambda transaction, _: found.list(transaction, [])) if exists else []
        facts = {"path": pack(*found.path()), "layer": pack(found.layer()), "exists": pack(int(exists)), "children": pack(*children)}
        for name, value in facts.items():
            key = prefix + pack(self.directory, name)
            self.within(target, lambda transaction, _: transaction.set(key, value))
