"""A job that stopped half-way is refused when one of its inputs or settings has changed, with one
sentence that names the file or the setting; with the inputs as they were it goes on and ends like a
run that nobody disturbed.

usage: changed_input.py BUILD_FOLDER
"""
import json
import os
import shutil
import signal
import struct
import sys
import tempfile

import runs

TABLES = ("model", "judge")
MORE = ["--batch", "1", "--limit", "4", "--set", "evaluate.kqa_on=first",
        "--set", "evaluate.kqa_max_new_tokens=4"]


class Inputs:
    """A copy of the demo's inputs, the model in two shards."""

    def __init__(self, folder):
        self.folder = folder
        for part in TABLES:
            shutil.copytree(os.path.join(runs.DEMO, part), self.path(part))
        for name in ("cases.json", "questions.json", "job.json"):
            shutil.copy(os.path.join(runs.DEMO, name), self.path(name))
        self.cut_model()
        self.sound = {name: runs.read(self.path(name)) for name in self.names()}

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def names(self):
        return sorted(os.path.relpath(os.path.join(folder, name), self.folder)
                      for folder, _, names in os.walk(self.folder) for name in names)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)

    def cut_model(self):
        """model.safetensors becomes two files and their index."""
        data = runs.read(self.path("model", "model.safetensors"))
        n_head = struct.unpack_from("<Q", data)[0]
        head, rows = json.loads(data[8:8 + n_head]), data[8 + n_head:]
        head.pop("__metadata__", None)
        names, shards = sorted(head), ({}, {})
        for i, name in enumerate(names):
            shards[2 * i >= len(names)][name] = head[name]
        weight_map = {}
        for number, tensors in enumerate(shards):
            file, at, new_head, new_rows = f"part-{number}.safetensors", 0, {}, b""
            for name, t in tensors.items():
                begin, end = t["data_offsets"]
                new_head[name] = {**t, "data_offsets": [at, at + end - begin]}
                new_rows += rows[begin:end]
                at += end - begin
                weight_map[name] = file
            text = json.dumps(new_head).encode()
            text += b" " * (-len(text) % 8)
            self.write(os.path.join("model", file), struct.pack("<Q", len(text)) + text + new_rows)
        os.remove(self.path("model", "model.safetensors"))
        self.write(os.path.join("model", "model.safetensors.index.json"),
                   json.dumps({"weight_map": weight_map}).encode())

    def restore(self):
        for name in self.names():
            if name not in self.sound:
                os.remove(self.path(name))
        for name, data in self.sound.items():
            if not os.path.exists(self.path(name)) or runs.read(self.path(name)) != data:
                self.write(name, data)


def flip(name):
    """The lowest bit of a file's last byte: of a tensor's last value."""
    def change(inputs):
        data = inputs.sound[name]
        inputs.write(name, data[:-1] + bytes([data[-1] ^ 1]))
    return change


def edit(name, old, new):
    def change(inputs):
        data = inputs.sound[name]
        assert old in data, (name, old)
        inputs.write(name, data.replace(old, new, 1))
    return change


def add(name, text):
    return lambda inputs: inputs.write(name, text)


def keep(_inputs):
    pass


def changes(inputs):
    """(what, change, words of the command line, what the sentence names)"""
    for name in ("model/part-0.safetensors", "model/part-1.safetensors", "judge/model.safetensors"):
        yield f"one bit of {name}", flip(name), [], [inputs.path(name)]
    for name, old, new in (("model/config.json", b'"rms_norm_eps"', b' "rms_norm_eps"'),
                           ("model/tokenizer.json", b"{", b"{ "),
                           ("judge/config.json", b"{", b"{ "),
                           ("judge/tokenizer.json", b"{", b"{ "),
                           ("cases.json", b"unicorn", b"Unicorn"),
                           ("questions.json", b"{", b"{ ")):
        yield f"{name} edited", edit(name, old, new), [], [inputs.path(name)]
    yield ("a new file", add("model/generation_config.json", b'{"temperature": 0.5}'), [],
           [inputs.path("model/generation_config.json"), "not there before"])
    yield ("a file gone", lambda i: os.remove(i.path("judge/tokenizer_config.json")), [],
           ["judge (tokenizer_config.json is missing)"])
    yield ("two at once", lambda i: (flip("judge/model.safetensors")(i),
                                     edit("cases.json", b"unicorn", b"Unicorn")(i)),
           [], [inputs.path("judge/model.safetensors"), inputs.path("cases.json")])
    yield "a setting", keep, ["--set", "edit.lr=0.004"], ["edit.lr (0.005 there, 0.004 here)"]
    yield "two settings", keep, ["--set", "edit.steps=3", "--set", "prompt.suffix=Hm."], \
        ["edit.steps (2 there, 3 here)", 'prompt.suffix (', '"Hm." here)']
    yield "other cases", keep, ["--limit", "3"], ["cases.limit (4 there, 3 here)"]
    yield "another judge", keep, ["--judge", "refusal"], ["differs in: judge;"]


def half_done(program, inputs, out):
    """A run that SIGUSR1 stops once it has found something."""
    for _ in range(5):
        shutil.rmtree(out, ignore_errors=True)
        log = os.path.join(out, "journal", "group-000000.log")
        run = program.start(out, inputs.path("job.json"), *MORE)
        runs.wait_for(lambda: run.poll() is not None or
                      (os.path.exists(log) and os.path.getsize(log) > 0), "the first unit")
        if run.poll() is None:
            run.send_signal(signal.SIGUSR1)
        said = run.communicate(timeout=60)[1]
        if run.returncode == runs.STOPPED:
            return
        assert run.returncode == 0, said
    raise AssertionError("the runs were always over before the signal")


def snapshot(out):
    return {path: runs.read(path) for path in
            (os.path.join(folder, name) for folder, _, names in os.walk(out) for name in names)
            if os.path.basename(path) != "lock"}


def test():
    program = runs.Program(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        folder = os.path.realpath(folder)
        inputs = Inputs(os.path.join(folder, "inputs"))
        reference, out = os.path.join(folder, "reference"), os.path.join(folder, "out")
        command = [inputs.path("job.json"), *MORE]
        program.finish(reference, *command, what="the undisturbed run")
        half_done(program, inputs, out)
        before, n = snapshot(out), 0
        for what, change, words, named in changes(inputs):
            change(inputs)
            ranks = 2 if n % 4 == 3 else 1
            line = runs.one_sentence(what, *program.run(out, *command, *words, ranks=ranks), out,
                                     "belongs to another job", *named)
            inputs.restore()
            others = [inputs.path(name) for name in inputs.names()
                      if inputs.path(name) in line and inputs.path(name) not in named]
            assert not others, f"{what}: {others} did not change, but: {line}"
            assert snapshot(out) == before, f"{what}: files in OUT were changed"
            n += 1
        program.finish(out, *command, what="with the inputs as they were, the run")
        runs.same_files(reference, out, "resumed")
        print(f"{n} changes of inputs and settings of a half-done job were refused by name; with the "
              "inputs as they were it went on and left the same files")


runs.main(test)
