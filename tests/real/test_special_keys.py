"""Special keys of a cluster of many processes, read and written through libfdb_c.so."""
import json
import os
import subprocess
import sys

from harness import BUILD, TOP, wait_until

LIBRARY = os.path.join(TOP, "build", BUILD, "roles/embedded/libfdb_c.so")

# One process a use, for a network runs once in a process's life. stdin: lines of JSON {"set": .., "clear": .., "read": [begin, end]}, each a
# transaction; stdout: a line of JSON each {"error": .., "pairs": {..}, "message": ..}.
CLIENT = r'''
import ctypes, json, sys, threading
lib = ctypes.CDLL(sys.argv[1])
P, I = ctypes.c_void_p, ctypes.c_int
for name in ("get", "get_range", "commit", "on_error"):
    getattr(lib, "fdb_transaction_" + name).restype = P
lib.fdb_select_api_version_impl(720, 720)
lib.fdb_setup_network()
threading.Thread(target=lib.fdb_run_network, daemon=True).start()
db = P()
assert lib.fdb_create_database(sys.argv[2].encode(), ctypes.byref(db)) == 0
class Pair(ctypes.Structure):
    _pack_ = 4
    _fields_ = [("key", P), ("key_length", I), ("value", P), ("value_length", I)]
def wait(f):
    return lib.fdb_future_block_until_ready(P(f)) or lib.fdb_future_get_error(P(f))
def raw(text):
    return b"\xff\xff" + text.encode()
def read(tr, begin, end):
    f = lib.fdb_transaction_get_range(tr, raw(begin), len(raw(begin)), 0, 1, raw(end), len(raw(end)), 0, 1, 0, 0, -2, 0, 0, 0)
    error, pairs, count, more = wait(f), ctypes.POINTER(Pair)(), I(), I()
    if error:
        return error, {}
    lib.fdb_future_get_keyvalue_array(P(f), ctypes.byref(pairs), ctypes.byref(count), ctypes.byref(more))
    return 0, {ctypes.string_at(p.key, p.key_length)[2:].decode("latin-1"): ctypes.string_at(p.value, p.value_length).decode("latin-1")
               for p in (pairs[i] for i in range(count.value))}
for line in sys.stdin:
    asked, tr, pairs, message = json.loads(line), P(), {}, ""
    lib.fdb_database_create_transaction(db, ctypes.byref(tr))
    again = True
    while again: # as every binding does it: the distributor's own transactions may conflict with ours
        lib.fdb_transaction_set_option(tr, 714, None, 0)
        for key, value in asked.get("set", {}).items():
            lib.fdb_transaction_set(tr, raw(key), len(raw(key)), value.encode(), len(value))
        for key in asked.get("clear", []):
            lib.fdb_transaction_clear(tr, raw(key), len(raw(key)))
        error = 0
        if "read" in asked:
            error, pairs = read(tr, *asked["read"])
        else:
            error = wait(lib.fdb_transaction_commit(tr))
            if error == 2117:
                message = read(tr, "/error_message", "/error_message\0")[1]["/error_message"]
        again = error not in (0, 2117) and wait(lib.fdb_transaction_on_error(tr, error)) == 0
    lib.fdb_transaction_destroy(tr)
    print(json.dumps({"error": error, "pairs": pairs, "message": message}), flush=True)
'''


class Keys:
    def __init__(self, scratch, cluster):
        self.process = subprocess.Popen([sys.executable, "-c", CLIENT, LIBRARY, cluster], start_new_session=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        scratch.processes.append(self.process)

    def ask(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def read(self, prefix):
        said = self.ask(read=[prefix, prefix[:-1] + "0"])
        assert said["error"] == 0, said
        return said["pairs"]

    def clear(self, *keys):
        said = self.ask(clear=list(keys))
        assert said["error"] == 0, said

    def set(self, key, value="", **more):
        return self.ask(set={key: value, **more})


def by_class(keys, wanted):
    prefix = "/configuration/process/class_type/"
    return [key[len(prefix):] for key, value in keys.read(prefix).items() if value == wanted]


def why(said, command):
    assert said["error"] == 2117, said
    message = json.loads(said["message"])
    assert message["command"] == command and message["retriable"] is False, message
    return message["message"]


def test_an_exclusion_by_special_key_is_judged_as_the_shells(scratch, _long):
    keys = Keys(scratch, scratch.start_cluster())
    logs, excluded = by_class(keys, "log"), "/management/excluded/"
    assert len(keys.read("/worker_interfaces/")) == len(keys.read("/configuration/process/class_source/")) == 14
    everybody = {excluded + address: "" for address in logs + by_class(keys, "storage")}
    assert "needs processes for logs" in why(keys.ask(set=everybody), "exclude")
    assert keys.set(excluded + logs[0])["error"] == 0
    assert keys.read(excluded) == {excluded + logs[0]: ""}
    assert "/management/in_progress_exclusion/" + logs[0] in keys.read("/management/in_progress_exclusion/")
    wait_until("the log is empty", lambda: keys.read("/management/in_progress_exclusion/") == {}, 40, 0.1)
    assert "needs processes for logs" in why(keys.ask(set={excluded + address: "" for address in logs[1:] + by_class(keys, "storage")[1:]}),
                                             "exclude"), "those that are excluded already count"
    keys.clear(excluded + logs[0])
    assert keys.read(excluded) == {}


def test_the_last_copies_are_not_given_up_without_force(scratch, _long):
    keys = Keys(scratch, scratch.start_cluster("--redundancy", "single"))
    refused = {}
    for address in by_class(keys, "storage"):
        said = keys.set("/management/failed/" + address)
        if said["error"] == 0:
            keys.clear("/management/failed/" + address) # it has none of the shards
        else:
            refused[address] = why(said, "exclude failed")
    assert refused and all("living copies" in message for message in refused.values()), refused
    address = next(iter(refused))
    said = keys.ask(set={"/management/options/failed/force": "", "/management/failed/" + address: ""})
    assert said["error"] == 0, said
    keys.clear("/management/failed/" + address)


def test_metrics_name_every_shard_and_every_server(scratch, _long):
    keys = Keys(scratch, scratch.start_cluster())
    shards = keys.read("/metrics/data_distribution_stats/")
    assert "/metrics/data_distribution_stats/" in shards and all(json.loads(value)["shard_bytes"] >= 0 for value in shards.values()), shards

    def all_are_there():
        health = keys.read("/metrics/health/")
        return health if "/metrics/health/aggregate" in health and any("/log/" in key for key in health) else None

    health = wait_until("the ratekeeper is there", all_are_there, 20, 0.2)
    storage = [json.loads(value) for key, value in health.items() if "/health/storage/" in key]
    assert storage and all({"disk_usage", "storage_durability_lag", "storage_queue"} <= set(one) for one in storage), health
    assert json.loads(health["/metrics/health/aggregate"])["tps_limit"] > 0, health
