# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of debug access share: machines with and without a debug object."""
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Vm, VmError, protected        # noqa: E402, F401

TIMEOUT = 30 * int(os.environ.get("TEST_SLOWER", "1"))
REGIMES = ("private", "memfd", "guest-memfd", "vm2")
MEMORY = 64 << 20


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def arguments(regime, allow=None):
    """cloister's, with a debug object if allow says what it allows."""
    if regime == "default":
        return ["-accel", "soft", "-machine", "q35", "-m", "64M"]
    accel = "soft,memory-attributes=vm2" if regime == "vm2" else "soft"
    args = ["-accel", accel] + protected("private" if regime == "vm2" else regime, "64M")
    if allow:
        args[args.index("-machine") + 1] += ",debug=d0"
        args += ["-object", f"sw-protected-vm-debug,id=d0,allow={allow}"]
    return args


def machine(options, regime, allow=None, image="share", append="step", more=()):
    return Vm(options.binary, arguments(regime, allow) + [
        "-kernel", os.path.join(options.guests, image + ".elf"), "-append", append, *more])


def main(tests, description):
    """Run all tests (name, function, argument); the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--guests", required=True)
    parser.add_argument("only", nargs="*")
    options = parser.parse_args()
    failed = 0
    for name, function, *more in tests:
        if options.only and name not in options.only:
            continue
        try:
            function(options, *more)
            print(f"ok {name}")
        except (AssertionError, VmError, OSError) as error:
            failed += 1
            print(f"not ok {name}: {error}")
    return 1 if failed else 0
