#!/usr/bin/env python3
"""What the published crates are made of.

  supply.py check RECORD            fails where a dependency is not the one of the record, and says which
  supply.py record RECORD           writes the record anew: a change of it is looked at like any other
  supply.py sbom FOLDER             writes a list of materials (CycloneDX 1.5) for each published crate

A record has a line for each dependency that a published crate has with all features on any system: name,
version, checksum of its package, licence, how many lines have the word `unsafe`, and what of it runs as it is built
(`build` script, `proc-macro`). It says what was there when somebody took it in; it is no audit.
"""
import hashlib
import json
import os
import re
import subprocess
import sys

try:
    import tomllib
except ImportError:
    sys.exit("this needs Python 3.11")

UNSAFE = re.compile(r"\bunsafe\b")
HEAD = "# Written by `bash ci.sh supply-record`: see tools/supply.py. name version checksum licence unsafe-lines runs\n"


def metadata():
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def checksums():
    with open("Cargo.lock", "rb") as file:
        packages = tomllib.load(file)["package"]
    return {(p["name"], p["version"]): p.get("checksum") for p in packages}


def is_published(package):
    return package["source"] is None and package["publish"] is None


class Graph:
    """The packages by their ids, and who is made of whom, dependencies of tests left out."""

    def __init__(self):
        data = metadata()
        self.packages = {package["id"]: package for package in data["packages"]}
        self.edges = {}
        for node in data["resolve"]["nodes"]:
            kinds = ((dep["pkg"], [kind["kind"] for kind in dep["dep_kinds"]]) for dep in node["deps"])
            self.edges[node["id"]] = sorted(pkg for pkg, kind in kinds if set(kind) != {"dev"})
        self.roots = sorted(id for id, package in self.packages.items() if is_published(package))

    def below(self, *roots):
        found, left = set(), list(roots)
        while left:
            for other in self.edges[left.pop()]:
                if other not in found:
                    found.add(other)
                    left.append(other)
        return sorted((self.packages[id] for id in found), key=lambda p: (p["name"], p["version"]))


def unsafe_lines(package):
    count, folder = 0, os.path.dirname(package["manifest_path"])
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("tests", "benches", "examples", "target")]
        for name in files:
            if name.endswith(".rs"):
                with open(os.path.join(place, name), encoding="utf-8", errors="replace") as file:
                    code = (line.split("//")[0] for line in file)
                    count += sum(1 for line in code if UNSAFE.search(line))
    return count


def runs(package):
    kinds = {kind for target in package["targets"] for kind in target["kind"]}
    found = [word for kind, word in (("custom-build", "build"), ("proc-macro", "proc-macro")) if kind in kinds]
    return ",".join(found) or "-"


def lines():
    graph, sums = Graph(), checksums()
    for package in graph.below(*graph.roots):
        if package["source"] is None:
            continue
        key = package["name"], package["version"]
        licence = (package["license"] or "?").replace(" ", "_")
        yield " ".join([*key, sums[key] or "?", licence, str(unsafe_lines(package)), runs(package)]) + "\n"


def check(record):
    with open(record, encoding="utf-8") as file:
        known = {line for line in file if not line.startswith("#")}
    now = set(lines())
    for line in sorted(now - known):
        print(f"not in the record: {line}", end="")
    for line in sorted(known - now):
        print(f"not there any more: {line}", end="")
    if now != known:
        sys.exit("FAILED: look at what has changed, then `bash ci.sh supply-record`, and commit the record with it")
    have_unsafe = sum(1 for line in now if line.split()[4] != "0")
    run = sum(1 for line in now if line.split()[5] != "-")
    print(f"{len(now)} dependencies as recorded; {have_unsafe} have unsafe code, {run} run as they are built")


def component(package, sums):
    key = package["name"], package["version"]
    purl = f"pkg:cargo/{key[0]}@{key[1]}"
    made = {"type": "library", "bom-ref": purl, "name": key[0], "version": key[1], "purl": purl}
    if package["license"]:
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if sums.get(key):
        made["hashes"] = [{"alg": "SHA-256", "content": sums[key]}]
    return made


def sbom(folder):
    graph, sums = Graph(), checksums()
    os.makedirs(folder, exist_ok=True)
    for id in graph.roots:
        root, below = graph.packages[id], graph.below(id)
        refs = {p["id"]: component(p, sums)["bom-ref"] for p in [root, *below]}
        bom = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"component": component(root, sums)},
            "components": [component(package, sums) for package in below],
            "dependencies": [
                {"ref": ref, "dependsOn": [refs[other] for other in graph.edges[id]]}
                for id, ref in sorted(refs.items(), key=lambda item: item[1])
            ],
        }
        path = os.path.join(folder, f"{root['name']}-{root['version']}.cdx.json")
        text = json.dumps(bom, indent=1) + "\n"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        print(f"{path}: {len(below)} components, sha256 {hashlib.sha256(text.encode()).hexdigest()}")


def main():
    what, place = sys.argv[1:3]
    if what == "record":
        text = HEAD + "".join(lines())
        with open(place, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        {"check": check, "sbom": sbom}[what](place)


main()
