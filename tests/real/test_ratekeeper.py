"""The ratekeeper with real processes: it dies under load, and a disk that is nearly full."""
import json
import os
import subprocess

from checking import Checker, in_a_namespace, small_disk, where
from harness import program, wait_until


def shell(file, commands, timeout=5):
    done = subprocess.run([program("quoincli"), "-C", file, "--timeout", str(timeout), "--exec", commands], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout + 20)
    return done.returncode, done.stdout.decode(errors="replace")


def cluster_of(file):
    return json.loads(shell(file, "status json")[1])["cluster"]


def hosts_of(file, role):
    return [process["address"] for process in cluster_of(file)["processes"].values() if role in [r["role"] for r in process["roles"]]]


def names_of(file):
    return [message["name"] for message in cluster_of(file)["messages"]]


def test_singletons_die_under_load_and_are_replaced(scratch, _):
    file = scratch.start_cluster()
    checker = Checker(scratch, file)
    for role in ("ratekeeper", "data_distributor"):
        wait_until(f"there is a {role}", lambda role=role: len(hosts_of(file, role)) == 1, 20, 0.2)
        checker.goes_on("before", 20)
        epoch, pid = cluster_of(file)["generation"], scratch.local_cluster("kill", role, *where(scratch)).stdout.split()[-1]
        wait_until(f"another {role}", lambda role=role: hosts_of(file, role) and pid not in [
            str(p["pid"]) for p in cluster_of(file)["processes"].values() if role in [r["role"] for r in p["roles"]]], 20, 0.2)
        checker.goes_on(f"the {role} has died", 20)
        assert cluster_of(file)["generation"] >= epoch
    qos = cluster_of(file)["qos"]
    assert qos["rate_leases_lapsed"] == 0 and "performance_limited_by" in qos, qos
    checker.end()
    print(f"      {checker.verify()}")


def free_bytes(directory):
    space = os.statvfs(directory)
    return space.f_bavail * space.f_frsize


def test_on_a_disk_that_is_nearly_full_clears_alone_commit(scratch, _):
    if in_a_namespace("test_on_a_disk_that_is_nearly_full_clears_alone_commit"):
        return
    disk = scratch.path("cluster")
    small_disk(scratch, disk, 512)
    file = scratch.start_cluster("--processes", "one")
    status, text = shell(file, "writemode on; set a 1; set b 2")
    assert status == 0, text
    filler = os.path.join(disk, "filler")
    with open(filler, "wb") as out:  # what is left lies between the reserve (64 MiB) and what holds back sets (115 MiB)
        os.posix_fallocate(out.fileno(), 0, free_bytes(disk) - (90 << 20))
    wait_until("status says that sets are held back", lambda: "sets_held_back" in names_of(file), 20, 0.2)
    said = [m["description"] for m in cluster_of(file)["messages"] if m["name"] == "sets_held_back"][0]
    assert "127.0.0.1:" in said and " MB left" in said, said
    # The ratekeeper says so first; the proxies hear of it with their next lease. From then on no set gets through.
    wait_until("sets are held back", lambda: shell(file, "writemode on; set c 3", timeout=2)[0] != 0, 5, 0.1)
    for _again in range(3):
        status, text = shell(file, "writemode on; set c 3", timeout=1)
        assert status != 0, text
    status, text = shell(file, "writemode on; clear a")
    assert status == 0, text
    os.unlink(filler)
    wait_until("sets go on", lambda: shell(file, "writemode on; set c 3", timeout=2)[0] == 0, 30, 0.2)
    status, text = shell(file, "getrange a z")
    assert status == 0 and "c" in text and "`a'" not in text, text
    assert "sets_held_back" not in names_of(file)


def started_a_second(file, *flags):
    """What a load of reads gets."""
    done = subprocess.run([program("quoin-bench"), "--cluster", file, "--workload", "get", "--keys", "1000", "--clients", "4", "--warmup", "0.5",
                           "--seconds", "2", "--json", *flags], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60, check=True)
    return json.loads(done.stdout)["transactions_per_s"]


def good(file, command):
    status, text = shell(file, command)
    assert status == 0, text
    return text


def test_a_tag_that_overloads_is_limited_by_itself(scratch, _):
    # No disk here is slow: by these knobs what waits for the next commit of the engine counts as too much.
    file = scratch.start_cluster("--processes", "one", "--knob", "ratekeeper_durability_lag_us=1000000", "--knob", "storage_commit_interval_us=3000000")
    autos = lambda: cluster_of(file)["qos"]["throttled_tags"]["auto"]
    assert autos()["count"] == 0 and "There are no throttled" in good(file, "throttle list")
    load = subprocess.Popen([program("quoin-bench"), "--cluster", file, "--workload", "put", "--keys", "100", "--clients", "4", "--seconds", "60",
                             "--tag", "greedy"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until("the ratekeeper limits the tag", lambda: autos()["count"] == 1, 20, 0.1)
        assert autos()["busy_write"] == 1 and autos()["recommended_only"] == 0, autos()
        wait_until("the list shows it", lambda: "greedy" in good(file, "throttle list"), 10, 0.1)
        listed = good(file, "throttle list")
        assert "auto" in listed and "greedy" not in good(file, "throttle list recommended"), listed
        good(file, "throttle disable auto")
        wait_until("it is recommended alone", lambda: autos()["recommended_only"] == 1, 10, 0.1)
        assert "greedy" not in good(file, "throttle list") and "greedy" in good(file, "throttle list recommended")
        good(file, "throttle enable auto")
        wait_until("it holds again", lambda: autos()["recommended_only"] == 0 and "greedy" in good(file, "throttle list"), 10, 0.1)
    finally:
        load.kill()
        load.wait()
    # What the load has left behind presses for some seconds more. By itself the limit would stay for ten seconds after that.
    wait_until("`throttle off auto` ends it", lambda: "There were no tags" in good(file, "throttle off auto") and autos()["count"] == 0 and
               "There are no throttled" in good(file, "throttle list"), 13, 0.3)


def test_a_tag_is_limited_by_hand_and_nobody_else(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    free = started_a_second(file, "--tag", "greedy")
    assert free > 200, free
    good(file, "throttle on tag greedy 20 10m")
    assert "greedy" in good(file, "throttle list") and "There are no recommended" in good(file, "throttle list recommended")
    wait_until("the ratekeeper knows", lambda: cluster_of(file)["qos"]["throttled_tags"]["manual"]["count"] == 1, 10, 0.1)
    wait_until("it is limited", lambda: started_a_second(file, "--tag", "greedy") < 60, 10, 0.1)
    assert started_a_second(file, "--tag", "modest") > 200
    assert started_a_second(file) > 200
    for command, words in (("throttle on tag greedy", 0), ("throttle on tag greedy -1", "rate"), ("throttle on tag greedy 1 5", "duration"),
                           ("throttle on tag greedy 1 5s king", "priority"), ("throttle on tag seventeen_letters", "16"), ("throttle off", "throttle"),
                           ("throttle off king", "king"), ("throttle list king", "king"), ("throttle disable", "throttle")):
        status, text = shell(file, command)
        assert (status != 0 and words in text) if words else status == 0, (command, text)
    good(file, "throttle off tag greedy")
    wait_until("it is free again", lambda: started_a_second(file, "--tag", "greedy") > 200, 10, 0.1)
    good(file, "throttle on tag greedy 1 2s")
    wait_until("its time is over", lambda: cluster_of(file)["qos"]["throttled_tags"]["manual"]["count"] == 0, 10, 0.1)
    wait_until("it is cleared", lambda: "There are no throttled" in good(file, "throttle list"), 10, 0.2)
    good(file, "throttle disable auto")
    wait_until("the ratekeeper knows", lambda: cluster_of(file)["qos"]["throttled_tags"]["auto"]["recommended_only"] == 1, 10, 0.1)
    good(file, "throttle enable auto")
