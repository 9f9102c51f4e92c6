"""Disks that are full, data directories that are damaged or of another format: named, never served, nothing lost."""
import glob
import os
import subprocess

from checking import Checker, fill, in_a_namespace, small_disk, stands_still, where
from harness import BUILD, TOP, free_ports, program, wait_until

FORGE = os.path.join(TOP, "build", BUILD, "tests/real/quoin-forge")
LOGS, STORES = (3, 4, 5), (6, 7, 8)  # places among the ports of the default cluster: the coordinators come first


def run(*command, timeout=20):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout)
    return done.returncode, done.stdout.decode(errors="replace")


def shell(file, commands, timeout=5):
    return run(program("quoincli"), "-C", file, "--timeout", str(timeout), "--exec", commands)


def inspect(directory):
    return run(program("quoind"), "--inspect", directory)


def data_of(scratch, port, pattern=""):
    """The one data directory's path, or that of its one file that matches."""
    found = glob.glob(scratch.path("cluster", "data", str(port), pattern) if pattern else scratch.path("cluster", "data", str(port)))
    assert len(found) == 1, (pattern, found)
    return found[0]


def logged(scratch, port=""):
    text = ""
    for folder, _, names in os.walk(scratch.path("cluster", "log", str(port))):
        for name in names:
            with open(os.path.join(folder, name), errors="replace") as file:
                text += file.read()
    return text


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def middle_of_queue(path):
    """An offset among the frames: they begin at 4096, and behind the last one the file is zero."""
    with open(path, "rb") as file:
        return (4096 + len(file.read().rstrip(b"\0"))) // 2


def queue_of(scratch, port):
    """The oldest segment of a log's queue."""
    return sorted(glob.glob(scratch.path("cluster", "data", str(port), "log-*", "*.queue")))[0]


def engine_of(scratch, port):
    found = glob.glob(scratch.path("cluster", "data", str(port), "storage-*", "**", "data.mdb"), recursive=True)
    assert len(found) == 1, found
    return found[0]


def values_in(path):
    with open(path, "rb") as file:
        return file.read().count(b"value/")


def port_of(file):
    with open(file) as text:
        return int(text.read().split("@")[1].split(",")[0].split(":")[1])


# ---- full disks ----

def test_a_full_disk_stops_commits_and_loses_nothing(scratch, _):
    if in_a_namespace("test_a_full_disk_stops_commits_and_loses_nothing"):
        return
    disk = scratch.path("cluster")
    small_disk(scratch, disk, 512)
    checker = Checker(scratch, scratch.start_cluster("--processes", "one"))
    checker.goes_on("the start", 20)
    filler = fill(disk)
    wait_until("commits stop", lambda: stands_still(checker), 60)
    os.unlink(filler)
    checker.goes_on("there is space again", 40)
    checker.end()
    print(f"      {checker.verify()}")


def roles_at(scratch, port):
    """What the process hosts, as the cluster's status says."""
    status = scratch.local_cluster("status", *where(scratch), check=False).stdout.splitlines()
    lines = [line for line in status if line.startswith(f"127.0.0.1:{port} ")]
    return lines[0].split()[5:] if lines else []


def full_disk_of(scratch, place, mebibytes):
    """The default cluster with a small disk under one process; returns its checker, the disk and what fills it."""
    port = free_ports(16)
    disk = scratch.path("cluster", "data", str(port + place))
    small_disk(scratch, disk, mebibytes)
    checker = Checker(scratch, scratch.start_cluster(port=port))
    checker.goes_on("the start", 20)
    # An epoch that was recruited before the process had registered would never meet its disk.
    wait_until(f"{port + place} hosts a log", lambda: "log" in roles_at(scratch, port + place), 60, 0.5)
    checker.goes_on("it hosts a log", 20)
    return checker, disk, fill(disk)


def test_a_full_disk_of_one_log(scratch, _):
    if in_a_namespace("test_a_full_disk_of_one_log"):
        return
    checker, _, filler = full_disk_of(scratch, LOGS[0], 160)
    wait_until("commits stop", lambda: stands_still(checker), 60)
    status, text = shell(checker.file, "status")
    assert "disk" in text.lower(), f"the status does not say why commits wait:\n{text}"
    os.unlink(filler)
    checker.goes_on("there is space again", 40)
    checker.end()
    print(f"      {checker.verify()}")


def test_a_full_disk_of_one_storage_server(scratch, _):
    """Its logs keep what it could not store, and commits go on: they wait for logs alone."""
    if in_a_namespace("test_a_full_disk_of_one_storage_server"):
        return
    port = free_ports(16)
    disk = scratch.path("cluster", "data", str(port + STORES[0]))
    small_disk(scratch, disk, 24)
    checker = Checker(scratch, scratch.start_cluster(port=port))
    checker.goes_on("the start", 20)
    filler = fill(disk)
    address = f"127.0.0.1:{port + STORES[0]}"
    wait_until("the storage server dies of it", lambda: "RoleEnded" in logged(scratch, port + STORES[0]), 60)
    checker.goes_on(f"the disk of {address} is full", 20)
    os.unlink(filler)
    wait_until("it is back", lambda: "storage" in roles_at(scratch, port + STORES[0]), 60, 0.5)
    checker.goes_on("there is space again")
    checker.end()
    print(f"      {checker.verify()}")


# ---- the identity of a data directory ----

def test_a_directory_of_a_newer_format_is_refused(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    port = port_of(file)
    scratch.local_cluster("stop", *where(scratch))
    subprocess.run([FORGE, "format", data_of(scratch, port, "process"), "77"], check=True)
    status, text = run(program("quoind"), "-C", file, "-p", f"127.0.0.1:{port}", "-d", data_of(scratch, port))
    assert status == 1 and data_of(scratch, port) in text and "newer format (77" in text, text
    status, text = inspect(data_of(scratch, port))
    assert status == 1 and "newer" in text, text
    subprocess.run([FORGE, "format", data_of(scratch, port, "process"), "1"], check=True)
    scratch.local_cluster("start", *where(scratch))


def test_a_damaged_identity_is_named(scratch, _):
    file = scratch.start_cluster("--processes", "one")
    port = port_of(file)
    assert shell(file, "writemode on; set a kept")[0] == 0
    scratch.local_cluster("stop", *where(scratch))
    identity = data_of(scratch, port, "process")
    for slot in (0, 1):
        flip(identity, 4096 * slot + 30)
        status, text = inspect(data_of(scratch, port))
        assert "SlotDamaged" in text and identity in text, text
        assert "(belongs to no cluster yet)" not in text, text
        flip(identity, 4096 * slot + 30)
    flip(identity, 30)
    scratch.local_cluster("start", *where(scratch))
    assert "kept" in shell(file, "get a")[1]
    scratch.local_cluster("stop", *where(scratch))
    flip(identity, 4096 + 30)
    status, text = run(program("quoind"), "-C", file, "-p", f"127.0.0.1:{port}", "-d", data_of(scratch, port))
    assert status == 1 and identity in text, text
    status, text = inspect(data_of(scratch, port))
    assert status == 1 and "DAMAGED" in text, text


# ---- damaged records ----

def stopped_cluster_with_data(scratch, *arguments, engines=()):
    """(checker, first port) of a stopped cluster that has something in every file, and in the named engines."""
    file = scratch.start_cluster(*arguments)
    first = port_of(file)
    checker = Checker(scratch, file)
    checker.goes_on("the start", 20)
    wait_until("there is data", lambda: checker.acknowledged() > 1500, 30)
    if engines:
        wait_until("it is in the engines", lambda: sum(values_in(engine_of(scratch, first + place)) for place in engines) > 500,
                   30, 0.5)
    checker.end()
    checker.verify()
    scratch.local_cluster("stop", *where(scratch))
    return checker, first


def test_a_damaged_log_counts_as_missing(scratch, _):
    checker, first = stopped_cluster_with_data(scratch)
    port = first + LOGS[1]
    queue = queue_of(scratch, port)
    flip(queue, middle_of_queue(queue))
    status, text = inspect(data_of(scratch, port))
    assert status == 1 and "DAMAGED" in text and queue in text, text
    scratch.local_cluster("start", *where(scratch))
    assert "DiskQueueDamaged" in logged(scratch, port) and "RoleNotRestored" in logged(scratch, port)
    print(f"      {checker.verify()}")


def test_damaged_files_of_a_coordinator_take_it_out_and_no_more(scratch, _):
    checker, first = stopped_cluster_with_data(scratch)
    queue, record = (data_of(scratch, first, f"coordinator/{name}") for name in ("log/*.queue", "record"))
    for path, offsets in ((queue, [middle_of_queue(queue)]), (record, [40, 4096 + 40])):
        for at in offsets:
            flip(path, at)
        status, text = inspect(data_of(scratch, first))
        assert status == 1 and "DAMAGED" in text, text
        scratch.local_cluster("start", *where(scratch))
        assert "CoordinatorFilesDamaged" in logged(scratch, first), logged(scratch, first)[-2000:]
        print(f"      {checker.verify()}")
        scratch.local_cluster("stop", *where(scratch))
        for at in offsets:
            flip(path, at)


def damage_values(path):
    """Changes a byte in each of the checker's values, wherever it lies in an engine's file; returns how many there were."""
    with open(path, "r+b") as file:
        data = file.read()
        file.seek(0)
        file.write(data.replace(b"value/", b"valu#/"))
    return data.count(b"value/")


def test_a_damaged_record_is_read_from_its_other_copy(scratch, _):
    checker, first = stopped_cluster_with_data(scratch, engines=STORES)
    port = max((first + place for place in STORES), key=lambda port: values_in(engine_of(scratch, port)))
    assert damage_values(engine_of(scratch, port)) > 100
    status, text = inspect(data_of(scratch, port))
    assert status == 1 and "DAMAGED: key" in text and "checksum" in text, text
    scratch.local_cluster("start", *where(scratch))
    for _ in range(3):
        print(f"      {checker.verify()}")


def test_a_damaged_record_without_another_copy_is_an_error(scratch, _):
    checker, port = stopped_cluster_with_data(scratch, "--processes", "one", engines=(0,))
    with open(checker.acks) as acks:
        writer, number = acks.readline().split()
    assert damage_values(engine_of(scratch, port)) > 100
    scratch.local_cluster("start", *where(scratch))
    status, text = shell(checker.file, f"get check/{writer}/{int(number):012}")
    assert status == 1 and "(1522)" in text and "#" not in text, f"a damaged value was served: {text}"
    assert "EngineDamaged" in logged(scratch, port) and f"check/{writer}" in logged(scratch, port)
    wait_until("the rest is served", lambda: shell(checker.file, f"get count/{writer}")[0] == 0, 20)
