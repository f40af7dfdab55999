# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of a program of cases: each a function of the arguments and a folder of its own."""
import argparse
import os
import tempfile

from cloister_vm import VmError

EXIT_SKIP = 77


class Skip(Exception):
    """What the case lacks."""


def parser_of(cases, description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--binary", default="build/cloister")
    parser.add_argument("--files", default="build/guest", help="what make guest-files makes")
    parser.add_argument("cases", nargs="+", choices=cases)
    return parser


def need_files(arguments, *names):
    """Of the folder of guest files; raises Skip."""
    for name in names:
        path = os.path.join(arguments.files, name)
        if not os.path.exists(path):
            raise Skip(f"no {path}: make guest-files")


def run_cases(cases, arguments, *needed):
    """The exit status: 0, 1, or EXIT_SKIP where a needed file or what a case wants lacks."""
    try:
        need_files(arguments, *needed)
        for name in arguments.cases:
            with tempfile.TemporaryDirectory(prefix="cloister-") as folder:
                cases[name](arguments, folder)
            print(f"{name}: ok")
    except Skip as lack:
        print(f"skipped: {lack}")
        return EXIT_SKIP
    except VmError as error:
        print(f"{name}: FAILED: {error}")
        return 1
    return 0
