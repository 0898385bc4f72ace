"""Processes that write, read and drop in one table, and are killed in the middle: what any of them reads is whole, of
its certificate, signed, and not below its floor.

    python -m tests.native.stress SECONDS [SEED]

Prints what happened as JSON; exit code 1 and the fault when something was read that mustn't be.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from responder._native import Floors, Records, SigningProfile, Table
from responder.host.kernel import set_death_signal
from responder.pki import PublicKey, load_public_key
from tests.makers import make_ca, make_test_issuer, make_test_signer
from tests.native.test_native_records import NEXT_UPDATE, THIS_UPDATE, sign_one, status

CERTIFICATES, VERSIONS, SETS = 60, 100, 4
WRITERS, READERS, KEEPER = (1, 2, 3), (4, 5), 6
NOW = THIS_UPDATE * 10**6

# Shared words: the version that was announced for each certificate; then what was counted.
READ, MISSED, TOLD, FAULTS = range(CERTIFICATES, CERTIFICATES + 4)


@dataclass
class World:
    """What all processes have from before they were forked."""

    tag: bytes
    profile: SigningProfile
    key: PublicKey
    records: dict[tuple[int, int], Records]
    table_memory: memoryview
    floors_memory: memoryview
    words: memoryview

    def table(self, owner: int) -> Table:
        return Table(self.table_memory, Floors(self.floors_memory), owner=owner)

    def fault(self, what: str) -> None:
        self.words[FAULTS] += 1
        print(what, file=sys.stderr, flush=True)
        os._exit(1)


def serial(index: int) -> bytes:
    return b"\x40" + bytes([index]) * 15


def some_certificate(chance: random.Random) -> int:
    """Most are of a few, so that readers and writers meet."""
    return chance.randrange(3 if chance.random() < 0.8 else CERTIFICATES)


def make_world() -> World:
    issuer = make_test_issuer("stress", make_ca("ec"))
    signer = make_test_signer(issuer, "ec")
    records = {
        # Of several lengths, so that entries move.
        (index, number): sign_one(signer, status(serial(index), number=number), [1, 2, 3, 4][: 1 + number % 4])
        for index in range(CERTIFICATES)
        for number in range(1, VERSIONS + 1)
    }
    table = memoryview(mmap.mmap(-1, 4096 * (1 + SETS)))
    floors = memoryview(mmap.mmap(-1, 4096 + 32 * 128))
    Table.lay_out(table, os.urandom(96))
    Floors.lay_out(floors, os.urandom(96))
    words = memoryview(mmap.mmap(-1, 4096)).cast("Q")
    spki = signer.key.public_key
    return World(issuer.tag, signer.profile, load_public_key(spki), records, table, floors, words)


def write(world: World, owner: int, chance: random.Random) -> None:
    table = world.table(owner)
    while True:
        index = some_certificate(chance)
        number = min(VERSIONS, max(1, world.words[index] + chance.randint(-3, 3)))
        table.put(world.tag, serial(index), world.records[index, number], NOW)


def read(world: World, owner: int, chance: random.Random) -> None:
    """Of the two readers one verifies what it reads, and one is as fast as it can, to see torn copies."""
    table, verifies = world.table(owner), owner == READERS[0]
    while True:
        index = some_certificate(chance)
        lowest = world.words[index]
        found = table.get(world.tag, serial(index))
        if found is None:
            world.words[MISSED] += 1
            continue
        if found.number < lowest:
            world.fault(f"version {found.number} of certificate {index} after {lowest} was announced")
        if found != world.records.get((index, found.number)):
            world.fault(f"a record of certificate {index} that nobody has put")
        if verifies:
            world.profile.verify(world.key, found, found.variants[-1], serial(index))
        world.words[READ] += 1


def keep(world: World, owner: int, chance: random.Random) -> None:
    """Raise a floor, drop what is below it, and only then tell of it."""
    table, floors = world.table(owner), Floors(world.floors_memory)

    def announce(index: int, number: int) -> None:
        floors.raise_to(world.tag, serial(index), 1, number, NEXT_UPDATE, THIS_UPDATE, NOW)
        while not table.drop(world.tag, serial(index)):
            pass
        world.words[index] = number
        world.words[TOLD] += 1

    for index in range(CERTIFICATES):
        announce(index, world.words[index])
    floors.settle()
    while True:
        index = chance.randrange(CERTIFICATES)
        if world.words[index] < VERSIONS:
            announce(index, world.words[index] + 1)
        time.sleep(0.0005)


def start(world: World, owner: int, seed: int) -> int:
    work: Callable[[World, int, random.Random], None] = read
    if owner in WRITERS:
        work = write
    elif owner == KEEPER:
        work = keep
    parent = os.getpid()
    process = os.fork()
    if process:
        return process
    set_death_signal(parent)
    try:
        work(world, owner, random.Random(seed))
    except BaseException as error:  # what can't be read, or isn't signed
        world.fault(repr(error))
    os._exit(1)


def main(seconds: float, seed: int) -> int:
    chance = random.Random(seed)
    world = make_world()
    table = world.table(99)
    running = {owner: start(world, owner, chance.getrandbits(32)) for owner in (*WRITERS, *READERS, KEEPER)}
    killed = swept = 0
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline and not world.words[FAULTS]:
            time.sleep(chance.uniform(0.001, 0.02))
            owner = chance.choice((*WRITERS, *WRITERS, *READERS, KEEPER))
            os.kill(running[owner], signal.SIGKILL)
            _, how = os.waitpid(running[owner], 0)
            if os.WIFEXITED(how):
                break
            killed += 1
            swept += table.sweep(owner)
            running[owner] = start(world, owner, chance.getrandbits(32))
    finally:
        for process in running.values():
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
    counted = {
        "killed": killed,
        "sets_given_back": swept,
        "read": world.words[READ],
        "missed": world.words[MISSED],
        "floors_raised": world.words[TOLD],
        "faults": world.words[FAULTS],
    }
    print(json.dumps(counted))
    return 1 if world.words[FAULTS] else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()))
