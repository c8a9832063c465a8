"""Locating and editing on a trained model with real prompts: the model ../shared/data/models/
stories260K in three dtypes, prompts of ../shared/data/safety/nlpcc.

usage: stories.py BUILD_FOLDER      exit status 77: skipped, ../shared is missing
"""
import json
import math
import os
import subprocess
import sys
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SHARED = os.path.join(SOURCE, "..", "shared", "data")
MODELS = os.path.join(SHARED, "models", "stories260K")
PROMPTS = os.path.join(SHARED, "safety", "nlpcc", "detoxify_val.json")
N_CASES, N_LAYERS, STEPS = 6, 5, 6

if not os.path.isdir(MODELS) or not os.path.exists(PROMPTS):
    print("SKIPPED: ../shared/data/models/stories260K or ../shared/data/safety/nlpcc is not there")
    sys.exit(77)


def check_text(program):
    """200 greedy tokens from the beginning of text, by the model's own tokenizer."""
    with open(os.path.join(MODELS, "expected_greedy_200.txt"), "rb") as f:
        expected = f.read()
    for dtype in ("f32", "f16", "bf16-sharded"):
        answer = subprocess.run([program, "generate", "--model", os.path.join(MODELS, "hf-" + dtype),
                                 "--prompt", "", "--max-new", "200"], check=True,
                                stdout=subprocess.PIPE).stdout
        if dtype == "f32":
            assert answer.strip() == expected.strip(), (answer, expected)
        else:
            n = next((i for i, (a, b) in enumerate(zip(answer, expected)) if a != b), len(answer))
            assert n > 200, f"{dtype}: differs from byte {n} on"
    print("200 greedy tokens give the peer's text byte for byte")


def make_cases(path):
    rows = [r for r in json.load(open(PROMPTS)) if r["response"].strip()]
    rows = rows[:: len(rows) // (2 * N_CASES)]
    cases = []
    for i in range(N_CASES):
        row, other = rows[2 * i], rows[2 * i + 1]
        cases.append({
            "id": row["id"], "unsafety category": row["unsafety category"],
            "adversarial prompt": row["input"], "question": row["question"],
            "attack category": "-", "attack name": row["attack name"],
            "unsafe generation": row["response"], "safe generation": "I cannot help with that.",
            "generalization test": {
                "test input of only harmful question": row["question"],
                "test input of other attack prompt input": other["input"],
                "attack_category": "-", "attack_name": "-",
                "test input of other question input": other["question"],
                "test input of other questions and attack prompts": other["input"]},
            "knowledge constrain": {"prompt": "Who is Lily?", "answer": "Lily is a little girl."}})
    json.dump(cases, open(path, "w"))
    return cases


def check(build, folder, dtype, cases):
    out = os.path.join(folder, dtype)
    subprocess.run(["mpirun", "--quiet", "-n", "3", os.path.join(build, "dinm_pipeline"), "--quiet",
                    "--model", os.path.join(MODELS, "hf-" + dtype), "--out", out,
                    "--judge", os.path.join(SOURCE, "jobs", "demo", "judge"),
                    "--cases", os.path.join(folder, "cases.json"),
                    "--set", f"edit.steps={STEPS}", "--set", "generate.max_new_tokens=40"], check=True)
    lines = [json.loads(line) for line in open(os.path.join(out, "cases.jsonl"))]
    assert [line["id"] for line in lines] == [case["id"] for case in cases]
    for line in lines:
        assert "failed" not in line, line
        assert len(line["distances"]) == N_LAYERS and all(d > 0 for d in line["distances"])
        assert line["layer"] == max(range(N_LAYERS), key=line["distances"].__getitem__)
        losses = [step[0] for step in line["losses"]]
        assert len(losses) == STEPS and all(map(math.isfinite, losses)), losses
        assert losses[-1] < losses[0], losses
        assert len(line["inputs"]) == 5
    results = json.load(open(os.path.join(out, "results.json")))
    # 1000 tokens is more than the 512 positions hold: long prompts are cut, counted and reported.
    assert results["n_failed"] == 0 and results["n_prompts_cut"] > 0, results
    return lines


def main():
    check_text(os.path.join(sys.argv[1], "dinm_pipeline"))
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(os.path.join(folder, "cases.json"))
        lines = {d: check(sys.argv[1], folder, d, cases) for d in ("f32", "f16", "bf16-sharded")}
        for dtype, of in lines.items():
            for a, b in zip(lines["f32"], of):
                error = max(abs(x - y) / x for x, y in zip(a["distances"], b["distances"]))
                assert error < (1e-6 if dtype == "f32" else 5e-3 if dtype == "f16" else 5e-2), error
            print(dtype, "layers", [line["layer"] for line in of],
                  "loss", [f"{line['losses'][0][0]:.2f} > {line['losses'][-1][0]:.2f}" for line in of])


main()
