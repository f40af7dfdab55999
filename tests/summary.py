# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts of a meson test log: 'N passed, N failed, N skipped', and why each skip."""
import json
import sys

SKIP_WORDS = ("skip", "lack", "needs", "no /dev/kvm", "missing")


def reason(test):
    """The line of a skipped test's output that says what it lacked."""
    lines = (test.get("stdout", "") + "\n" + test.get("stderr", "")).splitlines()
    for line in lines:
        if any(word in line.lower() for word in SKIP_WORDS):
            return line.strip()
    return "it did not say why"


def main():
    passed = failed = skipped = 0
    with open(sys.argv[1], encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            result = test["result"]
            if result in ("OK", "EXPECTEDFAIL"):
                passed += 1
            elif result == "SKIP":
                skipped += 1
                print(f"skipped: {test['name']}: {reason(test)}")
            else:
                failed += 1
                print(f"failed: {test['name']}: {result}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
