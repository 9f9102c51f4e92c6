"""libquoin.so through ctypes: no more of it than the stack machine needs. Results are bytes; an error is raised as Error."""
import ctypes
import os
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_int64, c_void_p, string_at


class Error(Exception):
    def __init__(self, code):
        super().__init__(f"error {code}")
        self.code = code


class Pair(ctypes.Structure):
    _pack_ = 4
    _fields_ = [("key", c_void_p), ("key_length", c_int), ("value", c_void_p), ("value_length", c_int)]


class Selector(ctypes.Structure):
    _fields_ = [("key", c_char_p), ("key_length", c_int), ("or_equal", c_bool), ("offset", c_int)]


class RangeOptions(ctypes.Structure):
    _fields_ = [("limit", c_int), ("target_bytes", c_int), ("mode", c_int), ("iteration", c_int), ("snapshot", c_bool),
                ("reverse", c_bool)]


class Slice(ctypes.Structure):
    _fields_ = [("data", c_char_p), ("length", c_int)]


class RawSlice(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("length", c_int)]

    def bytes(self):
        return string_at(self.data, self.length) if self.length else b""


class Path(ctypes.Structure):
    _fields_ = [("names", POINTER(Slice)), ("count", c_int)]


class RawPath(ctypes.Structure):
    _fields_ = [("names", POINTER(RawSlice)), ("count", c_int)]


class Names(ctypes.Structure):
    _fields_ = [("count", c_int), ("names", POINTER(RawSlice))]


class Buffer(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("length", c_int)]


def load(path):
    library = ctypes.CDLL(path)
    for name in ("get", "get_range", "get_key", "commit", "on_error", "get_read_version", "get_versionstamp", "get_approximate_size",
                 "get_estimated_range_size", "get_range_split_points"):
        getattr(library, "quoin_transaction_" + name).restype = c_void_p
    library.quoin_directory_layer.restype = RawSlice
    library.quoin_directory_path.restype = RawPath
    return library


def check(code):
    if code != 0:
        raise Error(code)


class Database:
    def __init__(self, library, cluster, version):
        self.library = library
        self.handle = c_void_p()
        check(library.quoin_open(os.fsencode(cluster), byref(self.handle)))
        check(library.quoin_database_set_api_version(self.handle, version))

    def transaction(self):
        return Transaction(self)

    def run(self, body):
        """body(transaction), again and again until it commits."""
        transaction = self.transaction()
        while True:
            try:
                result = body(transaction)
                transaction.commit()
                return result
            except Error as error:
                transaction.on_error(error.code)

    def close(self):
        self.library.quoin_database_destroy(self.handle)


class Transaction:
    def __init__(self, db):
        self.library = db.library
        self.handle = c_void_p()
        check(self.library.quoin_transaction_create(db.handle, byref(self.handle)))

    def __del__(self):
        self.library.quoin_transaction_destroy(self.handle)

    def _wait(self, future, read=None):
        """The future's end, and what read(future) makes of it."""
        future = c_void_p(future)
        try:
            check(self.library.quoin_future_block_until_ready(future))
            check(self.library.quoin_future_get_error(future))
            return None if read is None else read(future)
        finally:
            self.library.quoin_future_destroy(future)

    def get(self, key, snapshot=False):
        def read(future):
            present, value, length = c_bool(), c_void_p(), c_int()
            check(self.library.quoin_future_get_value(future, byref(present), byref(value), byref(length)))
            return string_at(value, length.value) if present.value and length.value else b"" if present.value else None
        return self._wait(self.library.quoin_transaction_get(self.handle, key, len(key), c_bool(snapshot)), read)

    def get_key(self, key, or_equal, offset, snapshot=False):
        def read(future):
            value, length = c_void_p(), c_int()
            check(self.library.quoin_future_get_key(future, byref(value), byref(length)))
            return string_at(value, length.value) if length.value else b""
        selector = Selector(key, len(key), or_equal, offset)
        return self._wait(self.library.quoin_transaction_get_key(self.handle, selector, c_bool(snapshot)), read)

    def get_range_once(self, begin, end, limit, mode, iteration, reverse, snapshot):
        def read(future):
            pairs, count, more = POINTER(Pair)(), c_int(), c_bool()
            check(self.library.quoin_future_get_range(future, byref(pairs), byref(count), byref(more)))
            out = [(string_at(pairs[i].key, pairs[i].key_length) if pairs[i].key_length else b"",
                    string_at(pairs[i].value, pairs[i].value_length) if pairs[i].value_length else b"") for i in range(count.value)]
            return out, more.value
        options = RangeOptions(limit, 0, mode, iteration, snapshot, reverse)
        return self._wait(self.library.quoin_transaction_get_range(self.handle, Selector(begin[0], len(begin[0]), begin[1], begin[2]),
                                                                   Selector(end[0], len(end[0]), end[1], end[2]), options), read)

    def get_range(self, begin, end, limit=0, mode=-2, reverse=False, snapshot=False):
        """All of it; begin and end are (key, or_equal, offset)."""
        out, iteration, left = [], 0, limit
        while True:
            iteration += 1
            found, more = self.get_range_once(begin, end, left, mode, iteration, reverse, snapshot)
            out += found
            if found and reverse:
                end = (found[-1][0], False, 1)
            elif found:
                begin = (found[-1][0], True, 1)
            left -= len(found) if limit else 0
            if not more or (limit and left <= 0):
                return out

    def get_all(self, begin, end):
        return self.get_range((begin, False, 1), (end, False, 1))

    def get_estimated_range_size(self, begin, end):
        self._wait(self.library.quoin_transaction_get_estimated_range_size(self.handle, begin, len(begin), end, len(end)))

    def get_range_split_points(self, begin, end, chunk):
        self._wait(self.library.quoin_transaction_get_range_split_points(self.handle, begin, len(begin), end, len(end), c_int64(chunk), 0))

    def get_read_version(self):
        def read(future):
            number = c_int64()
            check(self.library.quoin_future_get_int64(future, byref(number)))
            return number.value
        return self._wait(self.library.quoin_transaction_get_read_version(self.handle), read)

    def set_read_version(self, version):
        self.library.quoin_transaction_set_read_version(self.handle, c_int64(version))

    def get_committed_version(self):
        number = c_int64()
        check(self.library.quoin_transaction_get_committed_version(self.handle, byref(number)))
        return number.value

    # A write that is refused is remembered by the transaction.
    def set(self, key, value):
        self.library.quoin_transaction_set(self.handle, key, len(key), value, len(value))

    def clear(self, key):
        self.library.quoin_transaction_clear(self.handle, key, len(key))

    def clear_range(self, begin, end):
        self.library.quoin_transaction_clear_range(self.handle, begin, len(begin), end, len(end))

    def atomic(self, code, key, param):
        self.library.quoin_transaction_atomic(self.handle, code, key, len(key), param, len(param))

    def add_conflict_range(self, kind, begin, end):
        check(self.library.quoin_transaction_add_conflict_range(self.handle, kind, begin, len(begin), end, len(end)))

    def set_option(self, code):
        check(self.library.quoin_transaction_set_option(self.handle, code, None, 0))

    def set_number_option(self, code, number):
        check(self.library.quoin_transaction_set_option(self.handle, code, number.to_bytes(8, "little"), 8))

    def commit(self):
        self._wait(self.library.quoin_transaction_commit(self.handle))

    def on_error(self, code):
        self._wait(self.library.quoin_transaction_on_error(self.handle, code))

    def reset(self):
        self.library.quoin_transaction_reset(self.handle)

    def cancel(self):
        self.library.quoin_transaction_cancel(self.handle)


def _path(names):
    slices = (Slice * max(len(names), 1))(*(Slice(name.encode(), len(name.encode())) for name in names))
    return Path(slices, len(names))


class Directory:
    """A handle of libquoin's directory layer."""

    def __init__(self, library, handle):
        self.library, self.handle = library, handle

    def __del__(self):
        self.library.quoin_directory_destroy(self.handle)

    @classmethod
    def root(cls, library, node_prefix, content_prefix, manual):
        handle = c_void_p()
        check(library.quoin_directory_root(byref(Slice(node_prefix, len(node_prefix))), byref(Slice(content_prefix, len(content_prefix))),
                                           c_bool(manual), byref(handle)))
        return cls(library, handle)

    def _opened(self, function, transaction, *arguments):
        handle = c_void_p()
        check(function(transaction.handle, self.handle, *arguments, byref(handle)))
        return Directory(self.library, handle)

    def create_or_open(self, transaction, path, layer):
        return self._opened(self.library.quoin_directory_create_or_open, transaction, _path(path), layer, len(layer or b""))

    def open(self, transaction, path, layer):
        return self._opened(self.library.quoin_directory_open, transaction, _path(path), layer, len(layer or b""))

    def create(self, transaction, path, layer, prefix):
        slice_ = byref(Slice(prefix, len(prefix))) if prefix is not None else None
        return self._opened(self.library.quoin_directory_create, transaction, _path(path), layer, len(layer or b""), slice_)

    def move(self, transaction, old, new):
        return self._opened(self.library.quoin_directory_move, transaction, _path(old), _path(new))

    def move_to(self, transaction, new):
        return self._opened(self.library.quoin_directory_move_to, transaction, _path(new))

    def remove(self, transaction, path, must_exist):
        existed = c_bool()
        check(self.library.quoin_directory_remove(transaction.handle, self.handle, _path(path), None if must_exist else byref(existed)))

    def exists(self, transaction, path):
        found = c_bool()
        check(self.library.quoin_directory_exists(transaction.handle, self.handle, _path(path), byref(found)))
        return found.value

    def list(self, transaction, path):
        names = POINTER(Names)()
        check(self.library.quoin_directory_list(transaction.handle, self.handle, _path(path), byref(names)))
        out = [names.contents.names[i].bytes().decode() for i in range(names.contents.count)]
        self.library.quoin_names_destroy(names)
        return out

    def layer(self):
        return self.library.quoin_directory_layer(self.handle).bytes()

    def path(self):
        path = self.library.quoin_directory_path(self.handle)
        return [path.names[i].bytes().decode() for i in range(path.count)]

    def prefix(self):
        buffer = Buffer()
        check(self.library.quoin_directory_subspace(self.handle, byref(buffer)))
        out = string_at(buffer.data, buffer.length) if buffer.length else b""
        self.library.quoin_subspace_done(byref(buffer))
        return out
