# SPDX-License-Identifier: MIT
"""What continuous fuzzing says of itself: status.json, index.html, and the
history that the plots are drawn from.

The history is a file of JSON lines, one for each sample.  Beyond a number of
samples every second one of the older half is dropped, so that it stays small
and still goes back to the start.
"""

import json
import os
import time

import durable
import page
import proc

SAMPLES = 2000
SIGNATURES_SHOWN = 100
NOTHING_YET = {"seconds": 0.0, "executions": 0, "new_inputs": 0,
               "findings": 0, "slots": 0, "ended": 0}


def history(store):
    """All samples; a line that was cut short is none."""
    samples = []
    try:
        lines = durable.read(store.path("history.jsonl")).splitlines()
    except FileNotFoundError:
        return samples
    for line in lines:
        try:
            samples.append(json.loads(line))
        except ValueError:
            pass
    return samples


def sample(store, state):
    measured = state["measured"] or {}
    new = {"time": round(time.time(), 1),
           "seconds": round(state["seconds"], 1),
           "executions": state["executions"],
           "edges": measured.get("edges"),
           "states": measured.get("states"),
           "inputs": len(store.inputs),
           "bytes": store.size,
           "findings": sum(store.signatures.values()),
           "signatures": len(store.signatures)}
    samples = history(store)
    if len(samples) < SAMPLES:
        line = json.dumps(new)
        path = store.path("history.jsonl")
        if os.path.exists(path) and not durable.read(path).endswith(b"\n"):
            line = "\n" + line  # behind one that was cut short
        durable.append(path, [line])
        return
    old, young = samples[:SAMPLES // 2], samples[SAMPLES // 2:]
    samples = [*old[::2], *young, new]
    durable.write(store.root, "history.jsonl",
                  "".join(json.dumps(s) + "\n" for s in samples).encode())


def findings(store):
    """Each of them: name, when, and why."""
    found = []
    for name in store.findings():
        path = store.path("findings", name + ".txt")
        text = durable.read(path).decode(errors="replace")
        found.append({
            "name": name, "reason": text.split("\n")[0][:400],
            "time": round(os.path.getmtime(path), 1),
            "input": os.path.exists(store.path("findings", name))})
    return sorted(found, key=lambda f: f["time"])


def describe(store, state, workers, options, phase):
    """What status.json holds; README.md documents it."""
    measured = state["measured"] or {}
    running = [{"name": w.config.name, "executions": w.execs,
                "per_second": round(w.rate, 1), "pid": w.process.pid}
               for w in workers]
    return {
        "version": 1,
        "time": round(time.time(), 1),
        "pid": os.getpid(),
        "phase": phase,
        "starts": state["starts"],
        "first_start": round(state["first_start"], 1),
        "seconds": round(state["seconds"], 1),
        "executions": state["executions"],
        "edges": measured.get("edges"),
        "edges_total": measured.get("edges_total"),
        "states": measured.get("states"),
        "corpus": {"inputs": len(store.inputs), "bytes": store.size,
                   "generation": store.generation(),
                   "parked": len(store.parked),
                   "prunes": state["prunes"],
                   "disturbed_prunes": state["disturbed"]},
        "slot": {"index": state["slot"], "spent": round(state["spent"], 1),
                 "seconds": options.slot},
        "workers": running,
        "workers_ended": state["ended"],
        "configurations": [
            {"name": config.name,
             **{key: round(value, 1) for key, value in
                state["configurations"].get(config.name,
                                            NOTHING_YET).items()}}
            for config in options.configs],
        "findings": findings(store),
        "signatures": dict(sorted(
            store.signatures.items(),
            key=lambda item: -item[1])[:SIGNATURES_SHOWN]),
    }


def write(store, state, workers, options, phase):
    told = describe(store, state, workers, options, phase)
    durable.write_json(store.root, "status.json", told, lasting=False)
    durable.write(store.root, "index.html",
                  page.render(told, history(store),
                              os.path.basename(proc.ROOT)).encode(),
                  lasting=False)
