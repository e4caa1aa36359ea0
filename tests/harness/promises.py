"""What must hold in a `world`, at every step and at rest; and searches for a step after which it does not."""

import random
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from tests.harness import branches
from tests.harness.actions import actions
from tests.harness.world import ALLOWANCE, SECONDS, Process, World, start, swap

Path = tuple[Any, ...]  # (the path before, the last label)


def wrong(world: World) -> str:
    """The first broken promise, or an empty text."""
    book = world.book
    if world.bad:
        return world.bad
    if book.left + book.used + book.held != book.max:
        return "left + used + held != max"
    if book.used < 0:
        return "used < 0"
    if sum(sum(process.truth) for process in world.processes) > world.peak + world.forgiven + world.slack:
        return "overspend"
    in_book = {receipt.key: receipt for lease in book.leases.values() for receipt in lease.receipts}
    if sum(receipt.tokens for receipt in {**world.usage, **in_book}.values()) != book.used:
        return "receipts, put or in the book, do not sum to used"
    if any(_miscounts(world, process) for process in world.processes):
        return "a lease tells another number of requests than hold"
    if not quiet(world):
        return ""
    return next((bad for process in world.processes if (bad := _wrong_at_rest(world, process))), "")


def _miscounts(world: World, process: Process) -> bool:
    state, lease = process.state, world.book.leases.get(process.state.process)
    if state.in_flight or not lease or not state.lease or lease.number != state.lease.number:
        return bool(lease and lease.held and not lease.requests)
    return lease.requests != state.requests.holding


def _wrong_at_rest(world: World, process: Process) -> str:
    name, truth = process.state.process, sum(process.truth)
    charged = sum(receipt.tokens for receipt in world.usage.values() if receipt.process == name)
    charged += process.back + process.forgiven
    if process.away:
        return ""
    if charged < truth and not process.stale:
        return f"at rest: {name} is charged {charged} of {truth}"
    if process.up and charged != truth:
        return f"at rest: {name} lives and is charged {charged}, not {truth}"
    if charged > truth + ALLOWANCE * process.asked:
        return f"at rest: {name} is charged {charged}, more than {truth} and its wills"
    return ""


def quiet(world: World) -> bool:
    """Whether nothing is held, in flight, or still to put."""
    busy = any(p.up and (p.state.in_flight or p.state.requests or _unput(p)) for p in world.processes)
    leases = world.book.leases.values()
    return not busy and all(not x.held and all(r.key in world.usage for r in x.receipts) for x in leases)


def _unput(process: Process) -> bool:
    receipts = process.state.lease.receipts if process.state.lease else ()
    return any(receipt.key not in process.put for receipt in receipts)


def calm(world: World) -> tuple[str, list[str]]:
    """Bring the world to rest without faults: the broken promise, if any, with the steps that led there."""
    path: list[str] = []
    rng, world = random.Random(0), world._replace(faults={})
    for n in range(1500):
        if bad := wrong(world):
            return bad, path
        steps = [step for step in actions(world) if " asks " not in step[0] and " generates " not in step[0]]
        if steps and n % 100 < 99:  # the clock runs too: a full item is waited for until another's lease ends
            label, world = steps[0] if n < 50 else rng.choice(steps)
            path.append(label)
        elif quiet(world) and not world.book.leases:
            return "", path
        else:
            world = world._replace(now=world.now + 2)
    return "stuck: never comes to rest", path[:20]


def search(
    first: World, most: int, calm_every: int = 50, reached: Counter[str] | None = None
) -> tuple[str, list[str], bool]:
    """Breadth first: the broken promise with a shortest trace, and whether the world was searched exhaustively.

    `reached` counts the steps that take a rare branch.
    """
    seen = {repr(first)}
    todo: deque[tuple[World, Path]] = deque([(first, ())])
    while todo:
        world, path = todo.popleft()
        if len(seen) > most:
            return "", [], False
        for label, after in actions(world):
            key = repr(after)
            if key in seen:
                continue
            seen.add(key)
            if reached is not None:
                reached.update(branches.taken(label, world, after))
            bad = wrong(after)
            bad, then = calm(after) if not bad and len(seen) % calm_every == 0 else (bad, [])
            if bad:
                return bad, [*_labels((path, label)), *then], False
            todo.append((after, (path, label)))
    return "", [], True


def _labels(path: Path) -> Iterator[str]:
    if path:
        yield from _labels(path[0])
        yield path[1]


def walk(
    seed: int, steps: int, guards: frozenset[str] | None = None, reached: Counter[str] | None = None
) -> tuple[str, list[str]]:
    """Episodes of three processes with four requests each under many faults, each brought to rest at its end.

    `reached` counts the steps that take a rare branch.
    """
    rng, done = random.Random(seed), 0
    while done < steps:
        world = _random_start(rng)
        world = world._replace(guards=guards) if guards is not None else world
        path = []
        for _ in range(rng.randint(20, 160)):
            choices = list(actions(world))
            if not choices:
                break
            label, after = rng.choice(choices)
            if reached is not None:
                reached.update(branches.taken(label, world, after))
            world = after
            path.append(label)
            done += 1
            if bad := wrong(world):
                return f"seed {seed}: {bad}", path
        bad, then = calm(world)
        if bad:
            return f"seed {seed}: {bad}", path + then
    return "", []


def _random_start(rng: random.Random) -> World:
    fulls = [[rng.randint(1, 6) for _ in range(4)] for _ in range(3)]
    wants = [[(full, rng.randint(1, full)) for full in row] for row in fulls]
    faults = {
        "crash": 2,
        "timeout": 8,
        "tick": 6,
        "over": 2,
        "change": 2,
        "stray": 3,
        "give_up": 2,
        "forget": 2,
    }
    world = start(wants, rng.randint(4, 30), **{kind: rng.randint(0, most) for kind, most in faults.items()})
    for p in range(len(wants)):
        world = swap(world, p, skew=rng.choice([-2 * SECONDS, 0, 2 * SECONDS]))
    return world._replace(most_receipts=rng.choice([1, 3, 99]), wide=rng.choice([0, 1]))
