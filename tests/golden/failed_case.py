"""A case that fails by itself: it is named with its reason, the others are done, and the exit status
says that not all went well.

The demo's model gets a token whose embedding is not a number. One case wants it in its safe
generation, another in its constraint; no other text holds it. The third case checks that nothing
spreads: its results are those of a run without the two.

usage: failed_case.py BUILD_FOLDER
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "jobs", "demo")
POISON = "~"


def poison(folder):
    """The embedding of POISON becomes NaN in a copy of the demo's model."""
    shutil.copytree(os.path.join(DEMO, "model"), folder)
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        token = json.load(f)["model"]["vocab"][POISON]
    with open(os.path.join(folder, "model.safetensors"), "r+b") as f:
        n_head = struct.unpack("<Q", f.read(8))[0]
        embed = json.loads(f.read(n_head))["model.embed_tokens.weight"]
        assert embed["dtype"] == "F16", embed
        f.seek(8 + n_head + embed["data_offsets"][0] + 2 * embed["shape"][1] * token)
        f.write(struct.pack("<e", float("nan")) * embed["shape"][1])


def make_cases(path):
    with open(os.path.join(DEMO, "cases.json"), encoding="utf-8") as f:
        cases = json.load(f)[:3]
    assert POISON not in json.dumps(cases)
    cases[0]["safe generation"] += " " + POISON
    cases[1]["knowledge constrain"]["prompt"] += " " + POISON
    with open(path, "w", encoding="utf-8") as f:
        json.dump(cases, f)
    return [case["id"] for case in cases]


def run(program, folder, name, layers="3", ids=None):
    """Exit status, the lines of cases.jsonl, results.json and what was said."""
    out = os.path.join(folder, name)
    settings = ["--set", f"locate.layers=[{layers}]"]
    if ids:
        settings += ["--set", "cases.ids=" + ",".join(map(str, ids))]
    done = subprocess.run([program, os.path.join(DEMO, "job.json"), "--out", out, "--quiet",
                           "--model", os.path.join(folder, "model"),
                           "--cases", os.path.join(folder, "cases.json"),
                           "--set", "edit.steps=2", "--set", "evaluate.kqa_on=none",
                           "--set", "generate.max_new_tokens=8", *settings],
                          capture_output=True, text=True)
    with open(os.path.join(out, "cases.jsonl"), encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    with open(os.path.join(out, "results.json"), encoding="utf-8") as f:
        results = json.load(f)
    return done.returncode, lines, results, done.stderr


def check(program, folder):
    poison(os.path.join(folder, "model"))
    ids = make_cases(os.path.join(folder, "cases.json"))
    code, lines, results, said = run(program, folder, "some")
    assert code == 1, (code, said)
    assert "2 of 3 cases failed" in said and "cases.jsonl" in said, said
    assert [line["id"] for line in lines] == ids, lines
    for line in lines[:2]:
        assert "the loss of its edit is not a finite number" in (line.get("failed") or ""), line
    assert not lines[2].get("failed"), lines[2]
    assert results["n_cases"] == 3 and results["n_failed"] == 2, results

    # Run again on the same folder: what failed is known and stays so.
    again = run(program, folder, "some")
    assert again[:3] == (code, lines, results), again

    # The case that went well is what it is alone, and alone the status is 0.
    code, alone, results, said = run(program, folder, "alone", ids=ids[2:])
    assert code == 0 and results["n_failed"] == 0, (code, said)
    assert alone == lines[2:], (alone, lines[2])

    # All together failing leaves results, too.
    code, lines, results, said = run(program, folder, "none", ids=ids[:2])
    assert code == 1 and "2 of 2 cases failed" in said, (code, said)
    assert results["n_failed"] == 2 and all(line["failed"] for line in lines), results

    # A case may fail before its edit: located by responses one of which is not a number.
    code, lines, results, said = run(program, folder, "locate", layers="")
    assert code == 1 and "2 of 3 cases failed" in said, (code, said)
    assert "hidden states" in lines[0]["failed"] and "loss" in lines[1]["failed"], lines
    assert not lines[2].get("failed"), lines[2]


with tempfile.TemporaryDirectory() as scratch:
    check(os.path.join(sys.argv[1], "dinm_pipeline"), scratch)
print("failed_case: passed")
