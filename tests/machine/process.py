# SPDX-License-Identifier: LGPL-2.1-or-later
"""process.py --binary CLOISTER --guests FOLDER: cloister as a process among others.

Signals, pid file, background, run states that the command line chooses, and which KVM.
"""
import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))

from cloister_vm import Qmp, Vm, VmError, protected     # noqa: E402

TIMEOUT = 60


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Setting:
    """Where the program and its guests are."""

    def __init__(self, binary, guests):
        self.binary = binary
        self.guests = guests

    def guest(self, name):
        return ["-kernel", os.path.join(self.guests, name + ".elf")]

    def vm(self, *arguments, guest="share", accel="soft"):
        command = ["-accel", accel] if accel else []
        return Vm(self.binary, command + self.guest(guest) + list(arguments))


def wait_for_event(qmp, name):
    for event in qmp.events:
        if event["event"] == name:
            return event
    while True:
        message = qmp.receive()
        if message.get("event") == name:
            return message


def end_by(setting, number):
    with setting.vm("-S") as vm:
        qmp = vm.qmp
        os.kill(vm.process.pid, number)
        event = wait_for_event(qmp, "SHUTDOWN")
        expect(event["data"] == {"guest": False, "reason": "host-signal"}, str(event))
        expect(vm.wait_end(TIMEOUT) == 0, "status 0")
        expect(f"terminating on signal {int(number)} from pid {os.getpid()} (python" in
               vm.errors(), vm.errors())
        expect(not os.path.exists(vm.qmp_path), "the socket's file is gone")


def check_signals_end_it(setting):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        end_by(setting, number)


def end_while_it_waits(setting, number, address):
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [setting.binary, *setting.guest("hello"), "-accel", "soft", "-display", "none",
             "-pidfile", "pid", "-serial", "unix:other,server=on,wait=off", "-qmp", address],
            cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            expect("waiting for connection" in process.stderr.readline(), "it waits")
            process.send_signal(number)
            errors = process.communicate(timeout=TIMEOUT)[1]
        finally:
            process.kill()
        expect(process.returncode == 0, f"status {process.returncode}: {errors}")
        expect(errors.startswith(f"cloister: terminating on signal {int(number)} ") and
               errors.count("\n") == 1, errors)
        expect(not os.listdir(folder), f"left behind: {os.listdir(folder)}")


def check_signal_before_the_first_client(setting):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        end_while_it_waits(setting, number, "unix:socket,server=on")
    end_while_it_waits(setting, signal.SIGTERM, "tcp:127.0.0.1:0,server=on")


def check_signal_while_the_guest_runs(setting):
    with setting.vm("-append", "step", *protected("guest-memfd", "64M")) as vm:
        vm.wait_for("step 0", TIMEOUT)
        vm.process.terminate()
        expect(vm.wait_end(TIMEOUT) == 0, "status 0")


def check_poweroff_is_status_0(setting):
    with setting.vm(guest="hello") as vm:
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())
        expect("PASS" in vm.console, vm.console)


def check_guest_shutdown_event(setting):
    with setting.vm("-S", guest="hello") as vm:
        vm.qmp.command("cont")
        event = wait_for_event(vm.qmp, "SHUTDOWN")
        expect(event["data"] == {"guest": True, "reason": "guest-shutdown"}, str(event))
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())


def check_stopped_until_cont(setting):
    with setting.vm("-S", guest="hello") as vm:
        expect(vm.qmp.command("query-status")["status"] == "prelaunch", "prelaunch")
        vm.pump(0.3)
        expect(vm.console == "", "nothing runs before cont")
        vm.qmp.command("cont")
        vm.wait_for("^PASS", TIMEOUT)
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())


def check_no_shutdown_keeps_it(setting):
    with setting.vm("-S", "-no-shutdown", guest="hello") as vm:
        qmp = vm.qmp
        for _ in range(2):
            qmp.command("cont")
            wait_for_event(qmp, "SHUTDOWN")
            wait_for_event(qmp, "STOP")
            qmp.events.clear()
            expect(qmp.command("query-status")["status"] == "shutdown", "state shutdown")
            refused = qmp.execute("cont")
            expect("Resetting" in refused["error"]["desc"], str(refused))
            qmp.command("system_reset")
            expect(qmp.command("query-status")["status"] == "prelaunch", "reset: prelaunch")
            qmp.events.clear()
        qmp.command("quit")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())
        expect(vm.console.count("PASS") == 2, vm.console)


def resets_itself(setting, backend):
    with setting.vm(*protected(backend, "64M"), guest="reset") as vm:
        for _ in range(3):
            event = wait_for_event(vm.qmp, "RESET")
            expect(event["data"] == {"guest": True, "reason": "guest-reset"}, str(event))
            vm.qmp.events.clear()
        vm.qmp.command("quit")
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())
        expect(vm.console.count("before the reset") >= 3, vm.console)


def check_reset_rebuilds_protected_vms(setting):
    for backend in ("private", "memfd", "guest-memfd"):
        resets_itself(setting, backend)


def check_no_reboot_ends(setting):
    with setting.vm("-S", "-no-reboot", guest="reset") as vm:
        vm.qmp.command("cont")
        event = wait_for_event(vm.qmp, "SHUTDOWN")
        expect(event["data"] == {"guest": True, "reason": "guest-reset"}, str(event))
        expect(vm.wait_end(TIMEOUT) == 0, vm.errors())
        expect(vm.console.count("before the reset") == 1, vm.console)


def check_power_button(setting):
    """The guest's own ACPI interrupt, and an RTC that ticks."""
    for backend in (None, "guest-memfd"):
        with setting.vm(*(protected(backend, "64M") if backend else []), guest="button") as vm:
            vm.wait_for("^waiting for the button", TIMEOUT)
            vm.qmp.command("system_powerdown")
            expect("POWERDOWN" in [event["event"] for event in vm.qmp.events], "the event")
            expect(vm.wait_end(TIMEOUT) == 0, vm.errors())
            expect("PASS" in vm.console and "FAILED" not in vm.console, vm.console)


def check_pid_file(setting):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pid")
        with setting.vm("-S", "-pidfile", path) as vm:
            vm.qmp.command("query-status")
            with open(path, encoding="ascii") as file:
                expect(int(file.read()) == vm.process.pid, "the pid is in it")
            second = subprocess.run([setting.binary, "-S", "-display", "none", "-pidfile", path],
                                    capture_output=True, timeout=TIMEOUT, text=True)
            expect(second.returncode == 1 and "running process" in second.stderr, second.stderr)
            vm.qmp.command("quit")
            expect(vm.wait_end(TIMEOUT) == 0, vm.errors())
        expect(not os.path.exists(path), "it is gone at the end")


def check_daemonize(setting):
    with tempfile.TemporaryDirectory() as folder:
        path, pid_path = os.path.join(folder, "qmp"), os.path.join(folder, "pid")
        start = subprocess.run([setting.binary, *setting.guest("share"), "-S", "-daemonize",
                                "-accel", "soft", "-display", "none", "-pidfile", pid_path,
                                "-qmp", f"unix:{path},server=on,wait=off"],
                               capture_output=True, timeout=TIMEOUT, text=True)
        expect(start.returncode == 0, start.stderr)
        with open(pid_path, encoding="ascii") as file:
            pid = int(file.read())
        qmp = Qmp(path)
        expect(qmp.command("query-status")["status"] == "prelaunch", "it runs")
        expect(os.readlink(f"/proc/{pid}/fd/2") == "/dev/null", "it let go of stderr")
        qmp.command("quit")
        qmp.close()
        deadline = time.monotonic() + TIMEOUT
        while os.path.exists(pid_path):
            expect(time.monotonic() < deadline, "it ends")
            time.sleep(0.02)


def run_line(setting, *arguments):
    """stderr of a run of the hello guest."""
    result = subprocess.run([setting.binary, *setting.guest("hello"), "-display", "none",
                             *arguments], capture_output=True, timeout=TIMEOUT, text=True)
    return result.returncode, result.stderr


def check_the_kvm_is_said(setting):
    status, text = run_line(setting, "-accel", "soft")
    expect((status, text) == (0, "cloister: using softkvm: as -accel asks\n"), text)
    status, text = run_line(setting, "-accel", "soft,memory-attributes=vm2",
                            *protected("guest-memfd", "64M"))
    expect(status == 1 and "softkvm with attributes by version 2 lacks "
           "KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES" in text, text)
    status, text = run_line(setting, *protected("private", "64M"))
    expect(status == 0 and text.startswith("cloister: using ") and text.count("\n") == 1, text)
    lacks = "softkvm: /dev/kvm " in text
    expect(lacks or text.startswith("cloister: using KVM"), text)
    if lacks:
        status, text = run_line(setting, "-accel", "kvm", *protected("private", "64M"))
        expect(status == 1 and "/dev/kvm" in text and text.count("\n") == 1, text)
        status, text = run_line(setting, "-accel", "kvm", "-accel", "soft",
                                *protected("guest-memfd", "64M"))
        expect(status == 0 and "using softkvm: /dev/kvm" in text, text)


def check_failures_on_request(setting):
    guest = protected("guest-memfd", "64M")
    # Busy for a moment: tried again.  For ever: said, with the address.
    status, text = run_line(setting, "-accel", "soft,pin=0x123000:3", *guest)
    expect(status == 0, text)
    status, text = run_line(setting, "-accel", "soft,pin=0x123000", *guest)
    expect(status == 1 and "at 0x123000 can't be made private: Resource temporarily" in text, text)
    status, text = run_line(setting, "-accel", "soft,fail=KVM_CREATE_VCPU:1:EMFILE")
    expect(status == 1 and "Too many open files" in text and text.count("\n") == 1, text)
    status, text = run_line(setting, "-accel", "soft,fail=nothing:1")
    expect(status == 1 and "isn't understood" in text and text.count("\n") == 1, text)


def check_trace(setting):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        status, text = run_line(setting, "-accel", "soft", "-trace", "runstate*", "-d",
                                "trace:kvm_pio", "-D", path)
        expect(status == 0, text)
        with open(path, encoding="ascii") as file:
            lines = file.read().splitlines()
        expect(any("runstate_set prelaunch -> running" in line for line in lines), str(lines[:3]))
        expect(any("kvm_pio cpu=0 out port=0x3f8" in line for line in lines), str(lines[:3]))
        expect(not any("kvm_mmio" in line for line in lines), "only what was asked for")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guests", default="build/guests")
    parser.add_argument("checks", nargs="*", help="names (default: all)")
    arguments = parser.parse_args()
    setting = Setting(os.path.abspath(arguments.binary), os.path.abspath(arguments.guests))
    failed = 0
    for name, check in list(globals().items()):
        if not name.startswith("check_"):
            continue
        if arguments.checks and name.removeprefix("check_") not in arguments.checks:
            continue
        try:
            check(setting)
            print(f"{name.removeprefix('check_')}: ok", flush=True)
        except (AssertionError, VmError, OSError, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"{name.removeprefix('check_')}: FAILED: {error}", flush=True)
    return 1 if failed else 0


sys.exit(main())
