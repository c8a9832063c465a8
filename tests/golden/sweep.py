"""A sweep leaves what its combinations leave alone, byte by byte, though they share what they have in
common: every setting is swept once and compared with runs of their own; then several at once on ranks
and stages, stopped, killed, failing, and refused.

usage: sweep.py BUILD_FOLDER [all]   (all: each of the edit's settings too, not a few)
"""
import itertools
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "jobs", "demo")
PROGRAM = os.path.join(sys.argv[1], "dinm_pipeline")
FILES = ["cases.jsonl", "results.json", "results.md", "results.csv", "report.html"]
TABLES = ["sweep.json", "sweep.csv", "sweep.md", "sweep.html"]
L, V, E = "locate", "vanilla", "edit"
SMALL = {"cases.limit": 2, "generate.max_new_tokens": 12, "edit.steps": 2, "evaluate.kqa_on": "first",
         "evaluate.kqa_max_new_tokens": 4, "evaluate.n_resamples": 20}
SAMPLED = {"generate.decoding": "sample"}


def words(settings, prefix=""):
    """Settings as --set takes them."""
    out = []
    for key, value in settings.items():
        if key == "profile" and not prefix:
            out += ["--profile", value]
        else:
            text = value if isinstance(value, str) and not prefix else json.dumps(value)
            out += ["--set", f"{prefix}{key}={text}"]
    return out


def command(out, settings, sweep=None, ranks=1, options=()):
    launch = ["mpirun", "--quiet", "-n", str(ranks)] if ranks > 1 else []
    settings = {k: v for k, v in {**SMALL, **settings}.items() if k not in (sweep or {})}
    return [*launch, PROGRAM, os.path.join(DEMO, "job.json"), "--out", out, *words(settings),
            *words(sweep or {}, "sweep."), *options]


def run(*args, **kwargs):
    """Exit status and all that was said."""
    done = subprocess.run(command(*args, **kwargs), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def same_archive(a, b, what):
    if not shutil.which("h5diff"):
        return print("the archives are not compared: h5diff is missing (Debian: hdf5-tools)")
    done = subprocess.run(["h5diff", os.path.join(a, "activations.h5"), os.path.join(b, "activations.h5")],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"{what}: activations.h5 differs: {done.stdout}"


def same_run(a, b, what):
    for name in FILES:
        assert read(a, name) == read(b, name), f"{what}: {name} differs"
    same_archive(a, b, what)
    names = [sorted(os.listdir(os.path.join(x, "edits"))) if os.path.isdir(os.path.join(x, "edits")) else []
             for x in (a, b)]
    assert names[0] == names[1], f"{what}: edits/ differs: {names}"
    for name in names[0]:
        assert read(a, "edits", name) == read(b, "edits", name), f"{what}: {name} differs"


def same_sweep(a, b, n, what):
    for name in TABLES:
        assert read(a, name) == read(b, name), f"{what}: {name} differs"
    for number in range(n):
        same_run(*(os.path.join(x, "sweep", f"{number:03d}") for x in (a, b)), f"{what}, {number:03d}")


def taken(said):
    """For each combination that was run: phases that it took over."""
    parts = re.split(r"^combination \d+ of .*$", said, flags=re.M)[1:]
    return [set(re.findall(r"^(\w+): \d+ \w+ as in ", part, flags=re.M)) for part in parts]


def has_bf16(folder):
    code, said = run(os.path.join(folder, "none"), {"model.compute": "bf16"}, options=["--dry-run"])
    assert code in (0, 2), said
    if code == 2:
        print("model.compute is not swept: this machine or build has no products in bf16")
    return code == 0


# Of every setting: its usual and another value, the phases it decides (the others must be taken over),
# and those whose results can be seen to differ here: where they are taken over all the same, files
# differ from those of the run alone.
def every_key(folder):
    cases = json.load(open(os.path.join(DEMO, "cases.json"), encoding="utf-8"))
    a, b, c, d = (case["id"] for case in cases[:4])
    with open(os.path.join(folder, "cases.json"), "w", encoding="utf-8") as f:
        json.dump(cases[4:], f)
    shutil.copytree(os.path.join(DEMO, "model"), os.path.join(folder, "model"))
    demo = {name: os.path.join(DEMO, name) for name in ("model", "judge", "cases.json", "questions.json")}
    all_of, edits = {L, V, E}, {E}
    return {
        "profile": ("paper", "easyedit", all_of, {L, V}),
        "model.path": (demo["model"], os.path.join(folder, "model"), all_of, set()),
        "model.compute": ("f32", "bf16", all_of, set()) if has_bf16(folder) else None,
        "judge.path": (demo["judge"], "refusal", set(), set()),
        "judge.unsafe_label": ("unsafe", "safe", set(), set()),
        "cases.path": (demo["cases.json"], os.path.join(folder, "cases.json"), all_of, {L, V}),
        "cases.ids": (f"{a},{b}", f"{c},{d}", all_of, {L, V}),
        "cases.limit": (2, 1, all_of, set()),
        "prompt.template": ("{prompt}", "Q: {prompt}\nA:", {V, E}, {V}),
        "prompt.suffix": ("", "Please give the right response:", {V, E}, {V}),
        "prompt.suffix_before": (True, False, {V, E}, {V}),
        "prompt.suffix_after": (True, False, {V, E}, set()),
        "locate.layers": ([], [1], edits, set()),
        "locate.padding": ("right", "left", {L, E}, {L}),
        "locate.when": ("every", "first", edits, set()),
        "locate.final_norm": (True, False, {L, E}, {L}),
        "locate.bos": (True, False, {L, E}, {L}),
        "edit.method": ("dinm", "ft_l", edits, set()),
        "edit.steps": (2, 3, edits, set()),
        "edit.lr": (5e-3, 1e-2, edits, set()),
        "edit.weight_decay": (0, 0.1, edits, set()),
        "edit.c_edit": (0.1, 0.5, edits, set()),
        "edit.optimizer": ("adam", "sgd", edits, set()),
        "edit.constraint": (True, False, edits, set()),
        "edit.constraint_grad": (True, False, edits, set()),
        "edit.constraint_direction": ("edited_base", "base_edited", edits, set()),
        "edit.constraint_rows": ("predict", "last", edits, set()),
        "edit.stop_loss": (1e-4, 1.0, edits, set()),
        "edit.norm_constraint": (0, 1e-3, edits, set()),
        "edit.labels": ("target", "alone", edits, set()),
        "edit.eos": (False, True, edits, set()),
        "edit.target_prefix": (" ", "\n", edits, set()),
        "edit.accumulate": None,  # not built yet
        "edit.save": (False, True, edits, set()),
        "generate.max_new_tokens": (12, 5, {V, E}, {V}),
        "generate.max_input_tokens": (1000, 9, {V, E}, {V}),
        "generate.decoding": ("greedy", "sample", {V, E}, {V}),
        "generate.temperature": (0.9, 0.1, {V, E}, {V}),
        "generate.top_p": (0.95, 0.1, {V, E}, {V}),
        "generate.seed": (0, 7, {V, E}, {V}),
        "generate.cut": ("tokens", "characters", {V, E}, {V}),
        "evaluate.kqa": (demo["questions.json"], "", {V, E}, set()),
        "evaluate.kqa_on": ("first", "none", {V, E}, set()),
        "evaluate.kqa_max_new_tokens": (8, 1, {V, E}, set()),
        "evaluate.n_resamples": (20, 10, set(), set()),
        "evaluate.seed": (0, 3, set(), set()),
        "archive.hidden": ("last", "full", {L, E}, set()),
        "archive.dtype": ("f16", "f32", {L, E}, set()),
    }


SAMPLERS = {"generate.temperature", "generate.top_p", "generate.seed"}
FEW_OF_EDIT = {"edit.lr", "edit.steps", "edit.method", "edit.save"}


def changed(a, b):
    """Phases in whose results two runs can be seen to differ."""
    lines = [[json.loads(line) for line in read(x, "cases.jsonl").splitlines()] for x in (a, b)]
    seen = {L: [[c["distances"] for c in x] for x in lines],
            V: [[answers["vanilla"]["response"] for c in x for answers in c["inputs"].values()] for x in lines]}
    return {phase for phase, (x, y) in seen.items() if x != y}


def check_every_key(folder, every):
    """One key at a time: combination 000 has the usual value and takes over nothing, 001 the other."""
    done = subprocess.run([PROGRAM, "--help=settings"], text=True, stdout=subprocess.PIPE, check=True)
    known = {key for key in re.findall(r"^(\S+)$", done.stdout, flags=re.M) if not key.startswith("run.")}
    keys = every_key(folder)
    assert known - {"sweep"} == set(keys), f"not in this test, or no setting: {known ^ set(keys)}"
    n = 0
    out, alone = os.path.join(folder, "sweep"), os.path.join(folder, "other")
    pair = [os.path.join(out, "sweep", x) for x in ("000", "001")]
    for key, row in keys.items():
        if row is None or (key.startswith("edit.") and not every and key not in FEW_OF_EDIT):
            continue
        n += 1
        values, decides, seen = row[:2], row[2], row[3]
        settings = SAMPLED if key.startswith("prompt.") or key in SAMPLERS else {}
        code, said = run(out, settings, sweep={key: list(values)})
        assert code == 0, (key, said)
        code, what = run(alone, {**settings, key: values[1]})
        assert code == 0, (key, values[1], what)
        same_run(alone, pair[1], f"{key}={values[1]!r}")
        assert taken(said) == [set(), {L, V, E} - decides], (key, taken(said))
        assert seen <= changed(*pair), (key, "nothing would be noticed", changed(*pair))
        for path in (out, alone):
            shutil.rmtree(path)
    print(f"{n} settings swept, each as alone")


GRID = {"edit.lr": [1e-3, 5e-3], "generate.max_new_tokens": [6, 12], "judge.path": [os.path.join(DEMO, "judge"), "refusal"]}


def grid_settings():
    return [dict(zip(GRID, values)) for values in itertools.product(*GRID.values())]


def check_ranks(folder):
    """Several keys: the last one fastest; the same bytes on any number of ranks and stages."""
    first = os.path.join(folder, "1")
    code, said = run(first, {}, sweep=GRID)
    assert code == 0, said
    assert taken(said) == [set(), {L, V, E}, {L}, {L, V, E}, {L, V}, {L, V, E}, {L, V}, {L, V, E}], taken(said)
    table = json.loads(read(first, "sweep.json"))
    assert [r["values"] for r in table["runs"]] == grid_settings(), table["runs"]
    assert all(r["state"] == "done" and r["n_cases"] == 2 and r["n_failed"] == 0 for r in table["runs"])
    for number, settings in enumerate(grid_settings()):
        alone = os.path.join(folder, "alone")
        code, what = run(alone, settings)
        assert code == 0, what
        same_run(alone, os.path.join(first, "sweep", f"{number:03d}"), f"alone, {number:03d}")
        results = json.loads(read(alone, "results.json"))
        for name, metric in table["runs"][number]["metrics"].items():
            assert all(metric[side] == results["metrics"][name][side] for side in ("vanilla", "edited")), name
        assert f"{number:03d}" in said.rstrip().splitlines()[number - 10], said
        origins = json.loads(read(first, "sweep", f"{number:03d}", "job.json"))["origins"]
        assert {k for k, v in origins.items() if v == "sweep"} == {"run.out", *GRID}, origins
        shutil.rmtree(alone)
    for ranks, stages in ((2, 1), (3, 1), (2, 2), (4, 2)):
        out = os.path.join(folder, f"{ranks}x{stages}")
        code, what = run(out, {"run.stages": stages}, sweep=GRID, ranks=ranks)
        assert code == 0, what
        same_sweep(first, out, 8, f"{ranks} ranks, {stages} stages")
        shutil.rmtree(out)
    print("8 combinations: the same on 1, 2, 3 ranks, on 2 stages, and alone")
    return first


def check_stopped(folder, first):
    """Stopped by the clock on changing ranks, sooner than any machine is through and a little later every
    time; killed at random moments; every time the same in the end."""
    out, tries, ranks, limit_s = os.path.join(folder, "stopped"), 0, 1, 0.02
    while True:
        code, said = run(out, {}, sweep=GRID, ranks=ranks, options=["--max-time", str(limit_s)])
        if code == 0:
            break
        assert code == 75 and re.search(r"combination \d+ \(.*\): stopped in phase", said), (code, said)
        tries, ranks, limit_s = tries + 1, ranks % 3 + 1, 1.3 * limit_s
        assert tries < 100, "a stopped sweep never ends"
    assert tries > 0, "nothing was ever stopped"
    same_sweep(first, out, 8, "stopped")
    code, said = run(out, {}, sweep=GRID)
    assert code == 0 and said.count("(done before)") == 8 and "locate" not in said, said
    same_sweep(first, out, 8, "finished")
    shutil.rmtree(out)
    n_killed, rng = 0, random.Random(6)
    for n in range(8):
        process = subprocess.Popen(command(out, {}, sweep=GRID), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(0.05 + 0.35 * rng.random())
        process.send_signal(signal.SIGKILL)
        n_killed += process.wait() == -signal.SIGKILL
    code, said = run(out, {}, sweep=GRID, ranks=2)
    assert code == 0 and n_killed > 2, (n_killed, said)
    same_sweep(first, out, 8, "killed")
    print(f"stopped {tries} times, killed {n_killed} times")


def check_refused(folder, first):
    """Another sweep in the folder, and files that were changed, are named; --fresh starts over."""
    def refused(settings, sweep, *names):
        code, said = run(first, settings, sweep=sweep)
        line = said.strip().splitlines()[-1]
        assert code == 1 and "belongs to another sweep" in line and all(x in line for x in names), (code, said)
    refused({}, {**GRID, "edit.lr": [1e-3, 6e-3]}, "the values of edit.lr;")
    refused({}, dict(reversed(GRID.items())), "the order of the keys;")
    refused({"generate.max_new_tokens": 12}, {k: v for k, v in GRID.items() if k[0] != "g"},
            "the values of generate.max_new_tokens;")
    refused({"edit.steps": 3}, GRID, "edit.steps;")
    cases = os.path.join(folder, "some.json")
    with open(cases, "w", encoding="utf-8") as f:
        json.dump(json.load(open(os.path.join(DEMO, "cases.json"), encoding="utf-8"))[1:], f)
    refused({"cases.path": cases}, GRID, "the files of cases;")
    small, alone = {"edit.lr": [1e-3, 2e-3]}, os.path.join(folder, "alone")
    code, said = run(first, {})
    assert code == 1 and f"{first} holds a sweep; use another --out" in said, (code, said)
    assert run(alone, {"edit.lr": 2e-3})[0] == 0
    code, said = run(alone, {}, sweep=small)
    assert code == 1 and f"{alone} holds a run that is no sweep" in said, (code, said)
    code, said = run(first, {}, sweep=small, options=["--fresh", "--max-time", "1e-3"])
    assert code == 75, said
    code, said = run(first, {}, sweep=small)
    assert code == 0 and "(done before)" not in said and taken(said) == [set(), {L, V}], said
    same_run(alone, os.path.join(first, "sweep", "001"), "fresh")
    # What a lost file would have told is made again from the journal.
    os.remove(os.path.join(first, "sweep", "001", "results.md"))
    code, said = run(first, {}, sweep=small)
    assert code == 0 and said.count("(done before)") == 1, said
    same_run(alone, os.path.join(first, "sweep", "001"), "file lost")


def check_failures(folder):
    """A combination that fails keeps no other from being run."""
    out, small = os.path.join(folder, "failing"), {"edit.lr": [1e-3, 2e-3, 5e-3]}
    os.makedirs(os.path.join(out, "sweep"))
    with open(os.path.join(out, "sweep", "001"), "w", encoding="utf-8") as f:
        f.write("a file where a folder is to be\n")
    for ranks in (1, 2):
        code, said = run(out, {}, sweep=small, ranks=ranks)
        line = said.strip().splitlines()[-1]
        assert code == 1 and "1 of 3 combinations failed, wholly or in part: 001;" in line, (code, said)
        assert re.search(r"^dinm_pipeline: combination 001 \(edit.lr=0.002\): .*sweep/001", said, flags=re.M), said
        states = [r["state"] for r in json.loads(read(out, "sweep.json"))["runs"]]
        assert states == ["done", "failed", "done"], states
        assert "sweep/001" in json.loads(read(out, "sweep.json"))["runs"][1]["reason"]
    os.remove(os.path.join(out, "sweep", "001"))
    code, said = run(out, {}, sweep=small)
    assert code == 0 and said.count("(done before)") == 2 and taken(said)[1] == {L, V}, (code, said)
    # An archive that cannot be read is no reason to fail: the cases are located again.
    whole = os.path.join(out, "sweep", "000", "activations.h5")
    with open(whole, "r+b") as f:
        f.truncate(100)
    shutil.rmtree(os.path.join(out, "sweep", "002"))
    alone = os.path.join(folder, "of its own")
    code, said = run(out, {}, sweep=small)
    assert code == 0 and taken(said)[-1] == {V} and "located again" in said, (code, said)
    assert run(alone, {"edit.lr": 5e-3})[0] == 0
    same_run(alone, os.path.join(out, "sweep", "002"), "archive lost")
    shutil.rmtree(out)


def check_damaged_donor(folder):
    """States that are no longer those that were written are not taken over."""
    out, alone, lrs = os.path.join(folder, "damaged"), os.path.join(folder, "alone"), [1e-3, 2e-3]
    assert run(alone, {"edit.lr": lrs[1]})[0] == 0
    for what, notice in (("state", "the hidden states of 1 cases, the first with id"),
                         ("structure", "all cases are located again")):
        obstacle = os.path.join(out, "sweep", "001")
        os.makedirs(os.path.dirname(obstacle))
        with open(obstacle, "w", encoding="utf-8") as f:
            f.write("a file where a folder is to be\n")
        code, said = run(out, {}, sweep={"edit.lr": lrs})
        assert code == 1, said
        os.remove(obstacle)
        donor = os.path.join(out, "sweep", "000")
        values = json.loads(read(donor, "journal", "archive.json"))["values"]
        begin = max(values, key=lambda extent: extent[1] - extent[0])[0]
        with open(os.path.join(donor, "activations.h5"), "r+b") as f:
            f.seek(begin if what == "state" else begin - 1)
            byte = f.read(1)[0]
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([byte ^ 4]))
        code, said = run(out, {}, sweep={"edit.lr": lrs}, ranks=2)
        assert code == 0 and notice in said and V in taken(said)[-1], (what, said)
        same_run(alone, os.path.join(out, "sweep", "001"), f"damaged {what}")
        shutil.rmtree(out)
    shutil.rmtree(alone)


def check_phases(folder):
    """Phases one after the other; edits that are saved are made by every run itself; a signal stops."""
    out, sweep = os.path.join(folder, "phases"), {"judge.path": [os.path.join(DEMO, "judge"), "refusal"]}
    settings, alone = {"edit.save": True}, os.path.join(folder, "saved")
    code, said = run(out, settings, sweep=sweep, options=["--phases", "locate,vanilla"])
    assert code == 0 and taken(said) == [set(), {L, V}], said
    assert not os.path.exists(os.path.join(out, "sweep", "000", "results.json"))
    process = subprocess.Popen(command(out, settings, sweep=sweep, ranks=1), text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    said = ""
    while not said.startswith("combination"):
        said = process.stdout.readline()
    process.send_signal(signal.SIGUSR1)
    said += process.communicate()[0]
    assert process.returncode == 75 and "combination 000 (" in said and "the same command goes on" in said, said
    code, said = run(out, settings, sweep=sweep)
    assert code == 0 and taken(said) == [set(), set()], said
    for number, judge in enumerate(sweep["judge.path"]):
        assert run(alone, {**settings, "judge.path": judge})[0] == 0
        same_run(alone, os.path.join(out, "sweep", f"{number:03d}"), "phases")
        assert os.listdir(os.path.join(alone, "edits"))
        shutil.rmtree(alone)


def check_failed_cases(folder):
    """A token whose embedding is not a number stands in the constraint of the first case: it cannot be
    edited. Where nothing is edited, it does not fail."""
    model, cases, out = (os.path.join(folder, x) for x in ("poisoned", "poisoned.json", "partly"))
    shutil.copytree(os.path.join(DEMO, "model"), model)
    with open(os.path.join(model, "tokenizer.json"), encoding="utf-8") as f:
        token = json.load(f)["model"]["vocab"]["~"]
    with open(os.path.join(model, "model.safetensors"), "r+b") as f:
        n_head = struct.unpack("<Q", f.read(8))[0]
        embed = json.loads(f.read(n_head))["model.embed_tokens.weight"]
        f.seek(8 + n_head + embed["data_offsets"][0] + 2 * embed["shape"][1] * token)
        f.write(struct.pack("<e", float("nan")) * embed["shape"][1])
    with open(os.path.join(DEMO, "cases.json"), encoding="utf-8") as f:
        records = json.load(f)[:2]
    records[0]["knowledge constrain"]["prompt"] += " ~"
    with open(cases, "w", encoding="utf-8") as f:
        json.dump(records, f)
    for _ in range(2):
        code, said = run(out, {"model.path": model, "cases.path": cases},
                         sweep={"edit.method": ["none", "dinm"], "evaluate.seed": [0, 1]}, options=["--quiet"])
        assert code == 1 and "2 of 4 combinations failed, wholly or in part: 002, 003;" in said, (code, said)
        assert said.count("\n") == 1, said
        table = json.loads(read(out, "sweep.json"))
        assert [(r["state"], r["n_cases"], r["n_failed"]) for r in table["runs"]] == \
            [("done", 2, 0)] * 2 + [("done", 2, 1)] * 2, table
        assert "1 of 2 cases failed" in read(out, "sweep.md").decode()
    done = subprocess.run([PROGRAM, "inspect", out], text=True, stdout=subprocess.PIPE)
    assert done.returncode == 0 and read(out, "sweep.md").decode() in done.stdout, done
    done = subprocess.run([PROGRAM, "report", out], text=True, stderr=subprocess.PIPE)
    assert done.returncode == 1 and "holds a sweep: name one of its runs" in done.stderr, done


def check_words(folder):
    """Wrong sweeps: one sentence each, all at once, before anything is done. And the dry run."""
    out = os.path.join(folder, "none")

    def wrong(sweep, *sentences, settings=None, options=()):
        code, said = run(out, settings or {}, sweep=sweep, options=options)
        assert code == 2 and not os.path.exists(out), (code, said)
        for sentence in sentences:
            assert f"dinm_pipeline: {sentence}\n" in said, (sentence, said)
    wrong({"edit.lrs": [1]}, '--set sweep: there is no setting "edit.lrs"; the nearest is "edit.lr"')
    wrong({"run.out": ["a", "b"]},
          "--set sweep: run.out cannot be swept: it says how a job is run and changes no result")
    wrong({"edit.lr": []}, "--set sweep: edit.lr: expected a list of values, found an empty list")
    wrong({"edit.lr": 3}, "--set sweep: edit.lr: expected a list of values, found the number 3")
    wrong({"edit.lr": [1, 2, 1.0]}, "--set sweep: edit.lr: 1 stands there twice")
    wrong({"edit.lr": ["x", -1], "edit.steps": [0.5]},
          '--set sweep: edit.lr: expected a number from 0 to 1000, found "x"',
          "--set sweep: edit.lr: expected a number from 0 to 1000, found the number -1",
          "--set sweep: edit.steps: expected a whole number from 1 to 1000000, found the number 0.5",
          "3 parts of the sweep are wrong")
    wrong({"edit.method": ["dinm", "none"], "edit.save": [False, True]},
          'combination 003 (edit.method="none", edit.save=true): edit.save needs a method that changes '
          "weights (edit.method dinm or ft_l)")
    wrong({"edit.lr": [1, 2]}, "edit.lr is swept, and cannot be set by --set as well",
          options=["--set", "edit.lr=1"])
    wrong({"cases.limit": list(range(1, 102)), "edit.steps": list(range(1, 101))},
          "the sweep has more than 10000 combinations")
    wrong({}, "--set sweep: edit.lr: expected a list like [5e-4, 1e-3] or [\"a\", \"b\"], found \"1,2\"",
          options=["--set", "sweep.edit.lr=1,2"])
    code, said = run(out, {}, sweep={"judge.path": ["refusal", "no_judge"], "locate.layers": [[], [99]]})
    assert code == 1 and not os.path.exists(out) and "2 inputs are wrong" in said, said
    assert "locate.layers: expected 0 to 5, found 99" in said and "no_judge" in said, said
    code, said = run(out, {}, sweep=GRID, ranks=2, options=["--dry-run"])
    assert code == 0 and not os.path.exists(out), said
    assert said.count("work        units") == 1 and "8 combinations; that was 000" in said, said
    assert "7 share the phase locate of an earlier one, 6 vanilla, 4 edit" in " ".join(said.split()), said


with tempfile.TemporaryDirectory() as scratch:
    check_words(scratch)
    check_failures(scratch)
    check_damaged_donor(scratch)
    check_failed_cases(scratch)
    check_phases(scratch)
    full = check_ranks(scratch)
    check_stopped(scratch, full)
    check_refused(scratch, full)
    check_every_key(scratch, "all" in sys.argv[2:])
print("sweep: passed")
