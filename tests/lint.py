"""What a compiler does not check: includes by floor, allocation, clocks and system calls above the ground floor.

Each rule is one test; it prints every line that breaks it.
"""
import os
import re
import sys

FLOORS = {"net": 0, "txn": 1, "storage": 2, "roles": 3, "sim": 4, "tools": 5}
PURE_NET = {"net/address.h", "net/bytes.h", "net/arena.h", "net/list.h", "net/mem.h", "net/error.h", "net/planted_bug.h"}
# The message table and the metadata's formats are declared with the codec's macros, which are pure as well.
SCHEMAS = ("txn/messages", "txn/system_keys", "txn/key_servers")
PURE_OPEN = ("txn/client/", "txn/layers/", "txn/fdb_c/")  # parts of txn/ that may see the whole of net/
HOSTS = ("roles/worker/", "roles/embedded/")  # may include the faces of other roles
RAFT = "roles/coordinator/raft/"
# A clock, a socket, a file or a thread comes through struct env everywhere above net/.
OS_HEADERS = re.compile(
    r"<(time|unistd|fcntl|poll|pthread|threads|signal|dirent|dlfcn)\.h>"
    r"|<sys/(time|socket|stat|epoll|eventfd|timerfd|signalfd|mman|random|file|uio|statvfs|wait)\.h>"
    r"|<(netinet|arpa|event2)/")
# LMDB's own I/O, the client's threads, the C API's process-wide network, a cluster inside a program, and the seam's twin.
OS_ALLOWED = ("storage/lmdb", "storage/engine_lmdb", "txn/client/", "txn/fdb_c/", "roles/embedded/", "sim/env_sim", "sim/sim_disk", "sim/main")
ALLOCATION = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|free|strdup|strndup|asprintf|posix_memalign|aligned_alloc)\s*\(")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
FILE_LINES_MAX = 900  # the style asks for a split at about 800

SITE = re.compile(r'\b(BUGGIFY|BUGGIFY_ONE_IN|BUGGIFY_DEATH|PROBE)\(((?:[^()"]|\((?:[^()]|\([^()]*\))*\))*)"([^"\n]*)"\s*\)')
SITE_USE = re.compile(r"\b(?:BUGGIFY|BUGGIFY_ONE_IN|BUGGIFY_DEATH|PROBE)\(")
SITE_TEXT = (15, 100)  # long enough to say something, one line in a report

# Whatever draws from a generator: two of them unsequenced give another world in another compiler's build.
DRAW = re.compile(r"\b(?:\w*random\w*|draw\w*|fault_(?:range|long_tail|coin|one_in|server|host)|BUGGIFY\w*)\(")

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def sources(top):
    for folder in list(FLOORS) + ["tests"]:
        for where, _, names in os.walk(os.path.join(top, folder)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(where, name), top)


def strip_comments(text):
    """Blanks comments and string literals, keeping line numbers."""
    def blank(match):
        kept = match.group(0)
        return re.sub(r"[^\n]", " ", kept) if kept[0] == "/" else '""'
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def is_pure(path):
    return path.startswith(RAFT) or (path.startswith("txn/") and not path.startswith(PURE_OPEN))


def role_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "roles" and len(parts) > 2 else None


def include_problem(path, quote, included, top):
    """What is wrong with one include, or None."""
    if quote == "<":
        return None
    if "/include/" in path and os.path.exists(os.path.join(top, os.path.dirname(path), included)):
        return None  # installed headers lie beside each other
    if not os.path.exists(os.path.join(top, included)):
        return None if path.startswith("tests/") else "is not a path from the root"
    mine, theirs = path.split("/")[0], included.split("/")[0]
    if mine == "tests":
        return None
    if theirs == "tests":
        return "product code includes a test"
    if FLOORS[theirs] > FLOORS[mine]:
        return f"points up, from {mine} to {theirs}"
    if is_pure(path) and theirs == "net" and included not in PURE_NET and not (
            included == "net/message.h" and path.startswith(SCHEMAS)):
        return "pure code sees addresses, bytes, arenas, lists and errors alone of net/"
    if is_pure(path) and theirs == "txn" and included.startswith(PURE_OPEN):
        return "the core of txn/ does not include what is built on it"
    here, there = role_of(path), role_of(included)
    if here and there and here != there and not path.startswith(HOSTS):
        return f"the role {here} includes the role {there}; roles share messages alone"
    return None


def sites(text):
    """(macro, text of the site) of each BUGGIFY and PROBE in a source text; comments may hold none."""
    return [(match.group(1).split("_")[0], match.group(3)) for match in SITE.finditer(text)]


def site_problems(path, text):
    found, seen = sites(text), set()
    uses = len(SITE_USE.findall(strip_comments(text)))
    if uses != len(found):
        yield f"{path}: of {uses} BUGGIFY and PROBE, {uses - len(found)} have no text as a plain literal at the end"
    for site in found:
        if site in seen:
            yield f"{path}: two sites are one for the simulator: {site[0]} \"{site[1]}\""
        if not SITE_TEXT[0] <= len(site[1]) <= SITE_TEXT[1] or "\t" in site[1] or "\\" in site[1]:
            yield f"{path}: {SITE_TEXT[0]} to {SITE_TEXT[1]} plain characters say what is attacked: \"{site[1]}\""
        seen.add(site)


def draws_unsequenced(bare):
    """Line numbers of calls and initialisers of which more than one part draws, in no order that C fixes."""
    stack, found = [], []
    for at, char in enumerate(bare):
        if char in "({[":
            stack.append((char, at, []))
        elif char == "," and stack:
            stack[-1][2].append(at)
        elif char in ")}]" and stack:
            opening, begin, commas = stack.pop()
            cuts = [begin, *commas, at]
            parts = [bare[low + 1:high] for low, high in zip(cuts, cuts[1:])]
            is_list = opening == "(" or ";" not in bare[begin:at]
            if is_list and sum(bool(DRAW.search(part)) for part in parts) > 1:
                found.append(bare.count("\n", 0, begin) + 1)
        elif char == ";" and stack and stack[-1][0] == "{":
            stack[-1][2].clear()
    return found


def check(top):
    rules = {
        "includes point down": [],
        "no clock, file, socket or thread above net/ but through env": [],
        "allocation goes through net/mem.h": [],
        "nothing is left unfinished": [],
        f"no file is longer than {FILE_LINES_MAX} lines": [],
        "each BUGGIFY and PROBE says what it attacks or proves, once a file": [],
        "no two draws of a generator stand in one call or initialiser": [],
    }
    floors, system, allocation, unfinished, length, site_texts, draws = rules.values()
    count = 0
    for path in sources(top):
        count += 1
        with open(os.path.join(top, path), encoding="utf-8") as file:
            text = file.read()
        code = strip_comments(text)
        lines = text.split("\n")
        if not path.startswith("tests/"):
            draws += [f"{path}:{number}: {lines[number - 1].strip()}" for number in draws_unsequenced(code)]
        if len(lines) > FILE_LINES_MAX and not path.startswith("tests/"):
            length.append(f"{path}: {len(lines)} lines")
        if not path.startswith("tests/") and path != "net/buggify.h":
            site_texts += site_problems(path, text)
        above_net = not path.startswith(("net/", "tools/", "tests/"))
        for number, (line, bare) in enumerate(zip(lines, code.split("\n")), 1):
            if UNFINISHED.search(line):
                unfinished.append(f"{path}:{number}: {line.strip()}")
            found = INCLUDE.match(line)
            if found and bare.strip().startswith("#"):
                problem = include_problem(path, found.group(1), found.group(2), top)
                if problem:
                    floors.append(f"{path}:{number}: {found.group(2)} {problem}")
                if above_net and OS_HEADERS.search(line) and not path.startswith(OS_ALLOWED):
                    system.append(f"{path}:{number}: {line.strip()}")
            elif ALLOCATION.search(bare) and path != "net/mem.c" and not path.startswith("tests/"):
                allocation.append(f"{path}:{number}: {line.strip()}")
    return rules, count


def main():
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    rules, count = check(top)
    failed = 0
    for name, problems in rules.items():
        print(f"{'FAIL' if problems else 'ok  '}  {name}")
        for problem in problems:
            print(f"      {problem}")
        failed += bool(problems)
    print(f"lint: {count} files")
    print(f"{len(rules) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
