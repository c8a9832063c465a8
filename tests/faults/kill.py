"""Kills a run at random moments and resumes it, on other numbers of ranks: nothing lost, nothing
doubled, every final file the same bytes as of a run that nobody disturbed.

usage: kill.py BUILD_FOLDER [--kills N] [--seed S]
       N kills of each kind (one rank, all ranks, the launcher) for 1, 2 and 4 ranks and 2 x 2 stages
"""
import argparse
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FILES = ["cases.jsonl", "results.json", "results.md", "results.csv", "report.html"]
SHAPES = [(1, 1), (2, 1), (4, 1), (4, 2)]  # ranks, stages
KINDS = ["one rank", "all ranks", "launcher"]


def command(program, out, ranks, stages):
    return ["mpirun", "--quiet", "-n", str(ranks), program, "--quiet", "--limit", "4",
            "--stages", str(stages), "--batch", "2", "--set", "archive.hidden=full",
            "--set", "evaluate.kqa_on=first", "--set", "run.threads=1", "--out", out]


def start(*args):
    return subprocess.Popen(command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            start_new_session=True)


def processes(out):
    """Ids of our program's processes that work on this output folder."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = open(f"/proc/{name}/cmdline", "rb").read().split(b"\0")
            except OSError:
                continue
            if os.fsencode(out) in words and os.path.basename(words[0]) == b"dinm_pipeline":
                found.append(int(name))
    return found


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def strike(run, out, kind):
    ranks = processes(out)
    if kind == "launcher":
        run.kill()
    else:
        random.shuffle(ranks)
        for pid in ranks[:1] if kind == "one rank" else ranks:
            kill(pid)
    run.communicate()


def wait_until_gone(out):
    end = time.monotonic() + 10
    while processes(out):
        if time.monotonic() > end:
            raise AssertionError(f"ranks are left behind: {processes(out)}")
        time.sleep(0.05)


def units(out):
    """Every record of the journal as (phase, unit)."""
    folder, found = os.path.join(out, "journal"), []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".log"):
            data, at = open(os.path.join(folder, name), "rb").read(), 0
            while at + 32 <= len(data):
                magic, phase, unit, n_bytes = struct.unpack_from("<4sIQQ", data, at)
                assert magic == b"DJR1", name
                found.append((phase, unit))
                at += 32 + n_bytes + 8
    return found


def finish(program, out, shape):
    run = start(program, out, *shape)
    errors = run.communicate()[1].decode()
    assert run.returncode == 0, f"resuming on {shape} ends with {run.returncode}: {errors}"


def compare(reference, out):
    for name in FILES:
        a, b = (open(os.path.join(folder, name), "rb").read() for folder in (reference, out))
        assert a == b, f"{name} differs"
    if shutil.which("h5diff"):
        subprocess.run(["h5diff", *(os.path.join(folder, "activations.h5")
                                    for folder in (reference, out))], check=True)
    wanted, got = units(reference), units(out)
    assert len(got) == len(set(got)), "units were journaled twice"
    assert set(got) == set(wanted), "units are missing"
    left = [n for _, _, names in os.walk(out) for n in names if n.startswith(".") or ".tmp" in n]
    assert not left, f"left behind: {left}"


def leave_behind(out):
    """What a writer leaves that is killed before its rename, as it happens now and then."""
    for folder in (out, os.path.join(out, "journal")):
        if os.path.isdir(folder):
            open(os.path.join(folder, "id.json.4194305-0.tmp"), "w").write("{")


def one_kill(program, reference, folder, shape, kind, whole_s):
    out = os.path.join(folder, "out")
    shutil.rmtree(out, ignore_errors=True)
    n_kills = 0
    while n_kills < 1 or random.random() < 0.3:  # now and then the resume is killed, too
        run = start(program, out, *shape)
        time.sleep(random.uniform(0.05, 1.05) * whole_s)
        alive = run.poll() is None
        strike(run, out, kind)
        wait_until_gone(out)
        n_kills += alive
        if not alive:
            break
        shape = random.choice(SHAPES) if random.random() < 0.5 else shape
    leave_behind(out)
    finish(program, out, shape)
    compare(reference, out)
    return n_kills


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    random.seed(options.seed)
    program = os.path.join(os.path.abspath(options.build), "dinm_pipeline")
    os.chdir(SOURCE)
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        reference = os.path.join(folder, "reference")
        finish(program, reference, (1, 1))
        n = 0
        for shape in SHAPES:
            again = os.path.join(folder, "again")
            shutil.rmtree(again, ignore_errors=True)
            begin = time.monotonic()
            finish(program, again, shape)
            whole_s = time.monotonic() - begin
            compare(reference, again)
            for kind in KINDS:
                for i in range(options.kills):
                    try:
                        n += one_kill(program, reference, folder, shape, kind, whole_s)
                    except AssertionError as error:
                        print(f"FAILED: {shape[0]} ranks x {shape[1]} stages, {kind}, kill {i}: "
                              f"{error}; its folder is kept in {options.build}/killed")
                        shutil.copytree(os.path.join(folder, "out"),
                                        os.path.join(options.build, "killed"), dirs_exist_ok=True)
                        sys.exit(1)
                print(f"{shape[0]} ranks, {shape[1]} stages, {kind}: {options.kills} runs killed and "
                      "resumed, nothing lost, nothing doubled", flush=True)
        print(f"{n} kills in all")


main()
