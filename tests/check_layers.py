#!/usr/bin/env python3
"""Fails on an include between folders that docs/architecture.md does not permit, and on cycles of files.

Usage: check_layers.py SOURCE_ROOT
"""
import pathlib
import re
import sys

# folder -> folders whose headers it may include (a folder may always include itself)
PERMITTED = {
    "core/base": [],
    "core/memory": ["core/base"],
    "core/decode": ["core/base"],
    "core/cpu": ["core/base", "core/decode", "core/memory", "core:device.h", "core:bus.h", "core:clock.h"],
    "core/interp": ["core/base", "core/decode", "core/memory", "core/cpu", "core:device.h", "core:bus.h"],
    "core": ["core/base", "core/decode", "core/memory", "core/cpu", "core/interp"],
    "jit": ["core/base", "core/cpu", "core/decode", "core/interp", "core/memory"],
    "devices": ["core/base", "core/memory", "core:device.h", "core:bus.h", "core:register_table.h", "core:scheduler.h", "core:clock.h",
                "core:input_queue.h", "disks:block_device.h", "disks/scsi"],
    "disks": ["core/base"],
    "disks/scsi": ["core/base", "disks"],
    "disks/iscsi": ["core/base", "disks", "disks/scsi"],
    "disks/server": ["core/base", "disks", "disks/scsi", "disks/iscsi"],
    "net": ["core/base", "core:clock.h", "core:input_queue.h", "core:scheduler.h", "devices:ethernet.h",
            "devices:ports.h"],
    "roms": ["core/base"],
    "debug": ["core", "core/base", "core/cpu", "core/decode", "core/interp", "core/memory", "devices"],
    "frontend": ["core", "core/base", "core/cpu", "core/decode", "core/interp", "core/memory", "debug", "devices", "disks",
                 "disks/server", "jit", "net", "roms"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def folder_of(path):
    return str(pathlib.PurePosixPath(path).parent)


def allowed(folder, target):
    if folder.startswith("tests"):
        return True
    permitted = PERMITTED.get(folder)
    if permitted is None:
        return False
    name = pathlib.PurePosixPath(target).name
    target_folder = folder_of(target)
    return target_folder == folder or target_folder in permitted or f"{target_folder}:{name}" in permitted


def includes(root):
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.suffix not in (".h", ".cpp", ".inc") or relative.parts[0] in ("build", ".git"):
            continue
        yield str(relative), INCLUDE.findall(path.read_text())


def find_cycle(graph):
    done, stack = set(), []

    def visit(node):
        if node in stack:
            return stack[stack.index(node):] + [node]
        if node in done or node not in graph:
            return None
        stack.append(node)
        for target in graph[node]:
            cycle = visit(target)
            if cycle:
                return cycle
        stack.pop()
        done.add(node)
        return None

    for node in graph:
        cycle = visit(node)
        if cycle:
            return cycle
    return None


def main():
    root = pathlib.Path(sys.argv[1])
    graph, errors = dict(includes(root)), []
    for source, targets in graph.items():
        for target in targets:
            if not (root / target).exists():
                errors.append(f'{source}: "{target}" is not a file of the project (write paths from the root)')
            elif not allowed(folder_of(source), target):
                errors.append(f'{source}: {folder_of(source)} may not include "{target}"')
    cycle = find_cycle(graph)
    if cycle:
        errors.append("cycle: " + " -> ".join(cycle))
    for error in errors:
        print(error)
    print(f"{len(graph)} files, {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
