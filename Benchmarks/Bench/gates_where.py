# SPDX-License-Identifier: Apache-2.0

"""The stacks that allocate for a message."""

import collections
import os
import subprocess

from Bench.processes import Failure

# The frames of the runtime between an allocation and its caller are omitted.
RUNTIME = ("swift_allocObject", "swift_slowAlloc", "_swift_allocObject_", "operator new")
LIBRARY = "/allocations.so"
# The number of printed frames.
FRAMES = 7
# Stacks that allocate less than once per hundred messages are omitted.
LEAST = 0.01


def parse(text):
    """Returns counts and bytes by stack."""
    found = {}
    for line in text.splitlines():
        if line.startswith("stack "):
            _, count, size, *frames = line.split(" ")
            # The first frames belong to the counting library.
            found[tuple(frame for frame in frames if LIBRARY not in frame)] = (int(count), int(size))
    return found


def difference(few, many):
    """Returns the excess of the larger run, by stack."""
    found = {}
    for stack, (count, size) in many.items():
        before = few.get(stack, (0, 0))
        if count > before[0]:
            found[stack] = (count - before[0], size - before[1])
    return found


def symbols(frames):
    """Returns the functions of frames, including inlined functions, innermost first."""
    by_file = collections.defaultdict(list)
    names = {}
    for frame in frames:
        path, plus, offset = frame.rpartition("+")
        if plus and os.path.exists(path):
            by_file[path].append((frame, offset))
        else:
            names[frame] = [frame.rpartition("/")[2]]
    for path, entries in by_file.items():
        tool = ("llvm-symbolizer", "--obj=" + path, "--functions=linkage", "--no-demangle")
        offsets = "\n".join(offset for _, offset in entries)
        blocks = output(tool, offsets).strip().split("\n\n")
        if len(blocks) != len(entries):
            raise Failure(f"llvm-symbolizer printed {len(blocks)} of {len(entries)} frames")
        for (frame, _), block in zip(entries, blocks):
            # A line with the file follows each function.
            names[frame] = block.splitlines()[::2]
    return demangled(names)


def demangled(names):
    unique = sorted({name for chain in names.values() for name in chain})
    clear = output(("swift", "demangle", "--simplified", "--compact"), "\n".join(unique)).splitlines()
    clean = dict(zip(unique, clear, strict=True))
    return {frame: [clean[name] for name in chain] for frame, chain in names.items()}


def output(command, text):
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Failure(f"{command[0]} of the Swift toolchain failed: {error}") from error


def lines(case, few, many, count):
    """Returns a line for each stack that allocates, the most frequent first."""
    stacks = difference(parse(few), parse(many))
    names = symbols({frame for stack in stacks for frame in stack})
    places = collections.Counter()
    sizes = collections.Counter()
    for stack, (times, size) in stacks.items():
        chain = [name for frame in stack for name in names[frame] if not any(part in name for part in RUNTIME)]
        place = " < ".join(chain[:FRAMES])
        places[place] += times
        sizes[place] += size
    yield f"{case}: {sum(places.values()) / count:.2f} allocations a message"
    for place, times in places.most_common():
        if times / count >= LEAST:
            yield f"  {times / count:6.2f}  {sizes[place] / count:8.1f} B  {place}"
