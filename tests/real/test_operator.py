"""What an operator does to a running cluster: other numbers of roles, processes taken out of service, other classes."""
import json
import shutil
import subprocess

from checking import Checker
from harness import program, wait_until


class Shell:
    """The shell of the cluster, by single commands."""

    def __init__(self, file, timeout=30):
        self.command = [program("quoincli"), "-C", file, "--timeout", str(timeout), "--json", "--exec"]

    def run(self, command):
        """The command's object."""
        run = subprocess.run([*self.command, command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
        lines = run.stdout.strip().split("\n")
        assert len(lines) == 1 and lines[0].startswith("{"), f"`{command}' printed {run}"
        return json.loads(lines[0])

    def good(self, command):
        said = self.run(command)
        assert said["ok"], f"`{command}': {said}"
        return said["result"]

    def refused(self, command, *words):
        """Refused, and for the reason that these words are of."""
        said = self.run(command)
        assert not said["ok"], f"`{command}' was not refused: {said}"
        missing = [word for word in words if word not in said["error"]["message"]]
        assert not missing, f"`{command}': `{said['error']['message']}' does not say {missing}"

    def cluster(self):
        return self.good("status")["cluster"]

    def roles(self):
        """Address -> the kinds of roles of the living epoch that it hosts."""
        cluster = self.cluster()
        epoch, found = cluster["generation"], {}
        for process in cluster["processes"].values():
            found[process["address"]] = sorted(role["role"] for role in process["roles"] if role.get("epoch") == epoch)
        return found

    def count(self, kind):
        return sum(kinds.count(kind) for kinds in self.roles().values())


def addresses(shell, process_class):
    return sorted(p["address"] for p in shell.cluster()["processes"].values() if p["class_type"] == process_class)


def test_the_configuration_changes_while_commits_go_on(scratch, _):
    shell = Shell(scratch.start_cluster("--redundancy", "single"))
    checker = Checker(scratch, shell.command[2])
    checker.goes_on("the start", 20)
    for change, kind, wanted in (("commit_proxies=2", "commit_proxy", 2), ("logs=2", "log", 2), ("commit_proxies=1 grv_proxies=2", "grv_proxy", 2),
                                 ("grv_proxies=1 resolvers=2", "resolver", 2), ("triple logs=3", "log", 3),
                                 ("single resolvers=1", "resolver", 1)):
        shell.good(f"configure {change}")
        wait_until(f"{change} is obeyed", lambda k=kind, w=wanted: shell.count(k) == w, 20, 0.1)
        took = checker.goes_on(f"configure {change}")
        print(f"      configure {change}: {took * 1000:.0f} ms to 64 more commits", flush=True)
    assert shell.cluster()["configuration"]["redundancy_mode"] == "single"
    checker.end()
    print(f"      {checker.verify()}")


def test_an_excluded_process_gives_its_roles_up(scratch, _):
    shell = Shell(scratch.start_cluster())
    checker = Checker(scratch, shell.command[2])
    checker.goes_on("the start", 20)
    log, roles = addresses(shell, "log")[0], shell.roles()
    stateless = next(a for a in addresses(shell, "stateless") if "master" in roles[a])
    said = shell.good(f"exclude {log} {stateless}")
    assert all(one["safe_to_remove"] for one in said["excluded"]), said
    checker.goes_on("the exclusion")
    assert shell.roles()[log] == shell.roles()[stateless] == [], shell.roles()
    assert sorted(one["address"] for one in shell.good("exclude")["excluded"]) == sorted([log, stateless])
    excluded = [p["address"] for p in shell.cluster()["processes"].values() if p["excluded"]]
    assert sorted(excluded) == sorted([log, stateless])
    shell.good(f"include {log} {stateless}")
    assert shell.good("exclude")["excluded"] == []
    checker.goes_on("the inclusion")
    checker.end()
    checker.verify()


def test_what_is_said_to_be_safe_to_remove_is_not_missed(scratch, _):
    shell = Shell(scratch.start_cluster(), 60)
    checker = Checker(scratch, shell.command[2])
    checker.goes_on("the start", 20)
    log, storage, coordinator = (addresses(shell, kind)[0] for kind in ("log", "storage", "coordinator"))
    shell.refused(f"exclude {' '.join(addresses(shell, 'storage')[:2])}", "for storage in 2 zones", "and 1;", "--locality-zoneid")
    wait_until("the storage servers have shards", lambda: shell.cluster()["data"]["partitions_count"] > 0, 20, 0.2)
    first = {one["address"]: one for one in shell.good(f"exclude no_wait {storage} {log}")["excluded"]}
    assert not first[storage]["safe_to_remove"] and first[storage]["shards"] > 0, first
    on_its_way = {one["address"]: one for one in shell.good("exclude")["excluded"]}
    assert on_its_way[storage]["shards"] > 0 and not on_its_way[storage]["safe_to_remove"], on_its_way
    said = shell.good(f"exclude {storage} {log}")["excluded"]
    assert all(one["safe_to_remove"] and one["shards"] == one["bytes"] == one["logs"] == 0 for one in said), said
    for address in (storage, log):
        scratch.local_cluster("kill", address, "--for-good", "--dir", scratch.path("cluster"))
        shutil.rmtree(scratch.path("cluster", "data", address.rsplit(":", 1)[1]))
    checker.goes_on("the end of both, with their disks")
    assert shell.cluster()["data"]["state"]["min_replicas_remaining"] == 2
    assert all(one["safe_to_remove"] for one in shell.good("exclude")["excluded"])
    shell.refused(f"exclude {coordinator}", "coordinator is among them")
    assert [one["coordinator"] for one in shell.good("exclude")["excluded"] if not one["safe_to_remove"]] == [True]
    checker.end()
    print(f"      {checker.verify()}")


def test_a_class_that_is_set_stays_when_the_process_starts_again(scratch, _):
    shell = Shell(scratch.start_cluster())
    victim = addresses(shell, "stateless")[0]
    shell.good(f"setclass {victim} log")
    wait_until("the epoch leaves it", lambda: all(kind == "log" for kind in shell.roles()[victim]), 20, 0.1)
    scratch.local_cluster("kill", victim, "--dir", scratch.path("cluster"))

    def one():
        return next((p for p in shell.cluster()["processes"].values() if p["address"] == victim), None)

    again = wait_until("it is back", one, 20, 0.1)
    assert (again["class_type"], again["class_source"]) == ("log", "set_class"), again
    shell.good(f"setclass {victim} default")
    wait_until("it has its own class again", lambda: one()["class_type"] == "stateless", 10, 0.1)
    assert one()["class_source"] == "command_line"


def test_what_can_not_be_had_is_refused_with_a_reason(scratch, _):
    shell = Shell(scratch.start_cluster("--processes", "one"))
    own = addresses(shell, "unset")[0]
    shell.refused("configure double", "`double'", "2 zones", "start processes")
    shell.refused("configure logs=2", "there are 1", "FORCE")
    shell.refused("configure commit_proxies=2", "there are 1 processes", "FORCE")
    shell.refused("configure logs=0", "from 1 to 64")
    shell.refused("configure colour=2", "colour")
    shell.refused("configure quadruple", "quadruple")
    shell.refused("exclude 10.9.8.7", "no process", "FORCE")
    shell.refused("exclude 10.9.8", "not an address")
    shell.refused(f"exclude {own}", "needs processes", "`include'")
    shell.refused(f"exclude FORCE {own}", "needs processes")
    shell.refused(f"include {own}", "is not excluded")
    shell.refused("include everybody", "not an address")
    shell.refused(f"setclass {own} stateless", "needs processes")
    shell.refused(f"setclass {own} king", "no class")
    shell.refused("setclass 127.0.0.1:1 log", "no process")
    shell.refused("maintenance on nowhere 10", "no process is in zone")
    shell.refused("maintenance on nowhere soon", "seconds")
    shell.good("configure FORCE logs=2 commit_proxies=2")
    wait_until("status says so", lambda: sum(m["name"] == "configuration_unsatisfied" for m in shell.cluster()["messages"]) == 1, 10, 0.1)
    assert "commit proxies" in next(m["description"] for m in shell.cluster()["messages"] if m["name"] == "configuration_unsatisfied")


def test_settings_of_the_distributor_are_shown_as_they_were_set(scratch, _):
    shell = Shell(scratch.start_cluster("--processes", "one"))
    zone = next(iter(shell.cluster()["processes"].values()))["fault_domain"]
    assert shell.good("maintenance")["zone"] is None
    shell.good(f"maintenance on {zone} 600")
    found = shell.good("maintenance")
    assert found["zone"] == zone and 500 < found["seconds"] <= 600, found
    shell.good("maintenance off")
    assert shell.good("maintenance")["zone"] is None
    for command in ("off", "disable rebalance", "on", "enable rebalance"):
        shell.good(f"datadistribution {command}")
        found = shell.good("datadistribution")
        assert found["data_distribution"] == (command in ("on", "enable rebalance")), (command, found)
        assert found["rebalance"] == (command in ("off", "enable rebalance")), (command, found)
    shell.good("consistencycheck off")
    assert not shell.good("consistencycheck")["on"]
    shell.good("consistencycheck on")
    assert shell.good("consistencycheck")["on"]


def test_the_coordinators_change_one_at_a_time_while_commits_go_on(scratch, _):
    file = scratch.start_cluster()
    shell = Shell(file)
    checker = Checker(scratch, file)
    checker.goes_on("the start", 20)
    before = shell.good("coordinators")["coordinators"]
    after = sorted(addresses(shell, "log"))
    shell.refused(f"coordinators {after[0]} 127.0.0.1:9", "no process", "127.0.0.1:9")
    shell.refused("coordinators 127.0.0.1", "not an address")
    shell.refused(f"coordinators {after[0]} {after[0]}", "once")
    said = shell.good("coordinators " + " ".join(after))
    assert sorted(said["coordinators"]) == after, said
    checker.goes_on("the change")
    assert sorted(open(file).read().split("@")[1].strip().split(",")) == after
    for address in before:  # they are needed no more
        scratch.local_cluster("kill", address, "--for-good", "--dir", scratch.path("cluster"))
    checker.goes_on("the death of those that were replaced", 20)
    scratch.local_cluster("stop", "--dir", scratch.path("cluster"))
    scratch.local_cluster("start", "--dir", scratch.path("cluster"))
    checker.goes_on("a restart of all", 30)
    assert sorted(shell.good("coordinators")["coordinators"]) == after
    checker.end()
    checker.verify()


def test_a_client_with_an_old_cluster_file_is_led_to_the_new_coordinators(scratch, _):
    file = scratch.start_cluster()
    shell = Shell(file)
    old = scratch.write("old.cluster", "# kept\n" + open(file).read())
    after = sorted(addresses(shell, "storage"))
    shell.good("coordinators " + " ".join(after))
    Shell(old).good("getversion")
    assert open(old).read().startswith("# kept\n")
    assert sorted(open(old).read().split("@")[1].strip().split(",")) == after
    shell.good("coordinators auto")
    assert len(shell.good("coordinators")["coordinators"]) == 3
