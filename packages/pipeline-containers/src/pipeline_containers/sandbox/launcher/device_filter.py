"""The devices that a container may use, as a program of the kernel's (eBPF). Pure.

In version 2 of cgroups no file says it: a program that is attached to the cgroup is asked whenever
one of its processes opens a device or makes a device's file. It gets the kind of device, what is
wanted and the numbers, and answers 1 (allowed) or 0. Source: the kernel's `linux/bpf.h`,
`struct bpf_cgroup_dev_ctx`, and `bpf/standardization/instruction-set.rst`.
"""

import struct
from collections.abc import Iterable

from pipeline_containers.sandbox.launcher.device_rules import DeviceRule

_INSTRUCTION = struct.Struct("=BBhi")
_LOAD, _AND, _SHIFT_RIGHT, _COPY, _SET, _JUMP_UNLESS, _EXIT = (
    *(0x61, 0x54, 0x74, 0xBC, 0xB7, 0x55, 0x95),  # words of 32 bits, but for the last three
)
_ANSWER, _GIVEN, _KIND, _ACCESS, _MAJOR, _MINOR, _REST = 0, 1, 2, 3, 4, 5, 6
"""Registers."""
_KINDS = {"b": 1, "c": 2}
_ACCESSES = {"m": 1, "r": 2, "w": 4}
_ALL = sum(_ACCESSES.values())


def device_filter(rules: Iterable[DeviceRule]) -> bytes:
    """Make the instructions that allow what one of the rules does, and forbid the rest."""
    program = [
        _instruction(_LOAD, _KIND, _GIVEN),
        _instruction(_COPY, _ACCESS, _KIND),
        _instruction(_AND, _KIND, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _ACCESS, value=16),
        _instruction(_LOAD, _MAJOR, _GIVEN, offset=4),
        _instruction(_LOAD, _MINOR, _GIVEN, offset=8),
    ]
    for rule in rules:
        steps = _test(rule)
        program += [
            *(
                _instruction(code, register, source, _to_the_next(steps, at, code), value)
                for at, (code, register, source, value) in enumerate(steps)
            ),
            *_answer(1),
        ]
        if not steps:  # nothing comes after: the kernel takes no program with a part never reached
            return b"".join(program)
    return b"".join((*program, *_answer(0)))


def _test(rule: DeviceRule) -> list[tuple[int, int, int, int]]:
    """List the steps that go on to the next rule if this one does not fit."""
    steps = []
    if rule.kind != "a":
        steps.append((_JUMP_UNLESS, _KIND, 0, _KINDS[rule.kind]))
    beyond = _ALL - sum(_ACCESSES[letter] for letter in set(rule.access))
    if beyond:
        steps += [
            (_COPY, _REST, _ACCESS, 0),
            (_AND, _REST, 0, beyond),
            (_JUMP_UNLESS, _REST, 0, 0),
        ]
    for register, number in ((_MAJOR, rule.major), (_MINOR, rule.minor)):
        if number is not None:
            steps.append((_JUMP_UNLESS, register, 0, number))
    return steps


def _to_the_next(steps: list[tuple[int, int, int, int]], at: int, code: int) -> int:
    """Count the instructions from a jump to the next rule: the answer's two are between."""
    return len(steps) - at - 1 + 2 if code == _JUMP_UNLESS else 0


def _answer(value: int) -> tuple[bytes, bytes]:
    return _instruction(_SET, _ANSWER, value=value), _instruction(_EXIT)


def _instruction(
    code: int, register: int = 0, source: int = 0, offset: int = 0, value: int = 0
) -> bytes:
    return _INSTRUCTION.pack(code, register | source << 4, offset, value)
