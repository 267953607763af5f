#!/usr/bin/env python3
"""Says whether a package's dependencies, as they are locked, need no newer Rust than the package says itself.

    cargo metadata --locked --format-version 1 | python3 tools/rust_versions.py PACKAGE
"""

import json
import sys


def version(text):
    """Reads 1.86 or 1.86.0."""
    return tuple(int(part) for part in (text.split(".") + ["0"])[:3])


def main():
    metadata = json.load(sys.stdin)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(id for id, package in packages.items() if package["name"] == sys.argv[1])
    own = packages[root]["rust_version"]
    seen, open_ = set(), [root]
    while open_:
        id = open_.pop()
        if id in seen:
            continue
        seen.add(id)
        for dep in nodes[id]["deps"]:
            if any(kind["kind"] != "dev" for kind in dep["dep_kinds"]):
                open_.append(dep["pkg"])
    newer = [
        f"{packages[id]['name']} {packages[id]['version']} needs {packages[id]['rust_version']}"
        for id in sorted(seen)
        if packages[id]["rust_version"] and version(packages[id]["rust_version"]) > version(own)
    ]
    print(f"{sys.argv[1]} says Rust {own}; {len(seen)} packages, {len(newer)} of them need a newer one")
    print("\n".join(newer), end="\n" if newer else "")
    return 1 if newer else 0


if __name__ == "__main__":
    sys.exit(main())
