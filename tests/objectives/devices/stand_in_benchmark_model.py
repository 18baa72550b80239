"""Stands in for `benchmark_model` on the phone: replays an output, and answers with LiteRT where outputs are asked for.

It knows the flags that the tool's source declares, and says of any other what the tool says. What it replays stands in
the phone's /data/local/tmp/replay: `<delegate>.txt`, with the exit code in `<delegate>.code`; for the model by which a
device tries its delegates `<delegate>.probe`, if there is one.
"""

import os
import sys

KNOWN = {
    *("graph", "num_threads", "num_runs", "min_secs", "max_secs", "warmup_runs", "warmup_min_secs"),
    *("input_layer", "input_layer_shape", "input_layer_value_files", "output_filepath"),
    *("use_xnnpack", "use_gpu", "gpu_precision_loss_allowed", "gpu_backend", "gpu_inference_for_sustained_speed"),
    *("use_nnapi", "nnapi_accelerator_name", "nnapi_execution_preference", "nnapi_allow_fp16", "disable_nnapi_cpu"),
    *("external_delegate_path", "external_delegate_options"),
}


def main():
    flags = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
    if unknown := [f"--{name}={value}" for name, value in flags.items() if name not in KNOWN]:
        print("WARN: Unconsumed cmdline flags:", *unknown)
    if not os.path.isfile(flags["graph"]):
        print(f"ERROR: Failed to load model {flags['graph']}", file=sys.stderr)
        return 1
    delegate = delegate_of(flags)
    replay = f"{os.path.dirname(os.path.abspath(__file__))}/../replay/{delegate}"
    if os.path.exists(f"{replay}.probe") and is_probe(flags["graph"]):
        with open(f"{replay}.probe") as file:
            print(file.read())
        return 0
    with open(f"{replay}.txt") as file:
        print(file.read(), flush=True)
    if "output_filepath" in flags:
        answer(flags)
    with open(f"{replay}.code") as file:
        code = int(file.read())
    if code < 0:
        os.kill(os.getpid(), -code)
    return code


def is_probe(graph):
    with open(graph, "rb") as file:
        return b"litefront's probe" in file.read()


def delegate_of(flags):
    if "external_delegate_path" in flags:
        return "external"
    for name in ("gpu", "nnapi", "xnnpack"):
        if flags.get(f"use_{name}") == "true":
            return name
    return "none" if flags.get("use_xnnpack") == "false" else "xnnpack"


def answer(flags):
    import site

    site.main()  # it is started without, which takes less long
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    name, _, path = flags["input_layer_value_files"].partition(":")
    assert name == flags["input_layer"]
    interpreter = Interpreter(model_path=flags["graph"])
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    shape = [int(size) for size in flags["input_layer_shape"].split(",")]
    assert shape == taken["shape"].tolist()
    interpreter.set_tensor(taken["index"], np.fromfile(path, taken["dtype"]).reshape(shape))
    interpreter.invoke()
    interpreter.get_tensor(given["index"]).tofile(flags["output_filepath"])


sys.exit(main())
