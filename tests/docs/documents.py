# SPDX-License-Identifier: LGPL-2.1-or-later
"""documents.py --source FOLDER --binary CLOISTER --guest ELF: the documents against the program.

The manual page has every option and property that the program's own help has, and no
other; links and paths lead somewhere; commands of monitors and targets of make exist.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys

TIMEOUT = 60
complaints = []


def complain(document, what, names):
    complaints.extend(f"{document}: {what}: {name}" for name in sorted(names))


def output(binary, *arguments, send=""):
    return subprocess.run([binary, *arguments], input=send, capture_output=True, text=True,
                          timeout=TIMEOUT, check=True).stdout


# --- The manual page ---

def check_options(page, binary):
    known = set(re.findall(r"^-([\w-]+)", output(binary, "-help"), re.M))
    options = page[page.index(".SH OPTIONS"):page.index(".SH MEMORY BACKENDS")]
    headings = re.findall(r"^\.TP\n\.BR? (.*)", options, re.M) + \
        re.findall(r"^\.BR? (\\-.*)", options, re.M)
    documented = set(re.findall(r'(?:^|[ "])-([\w-]+)', "\n".join(headings).replace("\\-", "-"),
                                re.M))
    complain("cloister.1", "option not documented", known - documented)
    used = set(re.findall(r'(?:^|[\s"(\[])-([A-Za-z][\w-]*)', page.replace("\\-", "-"), re.M))
    complain("cloister.1", "no such option", used - known)


def check_properties(page, binary):
    """Of the machine and of each type of object and device."""
    words = set(re.findall(r"[\w-]+", page.replace("\\-", "-")))
    kinds = [("-machine", "q35")] + [
        ("-object", kind) for kind in
        re.findall(r"^  ([\w-]+) ", output(binary, "-object", "help"), re.M)]
    kinds += [("-device", kind) for kind in
              re.findall(r'^name "([\w-]+)"', output(binary, "-device", "help"), re.M)]
    for option, kind in kinds:
        text = output(binary, option, kind + ",help")
        known = set(re.findall(r"^  ([\w-]+)=", text, re.M))
        # A debug object may have none, and says so.
        if not known and not re.fullmatch(rf"{kind} options:\n(  \(.*\)\n)?", text):
            complain("cloister.1", "no properties of", [kind])
        complain("cloister.1", f"property of {kind} not documented", known - words)
        complain("cloister.1", "not documented", {kind} - words)


def check_manual(arguments):
    page = (arguments.source / "docs/cloister.1").read_text(encoding="utf-8")
    check_options(page, arguments.binary)
    check_properties(page, arguments.binary)


# --- Monitors ---

def check_monitors(arguments):
    queries = ("qmp_capabilities", "query-commands", "query-events", "quit")
    replies = output(arguments.binary, "-accel", "soft", "-S", "-kernel", arguments.guest,
                     "-display", "none", "-qmp", "stdio",
                     send="\n".join(json.dumps({"execute": query}) for query in queries))
    lists = [json.loads(line)["return"] for line in replies.splitlines() if '"return"' in line]
    known = {row["name"] for rows in lists if isinstance(rows, list) for row in rows}
    text = (arguments.source / "docs/monitor.md").read_text(encoding="utf-8")
    complain("monitor.md", "not documented", {name for name in known if name not in text})
    rows = text[text.index("| QMP | HMP |"):text.index("Events:")].splitlines()
    first = "\n".join(row.split("|")[1] for row in rows if row.startswith("| `"))
    events = re.search(r"^Events: (.*)\.$", text, re.M).group(1).split(", ")
    complain("monitor.md", "no such command", set(re.findall(r"`([^`]+)`", first)) - known)
    complain("monitor.md", "no such event", set(events) - known)


# --- Links, paths, targets ---

def dead_links(path, text):
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, _ = link.partition("#")
        if target and ":" not in target and not (path.parent / target).exists():
            yield link


def wrong_paths(source, text):
    """`src/...` and the like; a star stands for names."""
    for name in re.findall(r"`((?:src|tests|tools|bench|guests|include)/[\w./*-]*)`", text):
        if not any(source.glob(name.rstrip("/"))):
            yield name


def check_markdown(arguments):
    makefile = (arguments.source / "Makefile").read_text(encoding="utf-8")
    targets = set(" ".join(re.findall(r"^([a-z -]+):", makefile, re.M)).split())
    pages = [arguments.source / "README.md", *sorted((arguments.source / "docs").glob("*.md"))]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        complain(path.name, "dead link", dead_links(path, text))
        complain(path.name, "no such file", wrong_paths(arguments.source, text))
        used = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.M))
        complain(path.name, "no such target of make", used - targets)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--guest", default="build/guests/hello.elf")
    arguments = parser.parse_args()
    check_manual(arguments)
    check_monitors(arguments)
    check_markdown(arguments)
    print("\n".join(complaints) or "the documents agree with the program")
    return 1 if complaints else 0


sys.exit(main())
