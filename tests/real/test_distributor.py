"""The data distributor with real processes: what is lost is copied again, what is excluded is emptied; all under a checking load."""
import json
import subprocess

from checking import Checker, act
from harness import program, wait_until

HEALED_S = 60


def shell(file, commands):
    run = subprocess.run([program("quoincli"), "-C", file, "--exec", commands], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return run.stdout


def data(file):
    try:
        return json.loads(shell(file, "status json"))["cluster"]["data"]
    except (ValueError, KeyError):
        return {"state": {"name": "unknown", "min_replicas_remaining": -1}}


def whole(file):
    state = data(file)["state"]
    return state["min_replicas_remaining"] == 2 and state["name"].startswith("healthy")


def test_a_storage_server_that_dies_for_good_is_replaced(scratch, _):
    checker = Checker(scratch, scratch.start_cluster())
    checker.goes_on("the start", 20)
    wait_until("the distributor knows that all is well", lambda: whole(checker.file), 30, 0.5)
    killed = act(scratch, "kill", "storage", "--for-good")
    wait_until("the missing copies show at once", lambda: data(checker.file)["state"]["min_replicas_remaining"] == 1, 8, 0.3)
    assert data(checker.file)["state"]["name"] == "healing"
    checker.goes_on(f"kill --for-good {killed}")
    wait_until("all copies are there again", lambda: whole(checker.file), HEALED_S, 0.5)
    checker.end()
    print(f"      {checker.verify()}")
