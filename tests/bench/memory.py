"""Memory as planned against memory as seen: runs a job twice on the same ranks, first --dry-run,
whose plan is read, then for real, while /proc/*/smaps_rollup of every rank is sampled.

Checked, exit status 1 if not so:
  every rank's own memory (caches, edits, scratch, program) peaks within 10 % of what was planned;
  ranks that share layers hold one copy: the sum of PSS is at most 1.15 x file + what is their own;
  with several stages each rank's resident weights are at most 1.4 x its share of the file.

usage: memory.py PROGRAM MODEL [--ranks 4] [--stages 4] [--cases 2] [--new 16] [--layer 19]
                 [--batch 8] [--show] [--set KEY=VALUE]...
       MODEL: a folder that write_checkpoint.py made; judge and cases are the demo's
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "..", "..", "jobs", "demo")
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_mpi_yield_when_idle="1",
                   OMPI_MCA_hwloc_base_binding_policy="none")
ROW = re.compile(r"^ +(\d+) +(\d+) - (\d+) +\d+ % +(.*?) +([a-z]+)$", re.M)
COLUMNS = ("weights", "caches", "edit", "scratch", "judge", "program", "total")


def arguments():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("program")
    p.add_argument("model")
    for name, value in (("ranks", 4), ("stages", 4), ("cases", 2), ("new", 16), ("layer", 19), ("batch", 8)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--show", action="store_true", help="the plan as printed")
    p.add_argument("--set", action="append", default=[])
    return p.parse_args()


def command(a, out):
    line = ["mpirun", "-n", str(a.ranks), a.program, "--model", a.model,
            "--judge", os.path.join(DEMO, "judge"), "--cases", os.path.join(DEMO, "cases.json"),
            "--set", f"locate.layers={a.layer}", "--batch", str(a.batch), "--limit", str(a.cases), "--out", out, "--stages", str(a.stages), "--quiet",
            "--set", f"generate.max_new_tokens={a.new}"]
    for setting in a.set:
        line += ["--set", setting]
    return line


def read_plan(text):
    """One row a stage, MB."""
    rows = []
    for _, first, last, numbers, at in ROW.findall(text):
        row = dict(zip(COLUMNS, map(float, numbers.split())))
        rows.append(dict(row, layers=f"{first} - {last}", at=at))
    return rows


def rollup(pid):
    """MB of one process: anonymous, file-backed, proportional."""
    found = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for line in f.readlines()[1:]:
            key, value = line.split(":")
            found[key] = int(value.split()[0]) * 1024e-6
    anonymous = found["Anonymous"]
    return anonymous, found["Rss"] - anonymous, found["Pss"]


def mapped(pid, name):
    """MB of a file's pages that one process has touched."""
    total, inside = 0, False
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as f:
        for line in f:
            if "-" in line.split(" ", 1)[0]:
                inside = line.rstrip().endswith(name)
            elif inside and line.startswith("Rss:"):
                total += int(line.split()[1]) * 1024e-6
    return total


def ranks_of(launcher):
    """pid by rank of the launcher's children."""
    found = {}
    with open(f"/proc/{launcher}/task/{launcher}/children", encoding="ascii") as f:
        children = f.read().split()
    for pid in children:
        with open(f"/proc/{pid}/environ", "rb") as f:
            for entry in f.read().split(b"\0"):
                if entry.startswith(b"OMPI_COMM_WORLD_RANK="):
                    found[int(entry.split(b"=")[1])] = pid
    return found


def watch(line, weights):
    """Peaks by rank of (anonymous, weights), and of the sums of PSS and of anonymous memory."""
    peaks, most_pss, own_then = {}, 0.0, 0.0
    with subprocess.Popen(line, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as run:
        n = 0
        while run.poll() is None:
            time.sleep(0.05)
            n += 1
            try:
                ranks = ranks_of(run.pid)
                sums = [0.0, 0.0]
                for rank, pid in ranks.items():
                    own, _, pss = rollup(pid)
                    held = mapped(pid, weights) if n % 10 == 0 else 0.0
                    before = peaks.get(rank, (0.0, 0.0))
                    peaks[rank] = (max(before[0], own), max(before[1], held))
                    sums = [sums[0] + pss, sums[1] + own]
                if sums[0] > most_pss:
                    most_pss, own_then = sums
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # one of them has just ended
        return run.returncode, peaks, most_pss, own_then


def main():
    a = arguments()
    file_mb = os.path.getsize(os.path.join(a.model, "model.safetensors")) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        line = command(a, os.path.join(folder, "out"))
        plan = subprocess.run(line + ["--dry-run"], env=ENVIRONMENT, capture_output=True, text=True,
                              check=False)
        if plan.returncode != 0:
            sys.exit(f"the plan failed: {plan.stderr}")
        if a.show:
            print(plan.stdout)
        stages = read_plan(plan.stdout)
        status, peaks, pss, own_then = watch(line, os.path.abspath(a.model) + "/model.safetensors")
        if status != 0:
            sys.exit(f"the job ended with {status}")
    wrong = []
    n_groups = a.ranks // a.stages
    print(f"{a.ranks} ranks = {n_groups} groups x {a.stages} stages; file {file_mb:.0f} MB\n"
          "rank  stage  own MB: planned  seen  ratio   weights MB: planned  seen  of the file")
    for rank, (own, held) in sorted(peaks.items()):
        s = stages[rank // n_groups]
        planned = s["caches"] + s["edit"] + s["scratch"] + s["program"]
        print(f"{rank:4} {rank // n_groups:6} {planned:16.1f} {own:6.1f} {own / planned:5.2f} "
              f"{s['weights']:19.1f} {held:7.1f} {held / file_mb:8.2f}")
        if not 0.9 <= own / planned <= 1.1:
            wrong.append(f"rank {rank}: {own:.1f} MB of its own, planned {planned:.1f}")
        if held > 1.05 * s["weights"]:
            wrong.append(f"rank {rank}: {held:.1f} MB of weights, planned {s['weights']:.1f}")
        if a.stages >= 4 and held > 1.4 / a.stages * file_mb:
            wrong.append(f"rank {rank}: holds {held / file_mb:.2f} of the file")
    print(f"sum of PSS {pss:.0f} MB = own {own_then:.0f} + {(pss - own_then) / file_mb:.3f} x file")
    if pss - own_then > 1.15 * file_mb:
        wrong.append(f"the ranks hold {pss - own_then:.0f} MB of files")
    for text in wrong:
        print("FAILED:", text, file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
