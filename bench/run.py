# SPDX-License-Identifier: LGPL-2.1-or-later
"""make bench: every benchmark, one after another."""
import argparse
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    build = parser.parse_args().build
    for command in ([os.path.join(build, "bench", "cpu")],
                    [os.path.join(build, "bench", "conversion"), "--softkvm"],
                    [os.path.join(build, "bench", "conversion"), "--in-place"],
                    [os.path.join(build, "bench", "attributes")],
                    [os.path.join(build, "bench", "sev")],
                    [sys.executable, os.path.join(HERE, "sev_boot.py"), "--build", build],
                    [sys.executable, os.path.join(HERE, "boot.py"), "--build", build],
                    [sys.executable, os.path.join(HERE, "debug.py"), "--build", build]):
        print("$ " + " ".join(command), flush=True)
        subprocess.run(command, check=True)


main()
