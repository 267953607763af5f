#!/usr/bin/env python3
"""Says which lines of a folder tests come by, file by file, and fails below a percentage.

  coverage.py SUMMARY.json FOLDER LEAST-PERCENT

The summary is that of `cargo llvm-cov report --json --summary-only`. Files of tests are left out; tests at the end of
a file count as its lines.
"""
import json
import os
import sys


def is_test(path):
    return "/tests/" in path or path.endswith("/tests.rs") or "/testing/" in path


def main():
    summary, folder, least = sys.argv[1:4]
    folder = os.path.abspath(folder) + os.sep
    with open(summary, encoding="utf-8") as file:
        files = json.load(file)["data"][0]["files"]
    lines = covered = 0
    missed = []
    for file in files:
        name, count = file["filename"], file["summary"]["lines"]
        if not name.startswith(folder) or is_test(name):
            continue
        lines += count["count"]
        covered += count["covered"]
        missed.append((count["count"] - count["covered"], name[len(folder):], count["percent"]))
    if not lines:
        sys.exit(f"no line of {folder} is in {summary}")
    for count, name, percent in sorted(missed, reverse=True)[:12]:
        print(f"{count:>6} lines missed  {percent:6.2f} %  {name}")
    percent = 100 * covered / lines
    print(f"{folder}: {covered} of {lines} lines, {percent:.2f} %, at least {least}")
    if percent < float(least):
        sys.exit(f"FAILED: the tests come by too few lines of {folder}")


main()
