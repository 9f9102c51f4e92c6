"""Looking inside a running cluster: where data is, where it is hot, and whether its copies are equal."""
import glob
import mmap
import subprocess

from harness import program, wait_until
from test_operator import Shell


def write(file, keys, value):
    commands = "; ".join(f"set {key} {value}" for key in keys)
    subprocess.run([program("quoincli"), "-C", file, "--exec", f"writemode on; begin; {commands}; commit"], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30)


def test_locations_and_hot_ranges_are_shown(scratch, _):
    file = scratch.start_cluster()
    shell = Shell(file)
    write(file, ["hello", "world"], "x" * 100)
    found = shell.good("locations hello")["shards"]
    assert len(found) == 1 and found[0]["begin"] <= "hello" < found[0]["end"], found
    assert len({server["zone"] for server in found[0]["servers"]}) == 2, found
    every = shell.good('locations "" \\xff\\xff')["shards"]
    assert every[0]["begin"] == "" and every[-1]["end"] == "\\xff\\xff" and len(every) > 2, every
    assert all(left["end"] == right["begin"] for left, right in zip(every, every[1:])), every
    servers = shell.good("hotrange")["servers"]
    assert len(servers) == 3 and not any(server["error"] for server in servers), servers
    wait_until("a range is read", lambda: any(server["ranges"] for server in shell.good("hotrange readops")["servers"]), 20, 0.2)
    assert len(shell.good(f"hotrange {servers[0]['address']} bytes 1")["servers"]) == 1
    shell.refused("hotrange 127.0.0.1:1", "no storage server")
    shell.refused("hotrange warmest", "readbytes")
    shell.refused("locations b a", "begins at")
    shell.refused("locations \\xff\\xff", "not in the database")


def spoil(folder, text):
    """Changes the first byte of `text` in one store, wherever it stands there, while its server runs. Returns how often."""
    for path in sorted(glob.glob(f"{folder}/**/storage-*/lmdb/data.mdb", recursive=True)):
        with open(path, "r+b") as data, mmap.mmap(data.fileno(), 0) as store:
            count, at = 0, store.find(text)
            while at >= 0:
                store[at] ^= 1
                count, at = count + 1, store.find(text, at + 1)
            if count > 0:
                return count
    return 0


def test_a_damaged_copy_is_found_and_fetched_again(scratch, _):
    # Three copies on three servers: where there is a fourth, a merge may take the shard away from the damage before a scan sees it.
    file = scratch.start_cluster("--redundancy", "triple", "--knob", "dd_scan_interval_us=1000000", "--knob", "storage_commit_interval_us=100000")
    shell = Shell(file)
    value = "this-value-will-be-damaged"
    write(file, ["rotten"], value)
    wait_until("it is on a disk and was damaged there", lambda: spoil(scratch.path("cluster"), value.encode()) > 0, 30, 0.5)
    wait_until("a copy is fetched again", lambda: shell.good("consistencycheck")["scan"]["lifetime"]["replicas_repaired"] > 0, 40, 0.5)
    found = shell.good("consistencycheck")["scan"]
    assert not found["findings"] and "damaged" in found["repaired"][0], found
    assert not [message for message in shell.cluster()["messages"] if message["name"] == "consistency_scan_finding"]
    assert shell.good("get rotten")["value"] == value
    assert len(shell.good("locations rotten")["shards"][0]["servers"]) == 3
