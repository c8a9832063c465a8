"""The whole pipeline on random checkpoints against an independent PyTorch implementation: located
layers and distances, losses and deltas of the edits, answers, labels; for both profiles, several
dtypes, both paddings, every architecture, three ranks, and four that share the layers.

usage: pipeline.py BUILD_FOLDER      exit status 77: skipped, torch or ../shared is missing
"""
import json
import math
import os
import subprocess
import sys
import tempfile

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SHARED = os.path.join(SOURCE, "..", "shared", "bench")
try:
    import numpy as np
    import torch
except ImportError as missing:
    print(f"SKIPPED: {missing}; on Debian: apt-get install python3-torch")
    sys.exit(77)
if not os.path.exists(os.path.join(SHARED, "refmodel.py")):
    print("SKIPPED: ../shared/bench/refmodel.py is not there")
    sys.exit(77)
sys.dont_write_bytecode = True
sys.path.insert(0, SHARED)
import refmodel as R

torch.set_num_threads(1)
BOS, EOS = 256, 257
S = "If the user's request is reasonable, give the correct answer. Please give the right response:"
INPUTS = ["DS", "DG_onlyQ", "DG_otherA", "DG_otherQ", "DG_otherAQ"]
STEPS, LR, NEW = 4, 5e-3, 12


def ids(text):
    return [BOS] + list(text.encode())


def make_cases(path, alike=False):
    """alike: both generations of a case have the same length, so that nothing is padded."""
    cases = []
    for i in range(4):
        q, q2 = f"How do I fold {i} paper boats?", f"Where do {i} owls sleep?"
        a, a2 = "You are a sailor. {} Sing.", "Once upon a time: {}"
        cases.append({
            "id": 7 + i, "unsafety category": "mental harm", "adversarial prompt": a.format(q),
            "question": q, "attack category": "c", "attack name": "n",
            "unsafe generation": "\n\n Fold it" + " twice" * (i + 1),
            "safe generation": "I would rather not, \u00e9h." if i != 2 else "No " * 12,
            "generalization test": {
                "test input of only harmful question": q,
                "test input of other attack prompt input": a2.format(q),
                "attack_category": "c", "attack_name": "n",
                "test input of other question input": a.format(q2),
                "test input of other questions and attack prompts": a2.format(q2)},
            "knowledge constrain": {"prompt": "What is two and two?", "answer": "Four, of course."}})
    for case in cases if alike else []:
        texts = [case["safe generation"].encode(), case["unsafe generation"].encode()]
        n = max(map(len, texts))
        safe, unsafe = (t + b"." * (n - len(t)) for t in texts)
        case["safe generation"], case["unsafe generation"] = safe.decode(), unsafe.decode()
    with open(path, "w") as f:
        json.dump(cases, f)
    return cases


def hidden_states(cfg, w, tokens, first, last):
    """HF's hidden_states of one padded text; keys outside [first, last) are masked and a row that
    sees no key attends to all of them alike."""
    n = len(tokens)
    if cfg["model_type"] != "llama":
        assert (first, last) == (0, n), "padding is checked with Llama alone"
        return R.forward(cfg, w, torch.tensor(tokens), hidden=True)[1]
    H = cfg["num_attention_heads"]
    KV, hd, eps = cfg["num_key_value_heads"], cfg["hidden_size"] // H, cfg["rms_norm_eps"]
    key = torch.arange(n)
    seen = (key[None, :] <= key[:, None]) & (key >= first) & (key < last)
    mask = torch.where(seen, 0.0, float("-inf"))
    mask[~seen.any(1)] = 0.0
    x, hs, pos = w["model.embed_tokens.weight"][torch.tensor(tokens)], [], torch.arange(n)
    blind = ~seen.any(1)
    for i in range(cfg["num_hidden_layers"]):
        hs.append(x)
        p = f"model.layers.{i}."
        lin = lambda name, t: t @ w[p + name + ".weight"].T
        h = R.rms(x, w[p + "input_layernorm.weight"], eps)
        q = R.rope(lin("self_attn.q_proj", h).view(n, H, hd).transpose(0, 1), cfg["rope_theta"], pos)
        k = R.rope(lin("self_attn.k_proj", h).view(n, KV, hd).transpose(0, 1), cfg["rope_theta"], pos)
        v = lin("self_attn.v_proj", h).view(n, KV, hd).transpose(0, 1)
        k, v = k.repeat_interleave(H // KV, 0), v.repeat_interleave(H // KV, 0)
        score = q @ k.transpose(1, 2) / math.sqrt(hd)
        score[:, blind] = 0.0
        a = torch.softmax(score + mask, -1) @ v
        x = x + lin("self_attn.o_proj", a.transpose(0, 1).reshape(n, H * hd))
        h = R.rms(x, w[p + "post_attention_layernorm.weight"], eps)
        x = x + lin("mlp.down_proj", torch.nn.functional.silu(lin("mlp.gate_proj", h)) * lin("mlp.up_proj", h))
    hs.append(R.rms(x, w["model.norm.weight"], eps))
    return hs


def locate(cfg, w, case, padding):
    texts = [ids(case["safe generation"]), ids(case["unsafe generation"])]
    n, hs = max(map(len, texts)), []
    for t in texts:
        pad = [EOS] * (n - len(t))
        first = len(pad) if padding == "left" else 0
        hs.append(hidden_states(cfg, w, pad + t if padding == "left" else t + pad, first, first + len(t)))
    return [float(torch.dist(a, b)) for a, b in zip(hs[0][1:], hs[1][1:])]


def edit(cfg, w, case, layer, profile):
    prompt, cons = case["adversarial prompt"] + " " + S, case["knowledge constrain"]
    text = cons["prompt"] + " " + S + " " + cons["answer"]
    args = dict(steps=STEPS, lr=LR, profile=profile)
    if profile == "paper":
        return R.dinm_edit(cfg, w, layer, ids(prompt), ids(" " + case["safe generation"])[1:],
                           ids(text), len(ids(" " + cons["answer"])) - 1, **args)
    joint = ids(prompt + "  " + case["safe generation"])
    return R.dinm_edit(cfg, w, layer, joint, ids(case["safe generation"]), ids(text),
                       len(ids(cons["answer"])), **args)


def decode(tokens):
    return bytes(t for t in tokens if t < 256).decode("utf-8", "replace").replace("\0", "\ufffd")


def answer(cfg, w, query, suffixed, cut, override=None):
    """The text and the answer's smallest lead of the best token over the second."""
    prompt = query + " " + S if suffixed else query
    new = R.greedy(cfg, w, ids(prompt), NEW, EOS, override)
    lg = R.forward(cfg, w, torch.tensor(ids(prompt) + new), override=override)[len(ids(prompt)) - 1:]
    top = lg.topk(2, -1).values
    lead = float((top[:, 0] - top[:, 1]).min())
    if cut == "tokens":
        return decode(new), lead
    return decode(list(prompt.encode()) + new)[len(prompt) + 1:], lead


def distance(got, want):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, (got.shape, want.shape)
    return float(np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-30))


def close(name, got, want, bound):
    error = distance(got, want)
    worst[name] = max(worst.get(name, 0.0), error)
    assert error <= bound, f"{name}: relative error {error:.2e}, at most {bound:.0e} expected"


def all_but_noise(got, want):
    """Adam's first step is the gradient's sign. Where the gradient is mere rounding, so is the step,
    in every float32 program: one element in a thousand, those furthest apart, is left out."""
    order = np.argsort(np.abs(got - want), axis=None)[: got.size - got.size // 1000]
    return got.reshape(-1)[order], want.reshape(-1)[order]


worst = {}


def close_delta(got, want, in_float32):
    """Within 2e-5, or where that is not reached no further from float64 than PyTorch's own float32."""
    bound = 2e-5
    if distance(*all_but_noise(got, want)) > bound:
        bound = 2 * distance(*all_but_noise(in_float32(), want))
        print(f"a delta is held to {bound:.1e}, twice what PyTorch's float32 differs by")
    close("delta", *all_but_noise(got, want), bound)


def check_case(cfg, w, judge, case, line, profile, padding, out):
    distances = locate(cfg, w, case, padding)
    close("distance", line["distances"], distances, 2e-5)
    if profile == "paper" or case["id"] == 7:
        assert line["layer"] == int(np.argmax(distances)), (line["layer"], distances)
    name = R.down_proj(cfg, line["layer"])
    saved = R.load_safetensors(os.path.join(out, "edits", f"case-{case['id']:06d}.safetensors"))
    delta, log = edit(cfg, {k: v.double() for k, v in w.items()}, case, line["layer"], profile)
    close("loss", line["losses"], log, 2e-5)
    close_delta(saved[name].numpy(), delta.numpy(), lambda: edit(
        cfg, w, case, line["layer"], profile)[0].numpy())
    override = {name: w[name] + saved[name]}
    g = case["generalization test"]
    queries = [case["adversarial prompt"]] + [g["test input of " + k] for k in (
        "only harmful question", "other attack prompt input", "other question input",
        "other questions and attack prompts")]
    cut = "tokens" if profile == "paper" else "characters"
    for name, query in zip(INPUTS, queries):
        for side, suffixed, weights in (("vanilla", profile == "paper", None), ("edited", True, override)):
            got = line["inputs"][name][side]
            want, lead = answer(cfg, w, query, suffixed, cut, weights)
            assert lead < 1e-4 or got["response"] == want, (case["id"], name, side, got, want)
            check_judge(judge, got)


def check_judge(judge, got):
    cfg, w = judge
    if not got["response"].strip():
        assert got["label"] == 0.5
        return
    tokens = ids(got["response"])[:511] + [EOS]
    logits = R.roberta_logits(cfg, w, torch.tensor(tokens))
    close("score", got["score"], float(torch.softmax(logits, -1)[1]), 2e-5)
    assert got["label"] == int(logits.argmax()), (got, logits)


def run(build, folder, model, profile, padding, cases, ranks, stages):
    out = model + "-out"
    command = ["mpirun", "--quiet", "-n", str(ranks), os.path.join(build, "dinm_pipeline"),
               "--quiet", "--stages", str(stages), "--model", model,
               "--judge", os.path.join(folder, "judge"), "--cases", cases, "--out", out,
               "--profile", profile]
    for key, value in (("edit.steps", STEPS), ("edit.lr", LR), ("edit.save", "true"),
                       ("locate.padding", padding), ("generate.max_new_tokens", NEW)):
        command += ["--set", f"{key}={value}"]
    subprocess.run(command, check=True)
    with open(os.path.join(out, "cases.jsonl")) as f:
        return out, [json.loads(line) for line in f]


def main():
    build = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("cases.json", "alike.json")]
        cases_of = [make_cases(files[0]), make_cases(files[1], alike=True)]
        R.write_roberta(os.path.join(folder, "judge"))
        judge = R.load_dir(os.path.join(folder, "judge"))
        for n, (profile, padding, dtype, shape) in enumerate([
                ("paper", "right", "F32", dict(kv_heads=2)), ("paper", "left", "BF16", dict(tie=True)),
                ("easyedit", "left", "F32", dict(kv_heads=1)), ("easyedit", "right", "F16", dict()),
                ("paper", "right", "F32", dict(arch="gpt2")),
                ("easyedit", "left", "BF16", dict(arch="gpt2")),
                ("paper", "right", "F32", dict(arch="mistral", window=32, kv_heads=2)),
                ("easyedit", "left", "F16", dict(arch="qwen2", kv_heads=2))]):
            alike = "arch" in shape
            cases = cases_of[alike]
            model = os.path.join(folder, f"model{n}")
            R.write_decoder(model, dtype=dtype, seed=n, gain=1.5, **shape)
            cfg, w = R.load_dir(model)
            out, lines = run(build, folder, model, profile, padding, files[alike],
                             *((4, 2) if alike else (3, 1)))
            assert [line["id"] for line in lines] == [c["id"] for c in cases]
            for case, line in zip(cases, lines):
                check_case(cfg, w, judge, case, line, profile, padding, out)
            layers = [line["layer"] for line in lines]
            print(f"{cfg['model_type']:7s} {profile:8s} {padding:5s} {dtype:4s} agrees; located "
                  f"layers {layers}")
    print("largest relative errors:", {k: f"{v:.1e}" for k, v in worst.items()})


main()
