"""Two runs on one output folder: the second is refused, with one sentence that says who is there,
and the first is not disturbed. The lock dies with its holder: once that was killed a new run starts
at once. report and inspect look at a running job and do it no harm.

usage: two_runs.py BUILD_FOLDER
"""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import runs

# Long enough to be looked at.
LONG = ["--limit", "8", "--batch", "1", "--set", "generate.max_new_tokens=30"]


def begin(program, out, ranks):
    """A run that has journaled something and is still at it."""
    run = program.start(out, *LONG, ranks=ranks)
    journal = os.path.join(out, "journal")
    runs.wait_for(lambda: run.poll() is not None or any(
        name.endswith(".log") and os.path.getsize(os.path.join(journal, name)) > 0
        for name in (os.listdir(journal) if os.path.isdir(journal) else [])), "the first unit")
    assert run.poll() is None, f"the run is over too early: {run.communicate()[1]}"
    return run


def look(program, out, command):
    """report or inspect: works, or fails with one sentence."""
    done = subprocess.run([program.path, command, out], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        line = runs.one_sentence(command, done.returncode, done.stderr)
        assert "is not finished" in line, f"{command}: {line}"
    return done.returncode


def ranks_of(program, out):
    """The run's processes and their states (T: held), without those that only look at it."""
    found = {}
    for pid in program.processes(out):
        try:
            words = runs.read(f"/proc/{pid}/cmdline").split(b"\0")
            state = runs.read(f"/proc/{pid}/stat").decode().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if b"--out" in words:
            found[pid] = state
    return found


def hold(program, out, n_ranks):
    """Whether all ranks of the run are held; some may be about to end."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for pid in ranks_of(program, out):
            os.kill(pid, signal.SIGSTOP)
        states = ranks_of(program, out)
        if len(states) < n_ranks:
            return False
        if set(states.values()) == {"T"}:
            return True
    return False


def try_others(program, out, others):
    """Second runs while the first one's ranks are held."""
    held = ranks_of(program, out)
    for words in ([], ["--fresh"], ["--set", "edit.steps=5"]):
        status, said = program.run(out, *LONG, *words, ranks=others)
        line = runs.one_sentence("the second run", status, said, f"{out}/journal is in use by another run",
                                 f" on {socket.gethostname()})")
        named = int(line.split("(process ")[1].split(" ")[0])
        assert named in held, f"the first run is {held}, but: {line}"


def refused(program, folder, reference, ranks, others):
    """A run that is held now and then, while second ones try; and lookers-on all the time."""
    out, n = os.path.join(folder, "out"), 0
    run = begin(program, out, ranks)
    over, looks, wrong = threading.Event(), [], []

    def watch():
        while not over.is_set():
            try:
                looks.append((look(program, out, "report"), look(program, out, "inspect")))
            except AssertionError as error:
                wrong.append(error)
                return
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        while n < 3 and hold(program, out, ranks):
            try_others(program, out, others)
            n += 1
            program.send(out, signal.SIGCONT)
            time.sleep(0.05)
    finally:
        program.send(out, signal.SIGCONT)
        said = run.communicate()[1]
        over.set()
        watcher.join()
    assert not wrong, wrong
    assert run.returncode == 0 and said == "", f"the first run ends with {run.returncode}: {said}"
    assert n > 0 and looks, "nothing was tried in time"
    runs.same_files(reference, out, "the first run")
    assert look(program, out, "report") == 0 and look(program, out, "inspect") == 0
    runs.same_files(reference, out, "after report")
    shutil.rmtree(out)
    print(f"{ranks} ranks: {3 * n} second runs were refused, {2 * len(looks)} looks did no harm, the "
          "first run was not disturbed", flush=True)


def killed(program, folder, reference, ranks):
    """The lock file stays, the lock does not."""
    out = os.path.join(folder, "out")
    run = begin(program, out, ranks)
    program.send(out, signal.SIGKILL)
    run.communicate()
    assert b"process" in runs.read(os.path.join(out, "journal", "lock"))
    program.finish(out, *LONG, what="the run after a killed one")
    runs.same_files(reference, out, "after a kill")
    shutil.rmtree(out)
    print(f"{ranks} ranks: killed, and a new run started at once", flush=True)


def test():
    program = runs.Program(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        folder = os.path.realpath(folder)
        reference = os.path.join(folder, "reference")
        program.finish(reference, *LONG)
        refused(program, folder, reference, 1, 1)
        refused(program, folder, reference, 2, 2)
        killed(program, folder, reference, 1)
        killed(program, folder, reference, 2)


runs.main(test)
