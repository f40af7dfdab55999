# SPDX-License-Identifier: LGPL-2.1-or-later
"""make demo: a stock kernel in a protected VM, then a guest that shares pages.

On a terminal the guest's shell is yours; otherwise the demo types for you.
"""
import argparse
import contextlib
import os
import select
import shlex
import sys
import termios
import time
import tty

from cloister_vm import Vm, VmError, protected

PROMPT = r"^[^\n]{0,80}(?:[#$>]|login:) ?\Z"     # of any shell, where the console ends
PANIC = r"^.*(Kernel panic - .*)\n"
ESCAPE = b"\x1d"                # Ctrl-], as in telnet


def say(text):
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def wait_for_prompt(vm, timeout):
    """A prompt after which the guest stays silent: a line half printed may look like one."""
    while True:
        match = vm.wait_for(f"{PANIC}|{PROMPT}", timeout)
        if match.group(1):
            hint = "" if "-initrd" in vm.command else " (it was given no initrd: INITRD=FILE)"
            raise VmError(match.group(1) + hint)
        seen = match.end()
        quiet_until = time.monotonic() + 1.5
        while time.monotonic() < quiet_until and len(vm.console) == seen:
            vm.pump(0.1)
        if len(vm.console) == seen:
            return


@contextlib.contextmanager
def silent_terminal():
    """Nobody types while the guest boots, but terminals answer what its shell asks them."""
    if not sys.stdin.isatty():
        yield
        return
    stdin = sys.stdin.fileno()
    saved = termios.tcgetattr(stdin)
    silent = termios.tcgetattr(stdin)
    silent[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(stdin, termios.TCSADRAIN, silent)
        yield
    finally:
        termios.tcsetattr(stdin, termios.TCSAFLUSH, saved)


def show_map(vm):
    print("(monitor) info ramblock-attributes")
    print(vm.qmp.hmp("info ramblock-attributes"), flush=True)


def interactive(vm):
    """The user's terminal is the guest's console until the guest ends, or Ctrl-]: then False."""
    say("The shell is yours. `poweroff -f` ends it, Ctrl-] ends it at once.")
    stdin = sys.stdin.fileno()
    saved = termios.tcgetattr(stdin)
    vm.type("\n")
    try:
        tty.setraw(stdin)
        while vm.process.poll() is None:
            ready, _, _ = select.select([stdin, vm.process.stdout], [], [], 1)
            if stdin in ready:
                data = os.read(stdin, 1024)
                if not data or ESCAPE in data:
                    vm.qmp.command("quit")
                    return False
                vm.process.stdin.write(data)
                vm.process.stdin.flush()
            if vm.process.stdout in ready:
                data = os.read(vm.process.stdout.fileno(), 65536)
                if not data:
                    break
                os.write(sys.stdout.fileno(), data)
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, saved)
    return True


def boot_linux(arguments):
    say("1. An unmodified kernel in a VM whose only memory is a guest_memfd, all of it private")
    command = protected("guest-memfd", "512M") + [
        "-smp", "2", "-kernel", arguments.kernel, "-append", "console=ttyS0"]
    if arguments.initrd:
        command += ["-initrd", arguments.initrd]
    powered_off = True
    with Vm(arguments.binary, command, echo=sys.stdout, show_errors=True) as vm:
        print("$ " + shlex.join(vm.command), flush=True)
        with silent_terminal():
            vm.wait_for(r"Linux version", arguments.timeout)
            wait_for_prompt(vm, arguments.timeout)
        say("A shell. What of its memory the host can map (nothing):")
        show_map(vm)
        if sys.stdin.isatty() and sys.stdout.isatty():
            powered_off = interactive(vm)
        else:
            start = len(vm.console)
            vm.type("uname -a; grep -m1 'model name' /proc/cpuinfo; cat /proc/uptime\n")
            vm.wait_for(r"^\d+\.\d+ \d+\.\d+$", arguments.timeout, start)
            vm.type("poweroff -f\n")
        status = vm.wait_end(arguments.timeout)
    if status != 0:
        raise VmError(f"cloister ended with status {status}")
    say(f"{'The guest powered off' if powered_off else 'Ended'}, cloister ended with status 0")


def share_pages(arguments):
    say("2. A guest that shares pages of a window and takes them back (its pages from 0x100000 on "
        "are always shared: docs/guests.md)")
    guest = os.path.join(arguments.build, "guests", "share.elf")
    command = protected("guest-memfd", "64M") + ["-kernel", guest, "-append", "step"]
    with Vm(arguments.binary, command, echo=sys.stdout, show_errors=True) as vm:
        print("$ " + shlex.join(vm.command), flush=True)
        seen = 0
        while True:
            match = vm.wait_for(r"^step \d+.*\nwaiting for a key\n|^PASS.*\n|^FAIL.*\n",
                                arguments.timeout, seen)
            seen = match.end()
            if not match.group().startswith("step"):
                break
            show_map(vm)
            vm.type("\n")
        passed = match.group().startswith("PASS")
        status = vm.wait_end(arguments.timeout)
    if not passed or status != 0:
        raise VmError(f"the guest said {match.group().strip()}, cloister ended with {status}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--kernel", help="bzImage or PVH ELF (default: Debian's cloud kernel)")
    parser.add_argument("--initrd", help="initrd of that kernel")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for each step")
    arguments = parser.parse_args()
    arguments.binary = os.path.join(arguments.build, "cloister")
    if not arguments.kernel:
        arguments.kernel = os.path.join(arguments.build, "guest", "vmlinuz")
        arguments.initrd = arguments.initrd or os.path.join(arguments.build, "guest", "initrd.gz")
    try:
        boot_linux(arguments)
        share_pages(arguments)
    except VmError as error:
        print(f"\ndemo: {str(error).rstrip()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        return 130
    say("Done. README.md says where to go from here.")
    return 0


sys.exit(main())
