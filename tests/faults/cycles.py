"""Kills a short job and resumes it, again and again on the same output folder: nothing grows. Not the
folder, not its journal, no temporary files, no shared memory or folders of MPI, and a run at the end
holds as many descriptors and as much memory as one at the beginning.

usage: cycles.py BUILD_FOLDER [--cycles N] [--seed S] [--folder DIR]
       DIR keeps everything, so that a later call goes on from there
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

import runs

KINDS = ["one rank", "all ranks", "launcher"]
MORE_MEMORY = 1.1  # as much as the same run may differ from time to time


def list_below(folder):
    return sorted(os.path.relpath(os.path.join(path, name), folder)
                  for path, folders, names in os.walk(folder) for name in folders + names)


def n_segments():
    """System V shared memory and semaphores of anybody."""
    if not os.path.exists("/proc/sysvipc/shm"):
        return 0
    return sum(len(runs.read(f"/proc/sysvipc/{kind}").splitlines()) - 1 for kind in ("shm", "sem"))


class Cycle:
    def __init__(self, program, folder):
        self.program, self.folder, self.n_left = program, folder, 0
        self.out, self.tmp, self.shm = (os.path.join(folder, name) for name in ("out", "tmp", "shm"))
        for path in (self.tmp, self.shm):
            os.makedirs(path, exist_ok=True)
        # MPI's own files where nobody else's are.
        self.environment = {**os.environ, "TMPDIR": self.tmp,
                            "OMPI_MCA_btl_vader_backing_directory": self.shm}

    def start(self, *words, ranks=1):
        return self.program.start(self.out, *words, ranks=ranks, environment=self.environment)

    def finish(self, *words, ranks=1):
        self.program.finish(self.out, *words, ranks=ranks, environment=self.environment,
                            what="the resumed run")

    def kill(self, chance, whole_s, ranks):
        """A new run, killed at some moment of it. What Open MPI leaves when its launcher is killed, or
        a run without one (an empty folder), nobody else can tidy up: it is counted and removed."""
        run = self.start("--fresh", ranks=ranks)
        time.sleep(chance.uniform(0.1, 0.9) * whole_s)
        alive = run.poll() is None
        kind, ids = chance.choice(KINDS), self.program.processes(self.out)
        if kind == "launcher":
            run.kill()
        for pid in [] if kind == "launcher" else ids[:1] if kind == "one rank" else ids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        run.communicate()
        runs.wait_for(lambda: not self.program.processes(self.out), "ranks left behind", 20)
        if kind == "launcher" or ranks == 1:
            self.settle(0.2)
            for path in (self.tmp, self.shm):
                self.n_left += len(list_below(path))
                shutil.rmtree(path)
                os.makedirs(path)
        return alive

    def look_inside(self):
        """Descriptors and resident kB of a run that was just killed after its first unit, resumed,
        as it starts the next phase."""
        run = self.start("--fresh", "--phases", "locate")
        run.communicate()
        run = self.start()
        log = os.path.join(self.out, "journal", "group-000000.log")
        before = os.path.getsize(log)
        runs.wait_for(lambda: run.poll() is not None or os.path.getsize(log) > before, "a unit")
        run.send_signal(signal.SIGSTOP)
        runs.wait_for(lambda: b"State:\tT" in runs.read(f"/proc/{run.pid}/status"), "its stop")
        status = runs.read(f"/proc/{run.pid}/status").decode()
        found = {"descriptors": len(os.listdir(f"/proc/{run.pid}/fd")),
                 "memory": int(status.split("VmRSS:")[1].split()[0])}
        run.send_signal(signal.SIGCONT)
        assert run.wait() == 0, run.communicate()[1]
        return found

    def settle(self, limit_s):
        """The helper of a run without launcher tidies up a little after it."""
        end = time.monotonic() + limit_s
        while list_below(self.tmp) + list_below(self.shm) and time.monotonic() < end:
            time.sleep(0.01)

    def measure(self):
        """What must not grow, once a run is through."""
        self.settle(5.0)
        return {"files in OUT": list_below(self.out),
                "bytes of journal": sum(os.path.getsize(os.path.join(self.out, "journal", name))
                                       for name in os.listdir(os.path.join(self.out, "journal"))
                                       if name.endswith((".log", ".json"))),
                "MPI's files": list_below(self.tmp), "shared memory": list_below(self.shm)}


def group_names(measured):
    """Which ranks journaled is chance, how much they did is not."""
    return {**measured, "files in OUT": [name for name in measured["files in OUT"]
                                         if not name.startswith("journal/group-")]}


def grown(first, now):
    for name, before in first.items():
        after = now[name]
        if isinstance(before, list):
            new = sorted(set(after) - set(before))
            assert not new, f"{name}: there are now {len(new)} more: {new[:5]}"
        else:
            assert after == before, f"{name}: {before} at first, now {after}"


def test():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--cycles", type=int, default=12)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder")
    options = parser.parse_args()
    chance, n_kills = random.Random(options.seed), 0
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.path.realpath(options.folder or temporary)
        cycle = Cycle(runs.Program(options.build), folder)
        reference, record = os.path.join(folder, "reference"), os.path.join(folder, "first.json")
        if not os.path.exists(record):
            cycle.program.finish(reference)
            shutil.rmtree(cycle.out, ignore_errors=True)
            cycle.finish(ranks=2)
            inside = cycle.look_inside()
            with open(record, "w", encoding="utf-8") as f:
                json.dump({"done": 0, "at rest": group_names(cycle.measure()), "inside": inside,
                           "segments": n_segments()}, f)
        with open(record, encoding="utf-8") as f:
            first = json.load(f)
        begin = time.monotonic()
        cycle.finish("--fresh")
        whole_s = time.monotonic() - begin
        for i in range(options.cycles):
            ranks = 2 if i % 3 == 2 else 1
            n_kills += cycle.kill(chance, whole_s * (1 if ranks == 1 else 1.5), ranks)
            cycle.finish(ranks=chance.choice([1, 1, 2]))
            runs.same_files(reference, cycle.out, f"cycle {i}")
            grown(first["at rest"], group_names(cycle.measure()))
        inside = cycle.look_inside()
        cycle.settle(5.0)
        assert inside["descriptors"] == first["inside"]["descriptors"], (first["inside"], inside)
        assert inside["memory"] <= MORE_MEMORY * first["inside"]["memory"], (first["inside"], inside)
        first["done"] += n_kills
        with open(record, "w", encoding="utf-8") as f:
            json.dump(first, f)
        print(f"{options.cycles} cycles, {n_kills} killed ({first['done']} with the earlier ones): "
              f"{len(first['at rest']['files in OUT'])} files and folders in OUT but the journal's, "
              f"{first['at rest']['bytes of journal']} bytes of journal, "
              f"{len(list_below(cycle.tmp))} files of MPI, {len(list_below(cycle.shm))} of shared "
              f"memory, {n_segments() - first['segments']} more System V segments (killed launchers left "
              f"{cycle.n_left} files and folders); descriptors "
              f"{first['inside']['descriptors']} -> {inside['descriptors']}, resident kB "
              f"{first['inside']['memory']} -> {inside['memory']}")


runs.main(test)
