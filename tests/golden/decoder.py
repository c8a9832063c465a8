"""The decoder against an independent one in PyTorch: logits, hidden states, greedy tokens, edits.

usage: decoder.py BUILD_FOLDER      exit status 77: skipped, torch or ../shared is missing

Errors are the largest absolute difference over the largest absolute value of the reference.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

SHARED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "shared")


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(77)


try:
    import h5py
    import numpy as np
    import torch
except ImportError as missing:
    skip(f"{missing}; on Debian: apt-get install python3-torch python3-h5py")
sys.path.insert(0, os.path.join(SHARED, "bench"))
try:
    import refmodel
except ImportError:
    skip(f"the reference model ../shared/bench/refmodel.py is not at {os.path.abspath(SHARED)}")

DUMP = os.path.join(sys.argv[1], "tests", "decoder_dump")
LIMIT = 2e-5


def dump(mode, folder, *words, dtype=np.float32):
    out = os.path.join(tempfile.gettempdir(), f"decoder_dump_{os.getpid()}")
    try:
        subprocess.run([DUMP, mode, folder, out, *map(str, words)], check=True)
        return np.fromfile(out, dtype)
    finally:
        if os.path.exists(out):
            os.remove(out)


def words(ids):
    return ",".join(str(int(i)) for i in ids)


def expect_close(what, ours, reference, limit):
    reference = np.asarray(reference, np.float64)
    assert ours.shape == reference.shape, (what, ours.shape, reference.shape)
    error = np.abs(ours - reference).max() / np.abs(reference).max()
    print(f"{what}: error {error:.1e}, limit {limit:.1e}")
    assert error <= limit, what


def forward(folder, cfg, ids):
    gpt2 = cfg["model_type"] == "gpt2"
    n, d, vocab = len(ids), cfg["n_embd" if gpt2 else "hidden_size"], cfg["vocab_size"]
    numbers = dump("forward", folder, words(ids))
    logits, states = numbers[: n * vocab], numbers[n * vocab:]
    return logits.reshape(n, vocab), states.reshape(-1, n, d)


def check_forward(folder, name):
    cfg, w = refmodel.load_dir(folder)
    w64 = {k: v.double() for k, v in w.items()}
    for n in (1, 7, 65, 200):
        ids = np.random.default_rng(n).integers(0, cfg["vocab_size"], n)
        logits, states = forward(folder, cfg, ids)
        reference, hidden = refmodel.forward(cfg, w64, torch.tensor(ids), hidden=True)
        expect_close(f"{name}, {n} tokens: logits", logits, reference, LIMIT)
        for l, state in enumerate(hidden):
            expect_close(f"{name}, {n} tokens: state {l}", states[l], state, LIMIT)


def check_greedy(folder, name):
    cfg, w = refmodel.load_dir(folder)
    ids = [256, 72, 105]
    ours = dump("greedy", folder, words(ids), 40, dtype=np.int32)
    assert refmodel.greedy(cfg, w, ids, 40, eos=-1) == ours.tolist(), name
    print(f"{name}: 40 greedy tokens equal")


def distance(ours, reference):
    return np.linalg.norm(ours - reference) / np.linalg.norm(reference)


def first_gradient(cfg, w, layer, prompt, target):
    """Of 0.1 times the mean negative log-likelihood; the divergence's is 0 at first."""
    name = refmodel.down_proj(cfg, layer)
    p = w[name].clone().requires_grad_(True)
    logits = refmodel.forward(cfg, w, torch.tensor([*prompt, *target]), override={name: p})
    rows = logits[-len(target) - 1:-1].log_softmax(-1)
    loss = -0.1 * rows.gather(1, torch.tensor(target)[:, None]).mean()
    return torch.autograd.grad(loss, p)[0].numpy()


def check_edit(folder, name, layer):
    cfg, w32 = refmodel.load_dir(folder)
    w = {k: v.double() for k, v in w32.items()}
    rng = np.random.default_rng(5)
    prompt, target = rng.integers(0, 256, 70), rng.integers(0, 256, 30)
    constraint, n_constraint, n_steps = rng.integers(0, 256, 50), 20, 10
    numbers = dump("edit", folder, layer, n_steps, words([*prompt, *target]), len(target),
                   words(constraint), n_constraint)
    edit = (layer, prompt, target, constraint, n_constraint, n_steps)
    delta, log = refmodel.dinm_edit(cfg, w, *edit)
    delta = delta.numpy()
    ours, losses, gradient = np.split(numbers, [delta.size, delta.size + 3 * n_steps])
    name = f"{name}, edit of layer {layer}"
    expect_close(f"{name}: gradient", gradient.reshape(delta.shape),
                 first_gradient(cfg, w, layer, prompt, target), LIMIT)
    expect_close(f"{name}: losses", losses.reshape(-1, 3), np.array(log), LIMIT)
    # Adam's first step is the gradient's sign. Where the gradient is no more than rounding, so is
    # the step, in every float32 program: PyTorch's own, against its float64, sets the limit then.
    error = distance(ours.reshape(delta.shape), delta)
    limit = max(LIMIT, 2 * distance(refmodel.dinm_edit(cfg, w32, *edit)[0].numpy(), delta))
    print(f"{name}: delta: error {error:.1e} of its norm, limit {limit:.1e}")
    assert error <= limit, name


def variant(folder, name, change_config=None, rename=None):
    """A checkpoint changed after it was written: other keys in config.json, other tensor names."""
    target = f"{folder}-{name}"
    shutil.copytree(folder, target)
    cfg, w = refmodel.load_dir(folder)
    if change_config:
        with open(os.path.join(target, "config.json"), "w") as f:
            json.dump(cfg | change_config, f)
    if rename:
        refmodel.save_safetensors(os.path.join(target, "model.safetensors"),
                                  {rename(key): value for key, value in w.items()})
    return target


def check_names(folder):
    """The same numbers whatever prefix the names have, and with buffers beside the weights."""
    for arch, prefix in (("llama", "model."), ("gpt2", "transformer.")):
        path = os.path.join(folder, "names-" + arch)
        refmodel.write_decoder(path, arch=arch, dim=32, layers=2, heads=2, ffn=48, vocab=300)
        cfg, _ = refmodel.load_dir(path)
        ids = np.arange(20)
        expected = forward(path, cfg, ids)
        if arch == "llama":
            other = variant(path, "bare", rename=lambda key: key.removeprefix(prefix))
        else:
            other = variant(path, "prefixed", rename=lambda key: prefix + key)
        for ours, theirs in zip(forward(other, cfg, ids), expected):
            assert np.array_equal(ours, theirs), other
        print(f"{arch}: the same with other prefixes")


def check_biases(folder):
    """Llama with attention_bias and mlp_bias, against the reference, which adds any bias it finds."""
    path = os.path.join(folder, "biased")
    refmodel.write_decoder(path, dim=64, layers=3, heads=4, kv_heads=2, ffn=176, vocab=300, seed=3)
    cfg, w = refmodel.load_dir(path)
    g = torch.Generator().manual_seed(1)
    for key in [k for k in w if "_proj" in k]:
        w[key.replace(".weight", ".bias")] = 0.1 * torch.randn(w[key].shape[0], generator=g)
    refmodel.save_safetensors(os.path.join(path, "model.safetensors"), w)
    path = variant(path, "on", {"attention_bias": True, "mlp_bias": True})
    check_forward(path, "llama with biases")
    check_greedy(path, "llama with biases")
    check_edit(path, "llama with biases", 1)


def scaled_rope(scaling):
    """The reference's rotation with rates scaled as Hugging Face's functions of that name do."""
    def rope(x, theta, pos):
        d = x.shape[-1]
        rate = 1.0 / theta ** (torch.arange(0, d, 2, dtype=torch.float64) / d)
        if scaling["rope_type"] == "linear":
            rate = rate / scaling["factor"]
        else:
            old, low, high = (scaling[k] for k in ("original_max_position_embeddings",
                                                   "low_freq_factor", "high_freq_factor"))
            wave = 2 * np.pi / rate
            smooth = (old / wave - low) / (high - low)
            middle = (1 - smooth) * rate / scaling["factor"] + smooth * rate
            slow = torch.where(wave > old / low, rate / scaling["factor"], rate)
            rate = torch.where((wave <= old / low) & (wave >= old / high), middle, slow)
        a = torch.outer(pos.double(), rate)
        c, s = (torch.cat([f(a), f(a)], -1).to(x.dtype) for f in (torch.cos, torch.sin))
        return x * c + torch.cat([-x[..., d // 2:], x[..., :d // 2]], -1) * s
    return rope


def check_scaled_rope(folder):
    path = os.path.join(folder, "rope")
    refmodel.write_decoder(path, dim=64, layers=2, heads=2, ffn=96, vocab=300, seed=8)
    plain = refmodel.rope
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 64}
    try:
        for name, config, scaling in (
                ("linear", {"rope_scaling": {"type": "linear", "factor": 2.5}},
                 {"rope_type": "linear", "factor": 2.5}),
                ("llama3", {"rope_scaling": llama3}, llama3),
                ("parameters", {"rope_parameters": llama3 | {"rope_theta": 10000.0}}, llama3)):
            other = variant(path, name, config)
            refmodel.rope = scaled_rope(scaling)
            check_forward(other, f"rope {name}")
        refmodel.rope = plain
        cfg, w = refmodel.load_dir(path)
        ids = np.arange(100) + 3
        reference = refmodel.forward(cfg, {k: v.double() for k, v in w.items()}, torch.tensor(ids))
        error = np.abs(forward(path + "-llama3", cfg, ids)[0] - reference.numpy()).max()
        assert error > 1e-2, "the scaling does not matter"
    finally:
        refmodel.rope = plain


def check_window_matters(folder):
    """With the window the logits are others than without, and only behind it."""
    path = os.path.join(folder, "window")
    refmodel.write_decoder(path, arch="mistral", dim=64, layers=1, heads=4, ffn=96, vocab=300,
                           window=16)
    cfg, _ = refmodel.load_dir(path)
    ids = np.arange(60) + 7
    narrow = forward(path, cfg, ids)[0]
    wide = forward(variant(path, "null", {"sliding_window": None}), cfg, ids)[0]
    change = np.abs(narrow - wide).max(axis=1)
    assert np.array_equal(narrow[:16], wide[:16]) and change[16:].min() > 1e-3, change
    print(f"a window of 16 changes the logits from token 17 on, by {change[16:].max():.2f}")


def check_stories():
    models = os.path.join(SHARED, "data", "models", "stories260K")
    if not os.path.isdir(models):
        skip("the model ../shared/data/models/stories260K is not there")
    expected = json.load(open(os.path.join(models, "reference.json")))["bos"]["greedy_tokens"]
    ours = dump("greedy", os.path.join(models, "hf-f32"), "1", 200, dtype=np.int32)
    assert expected[1:201] == ours.tolist(), "stories260K: greedy tokens"
    print("stories260K: 200 greedy tokens equal")
    with h5py.File(os.path.join(models, "reference.h5")) as f:
        for text in f:
            ids = f[text]["tokens"][...]
            for kind, key in (("f32", "logits_f64"), ("f16", "logits_f16weights_f64"),
                              ("bf16-sharded", "logits_bf16weights_f64")):
                folder = os.path.join(models, "hf-" + kind)
                cfg = json.load(open(os.path.join(folder, "config.json")))
                logits, states = forward(folder, cfg, ids)
                expect_close(f"stories260K {kind}, {text}: logits", logits, f[text][key], 5e-5)
                if kind == "f32":
                    expect_close(f"stories260K {kind}, {text}: states", states,
                                 f[text]["hidden_states_hf_f64"], 5e-5)


def main():
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        for i, options in enumerate((dict(), dict(kv_heads=2), dict(tie=True, kv_heads=1),
                                     dict(dtype="F16", kv_heads=2), dict(dtype="BF16", tie=True),
                                     dict(dtype="BF16", dim=160, ffn=328, theta=500000.0),
                                     dict(arch="mistral", kv_heads=2, window=24),
                                     dict(arch="mistral", dtype="BF16", window=100),
                                     dict(arch="qwen2", kv_heads=2, theta=1e6),
                                     dict(arch="qwen2", dtype="BF16", tie=True),
                                     dict(arch="gpt2"), dict(arch="gpt2", dtype="F16", dim=96),
                                     dict(arch="gpt2", dtype="BF16", shards=2))):
            options = dict(dim=64, layers=3, heads=4, ffn=176, vocab=300, seed=i) | options
            path = os.path.join(folder, str(i))
            refmodel.write_decoder(path, **options)
            name = ", ".join(f"{k}={v}" for k, v in options.items())
            check_forward(path, name)
            check_greedy(path, name)
            for layer in range(options["layers"]):
                check_edit(path, name, layer)
        check_names(folder)
        check_biases(folder)
        check_scaled_rope(folder)
        check_window_matters(folder)
    check_stories()


main()
