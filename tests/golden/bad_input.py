"""Bad input: every broken file, setting or folder ends the built program with one sentence that
names it, the right exit status, and nothing under the names of finished results. The bundled demo
is the sound input; each variant breaks one thing. One input only looks bad: a prompt beyond the
model's limit, which is cut from the left and counted.

usage: bad_input.py BUILD_FOLDER [WORD]      only variants with WORD in their name; DINM_SHOW=1 prints
                                             their sentences
"""
import concurrent.futures
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DEMO = os.path.join(SOURCE, "jobs", "demo")
PROGRAM = os.path.join(sys.argv[1], "dinm_pipeline")
ONLY = sys.argv[2] if len(sys.argv) > 2 else ""
FINAL = re.compile(r"(results\..*|cases\.jsonl|report\.html|activations\.h5)$")
LIMIT_S = 20
LIMIT_SOUND_S = 120  # a whole job, on a busy machine
FAILED, USAGE = 1, 2
NORM = "model.layers.3.input_layernorm.weight"
DOWN = "model.layers.3.mlp.down_proj.weight"
JUDGE_NORM = "roberta.encoder.layer.1.output.LayerNorm.weight"

# Starting MPI is mostly waiting; a few variants wait together.
workers = concurrent.futures.ThreadPoolExecutor(4)
variants = []
failures = []


def complain(name, text):
    failures.append(name)
    print(f"FAILED: {name}: {text}", file=sys.stderr)


# --- the parts of a variant ---------------------------------------------------------------------


class Folder:
    """A copy of the demo with two cases, short answers and few steps; write() breaks it."""

    def __init__(self, root):
        self.root = root
        for part in ("model", "judge"):
            os.makedirs(self.path(part))
            for file in os.listdir(os.path.join(DEMO, part)):
                shutil.copyfile(os.path.join(DEMO, part, file), self.path(part, file))
        shutil.copyfile(os.path.join(DEMO, "questions.json"), self.path("questions.json"))
        with open(os.path.join(DEMO, "cases.json"), encoding="utf-8") as f:
            self.put("cases.json", json.load(f)[:2])
        with open(os.path.join(DEMO, "job.json"), encoding="utf-8") as f:
            job = json.load(f)
        job["edit"]["steps"] = 2
        job["generate"]["max_new_tokens"] = 4
        job["evaluate"]["kqa_on"] = "none"
        self.put("job.json", job)

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def read(self, *parts):
        with open(self.path(*parts), "rb") as f:
            return f.read()

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)

    def put(self, name, value):
        self.write(name, json.dumps(value))

    def get(self, name):
        return json.loads(self.read(name))

    def change(self, name, change):
        """Hands the JSON value of a file to change() and writes it back."""
        value = self.get(name)
        change(value)
        self.put(name, value)

    def tensors(self, part):
        """Header and data of a safetensors file."""
        data = self.read(part, "model.safetensors")
        n = struct.unpack("<Q", data[:8])[0]
        return json.loads(data[8:8 + n]), data[8 + n:]

    def put_tensors(self, part, header, data):
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self.write(f"{part}/model.safetensors", struct.pack("<Q", len(text)) + text + data)


def keep(folder):
    """Breaks nothing: the command line does."""


def remove(name):
    def run(folder):
        path = folder.path(name)
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    return run


def write(name, data):
    return lambda folder: folder.write(name, data)


def folder_instead(name):
    def run(folder):
        os.remove(folder.path(name))
        os.mkdir(folder.path(name))
    return run


def cut(name, n_bytes):
    """Only so many first bytes are left; negative: so many are missing."""
    return lambda folder: folder.write(name, folder.read(name)[:n_bytes])


def set_key(name, **values):
    return lambda folder: folder.change(name, lambda value: value.update(values))


def set_in(name, part, **values):
    return lambda folder: folder.change(name, lambda value: value[part].update(values))


def entry(part, tensor, **values):
    """Changes a tensor's header entry; its bytes stay."""
    def run(folder):
        header, data = folder.tensors(part)
        header[tensor].update(values)
        folder.put_tensors(part, header, data)
    return run


def without_tensor(part, tensor):
    """The header lacks the tensor, and the data its bytes."""
    def run(folder):
        header, data = folder.tensors(part)
        first, end = header.pop(tensor)["data_offsets"]
        for value in header.values():
            at = value.get("data_offsets")
            if at and at[0] >= end:
                value["data_offsets"] = [at[0] - (end - first), at[1] - (end - first)]
        folder.put_tensors(part, header, data[:first] + data[end:])
    return run


def replace_tensor(part, tensor, dtype, shape, n_bytes):
    """A tensor of zeros of another dtype or shape, at the end of a sound file."""
    def run(folder):
        without_tensor(part, tensor)(folder)
        header, data = folder.tensors(part)
        header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + n_bytes]}
        folder.put_tensors(part, header, data + bytes(n_bytes))
    return run


def header_length(part, n):
    return lambda folder: folder.write(f"{part}/model.safetensors",
                                       struct.pack("<Q", n) + folder.read(part, "model.safetensors")[8:])


def fewer_rows(folder):
    """A sound model of 1000 tokens under a tokenizer of 1280."""
    set_key("model/config.json", vocab_size=1000)(folder)
    for tensor in ("model.embed_tokens.weight", "lm_head.weight"):
        replace_tensor("model", tensor, "F16", [1000, 128], 1000 * 128 * 2)(folder)


def token_id(part, n):
    """The last of the added tokens gets the id n."""
    return lambda folder: folder.change(f"{part}/tokenizer.json",
                                        lambda value: value["added_tokens"][-1].update(id=n))


def case_field(path, *value):
    """The second case's field loses its value or gets another."""
    def run(folder):
        cases = folder.get("cases.json")
        at = cases[1]
        for key in path[:-1]:
            at = at[key]
        assert path[-1] in at, f"no {path[-1]} in the demo's cases"
        if value:
            at[path[-1]] = value[0]
        else:
            del at[path[-1]]
        folder.put("cases.json", cases)
    return run


def read_only(folder):
    os.mkdir(folder.path("locked"))
    os.chmod(folder.path("locked"), 0o555)


# --- running ------------------------------------------------------------------------------------


def run(folder, *words, ranks=1, out=None, limit_s=LIMIT_S):
    out = out or folder.path("out")
    command = [PROGRAM, folder.path("job.json"), "--quiet", "--out", out, *words]
    if ranks > 1:
        command = ["mpirun", "--quiet", "-n", str(ranks), *command]
    return subprocess.run(command, capture_output=True, timeout=limit_s, stdin=subprocess.DEVNULL,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})


def finished(out):
    """Files under final names, also half-written ones beside them."""
    names = os.listdir(out) if os.path.isdir(out) else []
    return [n for n in names if FINAL.match(n) or n.endswith((".tmp", "~"))]


def one_sentence(name, done, status, parts, ranks):
    text = done.stderr.decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("dinm_pipeline: ")]
    if done.returncode != status:
        complain(name, f"exit status {status} expected, found {done.returncode}: {text}")
    if len(ours) != 1 or (ranks == 1 and len(lines) != 1):
        complain(name, f"one sentence expected, found: {text}")
    for part in parts:
        if not any(part in line for line in ours):
            complain(name, f'a sentence with "{part}" expected, found: {text}')
    if done.stdout:
        complain(name, f"nothing on stdout expected, found: {done.stdout!r}")
    if os.environ.get("DINM_SHOW"):
        print(f"{name}: {text}", end="")


def try_variant(name, break_it, status, parts, words, ranks, out):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder(scratch)
        break_it(folder)
        at = folder.path(out)
        try:
            done = run(folder, *words, ranks=ranks, out=at)
        except subprocess.TimeoutExpired:
            complain(name, f"it did not end within {LIMIT_S} s")
            return
        one_sentence(name, done, status, parts, ranks)
        if finished(at):
            complain(name, f"these files should not be there: {finished(at)}")


def start(name, variant, *arguments):
    if ONLY in name:
        variants.append(workers.submit(variant, name, *arguments))


def refuses(name, break_it, status, parts, words=(), ranks=(1,), out="out"):
    """One variant: broken, run, and looked at."""
    for n in ranks:
        start(name if n == 1 else f"{name}, {n} ranks", try_variant, break_it, status, parts, words, n, out)


# --- the variants -------------------------------------------------------------------------------


def files():
    both = (1, 3)
    for part in ("model", "judge"):
        refuses(f"no {part} folder", remove(part), FAILED, [f"/{part}"], ranks=both)
        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            path = f"{part}/{file}"
            named = f"/{part}" if file != "config.json" else path
            refuses(f"no {path}", remove(path), FAILED, [named, file.split(".")[-1]])
            refuses(f"a folder as {path}", folder_instead(path), FAILED, [path])
            refuses(f"empty {path}", write(path, ""), FAILED, [path])
        for file in ("config.json", "tokenizer.json"):
            path = f"{part}/{file}"
            refuses(f"half of {path}", cut(path, 200), FAILED, [path, "line"])
            refuses(f"a list as {path}", write(path, "[1]"), FAILED, [path, "expected an object"])
            refuses(f"no text in {path}", write(path, b"\xff\xfe\x00"), FAILED, [path])
        refuses(f"half of {part}/tokenizer_config.json", cut(f"{part}/tokenizer_config.json", 40),
                FAILED, [f"{part}/tokenizer_config.json", "line"])
    kqa = ("--set", "evaluate.kqa_on=all")
    for file, words in (("cases.json", ()), ("questions.json", kqa)):
        refuses(f"no {file}", remove(file), FAILED, [file], words, ranks=both)
        refuses(f"a folder as {file}", folder_instead(file), FAILED, [file], words)
        refuses(f"empty {file}", write(file, ""), FAILED, [file], words)
        refuses(f"half of {file}", cut(file, 300), FAILED, [file, "line"], words, ranks=both)
        refuses(f"an object as {file}", write(file, "{}"), FAILED, [file, "array"], words)
        refuses(f"an empty array as {file}", write(file, "[]"), FAILED, [file, "no records" if file == "cases.json" else "empty"], words)
        refuses(f"numbers in {file}", write(file, "[1]"), FAILED, [file, "record 1", "object"], words)
    refuses("no job.json", remove("job.json"), FAILED, ["job.json"], ranks=both)
    refuses("a folder as job.json", folder_instead("job.json"), FAILED, ["job.json"])
    refuses("empty job.json", write("job.json", ""), FAILED, ["job.json"])
    refuses("half of job.json", cut("job.json", 60), FAILED, ["job.json", "line"])
    refuses("a list as job.json", write("job.json", "[]"), USAGE, ["job.json", "object"])


def settings():
    refuses("unknown key", set_in("job.json", "edit", lrr=1), USAGE,
            ["job.json", '"edit.lrr"', '"edit.lr"'], ranks=(1, 3))
    refuses("unknown section", set_key("job.json", edits={"lr": 1}), USAGE, ["job.json", '"edit'])
    refuses("a text as number", set_in("job.json", "edit", lr="fast"), USAGE,
            ["job.json", "edit.lr", "expected a number", '"fast"'])
    refuses("a number as section", set_key("job.json", edit=3), USAGE, ["job.json", "edit", "number 3"])
    refuses("negative steps", set_in("job.json", "edit", steps=-1), USAGE, ["edit.steps", "-1"])
    refuses("unknown key by --set", keep, USAGE, ['"edit.stepz"', '"edit.steps"'], ["--set", "edit.stepz=1"],
            ranks=(1, 3))
    refuses("unknown profile", set_key("job.json", profile="papers"), USAGE,
            ["job.json", "profile", "paper, easyedit", '"papers"'])
    refuses("stages that do not divide the ranks", keep, USAGE, ["stages is 2", "rank"],
            ["--stages", "2"], ranks=(1, 3))
    refuses("more stages than layers", keep, USAGE, ["stages is 7", "6 layers"],
            ["--stages", "7"], ranks=(7,))
    refuses("a missing id", keep, USAGE, ["cases.ids", "id 99"], ["--case-ids", "0,99"], ranks=(1, 3))
    refuses("ids that are none", keep, USAGE, ["ids", "x-y"], ["--case-ids", "x-y"])
    refuses("a layer beyond the model", set_key("job.json", locate={"layers": [6]}), USAGE,
            ["locate.layers", "0 to 5", "6"])
    refuses("an unbuilt method", set_in("job.json", "edit", method="mend"), USAGE,
            ["edit.method", "mend", "not built"])


def checkpoints():
    tensor_file = "model/model.safetensors"
    refuses("tensor missing", without_tensor("model", NORM), FAILED, ["/model", NORM], ranks=(1, 3))
    refuses("last tensor missing", without_tensor("model", "lm_head.weight"), FAILED, ["lm_head.weight"])
    refuses("judge's tensor missing", without_tensor("judge", JUDGE_NORM), FAILED, ["/judge", JUDGE_NORM])
    refuses("tensor of another shape", replace_tensor("model", DOWN, "F16", [336, 128], 336 * 256), FAILED,
            [DOWN, "128", "336"])
    refuses("tensor of another rank", replace_tensor("model", NORM, "F16", [1, 128], 256), FAILED, [NORM, "128"])
    refuses("judge's tensor of another shape", replace_tensor("judge", JUDGE_NORM, "F16", [63], 126), FAILED,
            [JUDGE_NORM, "64", "63"])
    for part, tensor, n in (("model", NORM, 128), ("judge", JUDGE_NORM, 64)):
        refuses(f"{part}'s tensor of integers", replace_tensor(part, tensor, "I64", [n], 8 * n), FAILED,
                [f"/{part}", tensor, "I64"])
    refuses("tensor of an unknown dtype", entry("model", NORM, dtype="F7"), FAILED, [tensor_file, NORM, "F7"])
    refuses("shape and bytes disagree", entry("model", NORM, shape=[129]), FAILED, [tensor_file, NORM])
    refuses("bytes beyond the file", entry("model", NORM, data_offsets=[10**12, 10**12 + 256]), FAILED,
            [tensor_file, NORM])
    for part in ("model", "judge"):
        path = f"{part}/model.safetensors"
        for n in (4, 8, 500, 9000, 200000, -1):
            refuses(f"{path} cut at {n}", cut(path, n), FAILED, [path], ranks=(1, 3) if n == -1 else (1,))
        for n in (0, 1, 100, 2**31, 2**62, 2**64 - 1):
            refuses(f"header of {path} says {n}", header_length(part, n), FAILED, [path])


def raw_header(text, n_data=0):
    """The model's file becomes this header, text or bytes, with so many bytes of zeros."""
    text = text.encode() if isinstance(text, str) else text
    return write("model/model.safetensors", struct.pack("<Q", len(text)) + text + bytes(n_data))


def sharded(weight_map):
    """The model becomes one shard, part.safetensors, under an index with these changes."""
    def run(folder):
        header, _ = folder.tensors("model")
        header.pop("__metadata__", None)
        os.rename(folder.path("model/model.safetensors"), folder.path("model/part.safetensors"))
        index = {"metadata": {}, "weight_map": {name: "part.safetensors" for name in header}}
        index["weight_map"].update(weight_map)
        folder.put("model/model.safetensors.index.json", index)
    return run


def other_form(name):
    """The weights are there, but in another form."""
    return lambda folder: os.rename(folder.path("model/model.safetensors"), folder.path("model", name))


def with_buffers(folder):
    """Tensors that nobody asks for, of dtypes that nobody computes with, harm nothing."""
    header, data = folder.tensors("model")
    header.pop("__metadata__", None)
    for name, dtype, shape, n in (("model.layers.0.self_attn.rotary_emb.inv_freq", "F64", [2], 16),
                                  ("position_ids", "I64", [1, 1], 8), ("attn.bias", "BOOL", [3, 1], 3),
                                  ("attn.masked_bias", "U8", [], 1), ("scales", "F8_E4M3", [2], 2),
                                  ("nothing", "F32", [0, 7], 0)):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + n]}
        data += bytes(n)
    folder.put_tensors("model", header, data)


def hostile():
    file, index = "model/model.safetensors", "model/model.safetensors.index.json"
    tensor = '"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    for name, text, part in (
            ("a name twice", "{" + tensor + "," + tensor + "}", "second time"),
            ("a NUL in a name", "{" + tensor.replace('"a"', '"a\\u0000"') + "}", "\\u0000"),
            ("no UTF-8", b'{"\xff":1}', "UTF-8"), ("a blank first", " {" + tensor + "}", "begin with {"),
            ("deep nesting", '{"a":' * 100000, "512 deep"),
            ("text behind it", "{" + tensor + "} x", "nothing behind the value"),
            ("a hole", "{" + tensor.replace("[0,1]", "[1,2]") + "}", "'a' begins at byte 1"),
            ("an overflowing shape", "{" + tensor.replace("[1]", "[4294967296,4294967296]") + "}", "counted"),
            ("a number too large to be exact", "{" + tensor.replace("[1]", "[9007199254740993]") + "}", "integers")):
        refuses(f"a header with {name}", raw_header(text, 2), FAILED, [file, part])
    for name in ("../part.safetensors", "/etc/passwd", "sub/part.safetensors", "..", ""):
        refuses(f"a shard called {name!r}", sharded({NORM: name}), FAILED, [index, NORM, "within the folder"],
                ranks=(1, 3) if name.startswith("..") else (1,))
    refuses("a shard that is a number", sharded({NORM: 7}), FAILED, [index, NORM, "number 7"])
    refuses("a shard that is missing", sharded({NORM: "absent.safetensors"}), FAILED, ["absent.safetensors"])
    refuses("a tensor that its shard lacks", sharded({"model.ghost": "part.safetensors"}), FAILED,
            [index, "model.ghost"])
    for name in ("pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"):
        refuses(f"weights in {name}", other_form(name), FAILED, ["/model", name, "safetensors"], ranks=(1, 3))
    refuses("a quantised model", set_key("model/config.json", quantization_config={"quant_method": "gptq"}), FAILED,
            ["model/config.json", "quantization_config"])
    refuses("a norm of fp8", replace_tensor("model", NORM, "F8_E4M3", [128], 128), FAILED, [NORM, "F8_E4M3"])
    refuses("a matrix of fp8", replace_tensor("model", DOWN, "F8_E4M3", [128, 336], 128 * 336), FAILED,
            [DOWN, "F8_E4M3"])
    tokens = "model/tokenizer.json"
    refuses("a merge of unknown pieces",
            lambda f: f.change(tokens, lambda v: v["model"]["merges"].append("\u4e00 \u4e01")),
            FAILED, [tokens, "merge", "\u4e00"])
    refuses("a merge that is none", lambda f: f.change(tokens, lambda v: v["model"]["merges"].append(5)), FAILED,
            [tokens, "merge"])
    refuses("a token's id beyond all", token_id("model", 2**31), FAILED, [tokens])


def configs():
    keys = {"model": ["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                      "intermediate_size", "vocab_size", "max_position_embeddings"],
            "judge": ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                      "vocab_size", "max_position_embeddings"]}
    for part in keys:
        path = f"{part}/config.json"
        for key in keys[part]:
            for value in (0, -4, 2**40, 1.5, "4"):
                refuses(f"{part}'s {key} is {value!r}", set_key(path, **{key: value}), FAILED, [path, key])
        refuses(f"{part} with too many layers", set_key(path, num_hidden_layers=2**31 - 8), FAILED,
                [path, "num_hidden_layers"], ranks=(1, 3))
        refuses(f"{part} with more layers than tensors", set_key(path, num_hidden_layers=90000), FAILED,
                [f"/{part}", ".layer"])
        for key in ("hidden_size", "intermediate_size", "vocab_size"):
            refuses(f"{part}'s {key} is huge", set_key(path, **{key: 2**31 - 8}), FAILED, [f"/{part}"])
        for key in keys[part][:5]:
            if key == "num_key_value_heads":
                continue
            refuses(f"{part} without {key}", lambda f, p=path, k=key: f.change(p, lambda v: v.pop(k)), FAILED,
                    [path, key])
        refuses(f"{part}'s heads do not divide", set_key(path, num_attention_heads=6), FAILED,
                [path, "hidden_size", "num_attention_heads"])
        refuses(f"{part} of another type", set_key(path, model_type="phi3"), FAILED, [path, "model_type", "phi3"])
        refuses(f"{part}'s vocabulary is larger", set_key(path, vocab_size=1281), FAILED, [part, "1281", "1280"])
        refuses(f"{part}'s token beyond the embedding", token_id(part, 5000), FAILED, [f"/{part}"])
    refuses("model's groups do not divide", set_key("model/config.json", num_key_value_heads=3), FAILED,
            ["model/config.json", "num_key_value_heads"])
    refuses("model's odd heads", set_key("model/config.json", head_dim=31), FAILED, ["model/config.json", "31"])
    refuses("a small embedding", fewer_rows, FAILED, ["/model", "1279", "1000"], ranks=(1, 3))


def cases():
    fields = [("id",), ("unsafety category",), ("adversarial prompt",), ("question",), ("unsafe generation",),
              ("safe generation",), ("generalization test",), ("knowledge constrain",)]
    fields += [("generalization test", key) for key in (
        "test input of only harmful question", "test input of other attack prompt input",
        "test input of other question input", "test input of other questions and attack prompts")]
    fields += [("knowledge constrain", key) for key in ("prompt", "answer")]
    for path in fields:
        refuses(f"no {path[-1]}", case_field(path), FAILED, ["cases.json", "record 2", path[-1]])
        refuses(f"{path[-1]} is true", case_field(path, True), FAILED, ["cases.json", "record 2", path[-1]])
        if path[-1] not in ("id", "generalization test", "knowledge constrain"):
            refuses(f"empty {path[-1]}", case_field(path, ""), FAILED,
                    ["cases.json", "record 2", path[-1], "empty"])
    refuses("id is a fraction", case_field(("id",), 1.5), FAILED, ["cases.json", "record 2", "id", "1.5"])
    refuses("an id twice", case_field(("id",), 0), FAILED, ["cases.json", "id 0", "1 and 2"], ranks=(1, 3))
    refuses("a question without answers", write("questions.json", '[{"question": "Why"}]'), FAILED,
            ["questions.json", "record 1", "answers"], ["--set", "evaluate.kqa_on=all"])
    refuses("a question with an empty list", write("questions.json", '[{"question": "Why", "answers": []}]'),
            FAILED, ["questions.json", "record 1", "answers"], ["--set", "evaluate.kqa_on=all"])


def outputs():
    refuses("a file in OUT's place", write("out", "mine"), FAILED, ["/out", "folder", "exists"], ranks=(1, 3))
    refuses("a file above OUT", write("above", "mine"), FAILED, ["/above", "exists"], out="above/out")
    refuses("a folder in the journal's place, a file", lambda f: (os.mkdir(f.path("out")),
                                                                  f.write("out/journal", "mine")),
            FAILED, ["out/journal"])
    if os.geteuid() != 0:
        refuses("a locked folder", read_only, FAILED, ["/locked", "denied"], ranks=(1, 3), out="locked/out")
        refuses("a locked case file", lambda f: os.chmod(f.path("cases.json"), 0), FAILED, ["cases.json"])


def cut_meanwhile(name):
    """The weights become shorter while they are in use: one sentence, no message of the system's."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder(scratch)
        set_in("job.json", "edit", steps=2000, stop_loss=0)(folder)
        out, file = folder.path("out"), folder.path("model/model.safetensors")
        command = [PROGRAM, folder.path("job.json"), "--quiet", "--out", out]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              env={**os.environ, "OMP_NUM_THREADS": "1"}) as job:
            end = time.monotonic() + LIMIT_S
            records = os.path.join(out, "journal")
            while not (os.path.isdir(records) and os.listdir(records)) and time.monotonic() < end:
                time.sleep(0.01)
            os.truncate(file, 0)
            try:
                text = job.communicate(timeout=LIMIT_S)[1].decode("utf-8", "replace")
            except subprocess.TimeoutExpired:
                job.kill()
                complain(name, f"it did not end within {LIMIT_S} s")
                return
        if job.returncode != FAILED or text.count("\n") != 1 or "cut short" not in text:
            complain(name, f"exit status 1 and one sentence expected, found {job.returncode}: {text}")
        results = [n for n in finished(out) if n != "activations.h5"]  # filled in place from the start
        if results:
            complain(name, f"these files should not be there: {results}")
        if os.environ.get("DINM_SHOW"):
            print(f"{name}: {text}", end="")


def snapshot(out):
    found = {}
    for where, _, names in os.walk(out):
        for name in names:
            path = os.path.join(where, name)
            if name == "lock":
                continue  # says who is looking at the folder
            with open(path, "rb") as f:
                found[os.path.relpath(path, out)] = f.read(), os.stat(path).st_mtime_ns
    return found


def another_job(name):
    """A second run with other inputs on a finished OUT is refused and changes nothing there."""

    def longer(f):
        f.change("questions.json", lambda value: value.pop())
    def one_weight(f):
        header, data = f.tensors("model")
        f.put_tensors("model", header, data[:-1] + bytes([data[-1] ^ 1]))
    def one_judge_weight(f):
        header, data = f.tensors("judge")
        f.put_tensors("judge", header, data[:-1] + bytes([data[-1] ^ 1]))
    changes = [("edit.lr (0.005 there, 0.004 here)", keep, ["--set", "edit.lr=0.004"], 1),
               ("locate.when (", keep, ["--profile", "easyedit"], 3),
               ("model/model.safetensors;", one_weight, [], 3),
               ("model/config.json;", set_key("model/config.json", rope_theta=10001.0), [], 1),
               ("model/tokenizer_config.json;",
                set_key("model/tokenizer_config.json", clean_up_tokenization_spaces=False), [], 1),
               ("judge/model.safetensors;", one_judge_weight, [], 1),
               ("cases.json;", case_field(("question",), "Why?"), [], 3),
               ("cases.limit (", keep, ["--limit", "1"], 1), ("questions.json;", longer, [], 1)]
    with tempfile.TemporaryDirectory() as scratch:
        first = Folder(os.path.join(scratch, "first"))
        set_in("job.json", "evaluate", kqa_on="all", kqa_max_new_tokens=2)(first)
        first.change("questions.json", lambda value: value.__delitem__(slice(3, None)))
        done = run(first, limit_s=LIMIT_SOUND_S)
        if done.returncode != 0 or not finished(first.path("out")):
            complain(name, f"the first run failed: {done.stderr}")
            return
        before = snapshot(first.path("out"))
        for i, (named, change, words, ranks) in enumerate(changes):
            with tempfile.TemporaryDirectory() as second_root:
                second = Folder(second_root)
                for file in ("job.json", "questions.json"):
                    second.write(file, first.read(file))
                change(second)
                done = run(second, *words, ranks=ranks, out=first.path("out"))
                one_sentence(f"{name}, {named} ({i})", done, FAILED, [named, "differs in", first.path("out")], ranks)
                if snapshot(first.path("out")) != before:
                    complain(f"{name}, {named} ({i})", "the earlier results were touched")


def long_prompt(name):
    """Beyond the model's 512 positions the end of a prompt decides, not its beginning."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder(scratch)
        with open(os.path.join(DEMO, "cases.json"), encoding="utf-8") as f:
            all_cases = json.load(f)
        first, second, third = (json.loads(json.dumps(all_cases[0])) for _ in range(3))
        asked, other = all_cases[0]["adversarial prompt"], all_cases[20]["question"]
        second["id"], third["id"] = 1, 2
        long = " ".join([asked] * 60)
        first["adversarial prompt"] = long
        second["adversarial prompt"] = "Once upon a time in Lunland. " * 50 + long
        third["adversarial prompt"] = long + " " + other
        folder.put("cases.json", [first, second, third])
        answers = {}
        for ranks in (1, 3):
            out = folder.path(f"out{ranks}")
            done = run(folder, "--set", "generate.max_new_tokens=20", ranks=ranks, out=out,
                       limit_s=LIMIT_SOUND_S)
            if done.returncode != 0:
                complain(name, f"exit status 0 expected, found {done.returncode}: {done.stderr}")
                return
            with open(os.path.join(out, "results.json"), encoding="utf-8") as f:
                results = json.load(f)
            if results["n_prompts_cut"] != 3 or results["n_failed"] != 0:
                complain(name, f"3 prompts cut and no case failed expected, found {results}")
            with open(os.path.join(out, "cases.jsonl"), "rb") as f:
                answers[ranks] = f.read()
        responses = [json.loads(line)["inputs"]["DS"]["vanilla"]["response"] for line in answers[1].splitlines()]
        if answers[1] != answers[3]:
            complain(name, "three ranks answer otherwise than one")
        if responses[0] != responses[1]:
            complain(name, f"the cut must take the beginning only, found {responses}")
        if responses[0] == responses[2]:
            complain(name, f"the end of the prompt must be read, found {responses}")


def sound(name, change=keep):
    """What the variants break is whole without them."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Folder(scratch)
        change(folder)
        done = run(folder, limit_s=LIMIT_SOUND_S)
        if done.returncode != 0 or done.stderr or len(finished(folder.path("out"))) != 6:
            complain(name, f"{done.returncode}, {done.stderr}, {finished(folder.path('out'))}")


start("sound input", sound)
start("weights cut while in use", cut_meanwhile)
start("buffers beside the weights", sound, with_buffers)
start("one shard with its index", sound, sharded({}))
start("a long prompt", long_prompt)
start("another job", another_job)
files()
settings()
checkpoints()
hostile()
configs()
cases()
outputs()
for variant in variants:
    variant.result()
if failures:
    print(f"{len(set(failures))} of {len(variants)} variants failed", file=sys.stderr)
    sys.exit(1)
print(f"bad input: {len(variants)} variants, each with its sentence")
