"""Stands in for the adb client: a folder is the phone, this machine's shell is the phone's.

Run as `stand_in_adb.py PHONE ARGUMENTS...`. PHONE holds

    states.txt    a line a phone: serial, state
    root/         its files; /data and /sys of a script are those below
    bin/          its commands, found before this machine's
    fault.json    what goes wrong: `match` is looked for in the arguments; `skip` calls of that kind go well first, then
                  `times` of them sleep `sleep_s`, print `says` on `stream` and end with `code`
    calls.log     the arguments of each call

Errors have the real client's words. It is started for every call, so it imports only what the call needs.
"""

import os
import sys


def main(phone, arguments):
    with open(f"{phone}/calls.log", "a") as log:
        log.write(" ".join(arguments).replace("\n", " ; ") + "\n")
    fail_if_told(phone, arguments)
    with open(f"{phone}/states.txt") as file:
        states = dict(line.split(maxsplit=1) for line in file.read().splitlines() if line)
    if arguments[0] == "devices":
        print("List of devices attached")
        for serial, state in states.items():
            print(f"{serial:22} {state.strip()} usb:1-1 product:husky model:Phone transport_id:1")
        print()
        return 0
    serial = None
    if arguments[0] == "-s":
        serial, arguments = arguments[1], arguments[2:]
    problem = None
    if serial is None and len(states) > 1:
        problem = "more than one device/emulator"
    elif serial is None and not states:
        problem = "no devices/emulators found"
    elif serial is not None and serial not in states:
        problem = f"device '{serial}' not found"
    if problem is not None:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return COMMANDS[arguments[0]](phone, *arguments[1:])


def fail_if_told(phone, arguments):
    path = f"{phone}/fault.json"
    if not os.path.exists(path):
        return
    import json
    import time

    with open(path) as file:
        fault = json.load(file)
    if fault["match"] not in " ".join(arguments) or fault["times"] == 0:
        return
    going = "skip" if fault.get("skip", 0) > 0 else "times"
    with open(path, "w") as file:
        json.dump(fault | {going: fault[going] - 1}, file)
    if going == "times":
        time.sleep(fault.get("sleep_s", 0))
        print(fault["says"], file=getattr(sys, fault.get("stream", "stderr")))
        sys.exit(fault.get("code", 1))


def there(phone, path):
    return f"{phone}/root{path}"


def shell(phone, script):
    for folder in ("/data/", "/sys/"):
        script = script.replace(folder, there(phone, folder))
    environment = os.environ | {"PATH": f"{phone}/bin:{os.environ['PATH']}"}
    os.execvpe("sh", ["sh", "-c", script], environment)  # noqa: S606


def push(phone, local, remote):
    os.makedirs(os.path.dirname(there(phone, remote)), exist_ok=True)
    copy(local, there(phone, remote))
    print(f"{local}: 1 file pushed, 0 skipped. 30.1 MB/s (1 bytes in 0.001s)")
    return 0


def pull(phone, remote, local):
    copy(there(phone, remote), local)
    return 0


def copy(source, target):
    with open(source, "rb") as read, open(target, "wb") as write:
        write.write(read.read())


COMMANDS = {"shell": shell, "push": push, "pull": pull, "wait-for-device": lambda phone: 0}

sys.exit(main(sys.argv[1], sys.argv[2:]))
