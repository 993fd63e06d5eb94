"""Frames to those that a classic BPF program lets through: the machine of the paper, as an interpreter.

References
----------
McCanne and Jacobson, "The BSD Packet Filter" (1993), section 3.3; pcap-filter(7).
"""

from __future__ import annotations

import numpy as np

from sensor.kernels import INT64S, READONLY_BYTES, Array, inline, kernel, rows
from sensor.schema import Frames

WORDS = 16  # of scratch memory
_FRAMES = rows(Frames.dtype(), readonly=True)
_PROGRAM = Array(np.dtype(np.int64), 2, readonly=True)
_MASK = 0xFFFFFFFF


@inline()
def load(data, start, captured, at, size):
    """Read `size` bytes (1, 2 or 4) of a frame, big-endian; -1 if it has not so many there."""
    if at < 0 or at + size > captured:
        return np.int64(-1)
    value = np.int64(0)
    for byte in range(size):
        value = (value << 8) | np.int64(data[start + at + byte])
    return value


@kernel(_FRAMES, READONLY_BYTES, _PROGRAM, INT64S, INT64S)
def passing(frames, data, program, out_memory, out_at):
    """Find the frames that a program returns more than 0 for.

    Parameters
    ----------
    frames : Frames[F]; data : uint8[:]
    program : int64[I, 4]
        Instructions: code, jt, jf, k. One that is unknown, or a jump out of the program, lets nothing through.
    out_memory : int64[WORDS]
        Scratch; zero at first, and for each frame anew.
    out_at : int64[F]
        Their places among the frames.

    Returns
    -------
    int
        How many there are.
    """
    size = np.int64(data.shape[0])
    length = np.int64(program.shape[0])
    count = 0
    if program.shape[1] != 4 or out_memory.shape[0] < WORDS:
        return 0
    for at_frame in range(min(frames.shape[0], out_at.shape[0])):
        frame = frames[at_frame]
        start = np.int64(frame.at)
        captured = np.int64(frame.captured_bytes)
        if start < 0 or captured < 0 or start + captured > size:
            continue
        for word in range(WORDS):
            out_memory[word] = 0
        accumulator = np.int64(0)
        index = np.int64(0)
        at = np.int64(0)
        answer = np.int64(0)
        # Jumps lead forward only, so a program ends after as many steps as it has instructions.
        while 0 <= at < length:
            code = program[at, 0]
            k = program[at, 3] & _MASK
            kind = code & 7
            operand = index if code & 8 else k
            if kind == 0 or kind == 1:
                mode = code & 0xE0
                width = np.int64(4)
                if code & 0x18 == 0x08:
                    width = np.int64(2)
                elif code & 0x18 == 0x10:
                    width = np.int64(1)
                value = np.int64(-1)
                if mode == 0x00:
                    value = k
                elif mode == 0x20:
                    value = load(data, start, captured, k, width)
                elif mode == 0x40:
                    value = load(data, start, captured, index + k, width)
                elif mode == 0x60:
                    value = out_memory[k] if k < WORDS else np.int64(-1)
                elif mode == 0x80:
                    value = np.int64(frame.wire_bytes)
                elif mode == 0xA0 and kind == 1:
                    value = load(data, start, captured, k, 1)
                    value = (value & 15) * 4 if value >= 0 else np.int64(-1)
                if value < 0:
                    break
                if kind == 0:
                    accumulator = value
                else:
                    index = value
            elif kind == 2 or kind == 3:
                if k >= WORDS:
                    break
                out_memory[k] = accumulator if kind == 2 else index
            elif kind == 4:
                operation = code & 0xF0
                if operation == 0x00:
                    accumulator = accumulator + operand
                elif operation == 0x10:
                    accumulator = accumulator - operand
                elif operation == 0x20:
                    # Two 32-bit numbers may make more than 63 bits: only the lower 32 are kept anyway.
                    low = accumulator * (operand & 0xFFFF)
                    accumulator = low + (((accumulator * (operand >> 16)) & _MASK) << 16)
                elif operation == 0x30:
                    if operand == 0:
                        break
                    accumulator = accumulator // operand
                elif operation == 0x40:
                    accumulator = accumulator | operand
                elif operation == 0x50:
                    accumulator = accumulator & operand
                elif operation == 0x60:
                    accumulator = accumulator << operand if operand < 32 else np.int64(0)
                elif operation == 0x70:
                    accumulator = accumulator >> operand if operand < 32 else np.int64(0)
                elif operation == 0x80:
                    accumulator = -accumulator
                elif operation == 0x90:
                    if operand == 0:
                        break
                    accumulator = accumulator % operand
                elif operation == 0xA0:
                    accumulator = accumulator ^ operand
                else:
                    break
                accumulator &= _MASK
            elif kind == 5:
                operation = code & 0xF0
                if operation == 0x00:
                    at += k
                else:
                    is_met = False
                    if operation == 0x10:
                        is_met = accumulator == operand
                    elif operation == 0x20:
                        is_met = accumulator > operand
                    elif operation == 0x30:
                        is_met = accumulator >= operand
                    elif operation == 0x40:
                        is_met = (accumulator & operand) != 0
                    else:
                        break
                    step = program[at, 1] if is_met else program[at, 2]
                    if step < 0:
                        break
                    at += step
            elif kind == 6:
                answer = accumulator if code & 0x18 == 0x10 else k
                break
            elif code & 0xF8 == 0x00:
                index = accumulator
            elif code & 0xF8 == 0x80:
                accumulator = index
            else:
                break
            at += 1
        if answer > 0:
            out_at[count] = at_frame
            count += 1
    return count
