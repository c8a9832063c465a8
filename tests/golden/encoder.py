"""The classifier against the independent PyTorch implementation, on random checkpoints.

usage: encoder.py BUILD_FOLDER      exit status 77: skipped, torch or ../shared is missing
DINM_SHARED_BENCH: the folder of refmodel.py, if it is not ../shared/bench
"""
import os
import subprocess
import sys
import tempfile

SHARED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "shared", "bench")
SHARED = os.environ.get("DINM_SHARED_BENCH", SHARED)
sys.path.insert(0, SHARED)
try:
    import torch
    import refmodel
except ImportError as missing:
    print(f"SKIPPED: {missing}; needs Debian's python3-torch and ../shared/bench/refmodel.py")
    sys.exit(77)

TOLERANCE = 2e-5  # relative to the largest logit of the text

# (dtype, keyword arguments of the checkpoint, lengths of the texts)
CASES = [
    ("F32", dict(), [1, 2, 3, 17, 64, 65, 130, 511, 513]),
    ("F16", dict(dim=48, layers=3, heads=6, ffn=100, vocab=300), [5, 40, 9]),
    ("BF16", dict(dim=64, layers=1, heads=1, ffn=72), [12, 31, 200]),
    ("F32", dict(dim=160, layers=6, heads=5, ffn=640), [500, 400, 300, 2]),
]


def texts(lengths, seed):
    g = torch.Generator().manual_seed(seed)
    for n in lengths:
        ids = torch.randint(0, 256, (n,), generator=g)
        ids[0] = 256
        ids[-1] = 257 if n > 1 else 256
        yield ids


def dump(program, folder, inputs):
    lines = "".join(" ".join(str(int(i)) for i in ids) + "\n" for ids in inputs)
    run = subprocess.run([program, folder], input=lines, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"encoder_dump failed: {run.stderr}")
    return [[float(x) for x in line.split()] for line in run.stdout.splitlines()]


def check(program, folder, dtype, shape, lengths, seed):
    refmodel.write_roberta(folder, dtype=dtype, seed=seed, **shape)
    config, weights = refmodel.load_dir(folder)
    weights = {name: w.double() for name, w in weights.items()}
    inputs = list(texts(lengths, seed))
    found = dump(program, folder, inputs)
    assert len(found) == len(inputs), (len(found), len(inputs))
    worst = 0.0
    for ids, logits in zip(inputs, found):
        expected = refmodel.roberta_logits(config, weights, ids)
        error = (torch.tensor(logits, dtype=torch.float64) - expected).abs().max()
        worst = max(worst, float(error / expected.abs().max()))
        assert worst <= TOLERANCE, (dtype, shape, len(ids), logits, expected.tolist(), worst)
    print(f"{dtype} {shape}: {len(inputs)} texts, relative error {worst:.2e}")


def main():
    program = os.path.join(sys.argv[1], "tests", "encoder_dump")
    with tempfile.TemporaryDirectory() as folder:
        for seed, (dtype, shape, lengths) in enumerate(CASES):
            check(program, os.path.join(folder, str(seed)), dtype, shape, lengths, seed)


main()
