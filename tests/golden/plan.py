"""--dry-run of the built program: the plan for the bundled demo, nothing written; every fault of the
inputs at once, each on its line; and a reason where the memory does not suffice.

usage: plan.py BUILD_FOLDER
"""
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DEMO = os.path.join(SOURCE, "jobs", "demo")
PROGRAM = os.path.join(sys.argv[1], "dinm_pipeline")
FAILED, USAGE = 1, 2
failures = []


def expect(holds, text):
    if not holds:
        failures.append(text)
        print("FAILED:", text, file=sys.stderr)


def run(*arguments, ranks=1, limit=None, timeout=120):
    """The dry run of the demo with these arguments; `limit` of the address space."""

    def narrow():
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    line = ["mpirun", "--quiet", "-n", str(ranks)] if ranks > 1 else []
    line += [PROGRAM, os.path.join(DEMO, "job.json"), "--dry-run", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=False,
                          preexec_fn=narrow if limit else None)


def row(text, name):
    """Words of the indented line that begins with `name`."""
    for line in text.splitlines():
        if line.startswith("  " + name + " "):
            return line.split()
    expect(False, f"no line {name} in the plan")
    return []


def a_sound_job(folder):
    out = os.path.join(folder, "out")
    p = run("--out", out, "--limit", "4", "--set", "evaluate.kqa_on=none", "--batch", "2")
    expect(p.returncode == 0, f"a sound job ends with 0, not {p.returncode}: {p.stderr}")
    expect(p.stdout.rstrip().endswith("It fits."), "the plan ends with its verdict")
    expect(not os.path.exists(out), "a dry run writes nothing")
    expect("6 layers of width 128" in p.stdout, "the model is named")
    expect("4 cases, 20 distinct prompts of 20" in p.stdout, "the cases are counted")
    # 20 vanilla and 20 edited answers of at most 60 tokens
    expect(row(p.stdout, "vanilla")[1:2] == ["20"] and "1.20 k" in p.stdout, "answers are counted")
    expect(row(p.stdout, "judge")[1:2] == ["40"], "all responses may have to be judged")


def stages_of_ranks():
    p = run(ranks=2)
    expect(p.returncode == 0 and "2 groups x 1 stage" in p.stdout, "two ranks, each with the model")
    p = run("--stages", "2", "--set", "run.layer_cut=[5,1]", ranks=2)
    expect(p.returncode == 0 and "5 + 1 layers (run.layer_cut)" in p.stdout, "the person's cut")
    rows = re.findall(r"^ +([01]) +(\d) - (\d) ", p.stdout, re.M)
    expect(rows == [("0", "0", "4"), ("1", "5", "5")], f"one row for each stage, found {rows}")
    p = run("--stages", "2", "--set", "run.layer_cut=[5,2]", ranks=2)
    expect(p.returncode != 0 and "found a sum of 7" in p.stderr, "a cut of other layers")


def break_model(folder):
    """Three of the model's tensors go, one of the judge's; the headers say so."""
    for part, gone in (("model", ("layers.1.mlp.down_proj", "layers.2.input_layernorm", "lm_head")),
                       ("judge", ("out_proj.bias",))):
        shutil.copytree(os.path.join(DEMO, part), os.path.join(folder, part))
        path = os.path.join(folder, part, "model.safetensors")
        with open(path, "rb") as f:
            n = struct.unpack("<Q", f.read(8))[0]
            header, data = json.loads(f.read(n)), f.read()
        for name in list(header):
            if any(word in name for word in gone):
                header["gone." + name] = header.pop(name)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + data)


def all_faults_at_once(folder):
    break_model(folder)
    with open(os.path.join(folder, "cases.json"), "w", encoding="utf-8") as f:
        f.write("[{]")
    p = run("--model", os.path.join(folder, "model"), "--judge", os.path.join(folder, "judge"),
            "--cases", os.path.join(folder, "cases.json"), "--set", "evaluate.kqa=nowhere.json",
            "--set", "locate.layers=[6]")
    lines = p.stderr.splitlines()
    expect(p.returncode == FAILED, f"wrong inputs end with 1, not {p.returncode}")
    for words in ("cases.json", "nowhere.json", "locate.layers: expected 0 to 5, found 6",
                  "model.layers.1.mlp.down_proj.weight is missing",
                  "model.layers.2.input_layernorm.weight is missing", "lm_head.weight is missing",
                  "out_proj.bias is missing"):
        expect(sum(words in line for line in lines) == 1, f"one line about {words}: {p.stderr}")
    expect(lines[-1] == "dinm_pipeline: 7 inputs are wrong", f"the count, found {lines[-1]}")
    expect(all(line.startswith("dinm_pipeline: ") for line in lines), "who says it")


def more_layers_than_tensors(folder):
    model = os.path.join(folder, "deep")
    shutil.copytree(os.path.join(DEMO, "model"), model)
    with open(os.path.join(model, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    config["num_hidden_layers"] = 100000
    with open(os.path.join(model, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    lines = run("--model", model).stderr.splitlines()
    expect(len(lines) == 22, f"twenty tensors, the rest and the count: {lines}")
    expect("tensors behind model.layers.8." in lines[20] and "not looked for" in lines[20],
           f"where the search ends: {lines[20:]}")


def faults_of_usage():
    p = run("--set", "locate.layers=[6]")
    expect(p.returncode == USAGE, f"only wrong usage ends with 2, not {p.returncode}")
    expect(p.stderr == "dinm_pipeline: locate.layers: expected 0 to 5, found 6\n",
           f"one fault is one line, found {p.stderr}")


def is_sanitized():
    with open(os.path.join(sys.argv[1], "CMakeCache.txt"), encoding="utf-8") as f:
        return "DINM_SANITIZE:BOOL=ON" in f.read()


def no_room():
    """Somewhere above an address space in which it cannot start lies one in which it can, and that
    does not suffice for the caches of so many and so long answers (100 MB). In the smallest ones
    OpenBLAS asks for its buffers for ever before our first line is run."""
    if is_sanitized():
        return  # its address space is larger than any limit
    for limit in range(400, 2000, 40):
        try:
            p = run("--set", "generate.max_new_tokens=480", "--batch", "64", limit=limit << 20,
                    timeout=20)
        except subprocess.TimeoutExpired:
            continue
        if p.returncode == 0 or "(ulimit -v)" in p.stderr:
            break
    expect(p.returncode == FAILED, f"what does not fit ends with 1, not {p.returncode}")
    expect("it does not fit: rank 0 needs" in p.stderr and "(ulimit -v)" in p.stderr,
           f"the limit is named: {p.stderr}")
    expect("MB of each rank" in p.stdout, "the plan is printed all the same")


with tempfile.TemporaryDirectory() as scratch:
    a_sound_job(scratch)
    stages_of_ranks()
    all_faults_at_once(scratch)
    more_layers_than_tensors(scratch)
    faults_of_usage()
    no_room()
sys.exit(1 if failures else 0)
