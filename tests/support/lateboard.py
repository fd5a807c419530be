"""A fake board that is slow, behind a line that is, on a clock of their own: no test waits.

The board's thread runs while the PC reads, until it waits for bytes or for time to pass; then the
clock goes on to what comes next.
"""

from __future__ import annotations

import math
import threading

from fakeboard import FakeBoard


class LateBoard(FakeBoard):
    """A port whose `now` is its clock.

    delay: seconds that bytes are on their way, in each direction. rate: bytes a second. burst:
    what the board says comes all at once, every so many seconds. work: seconds that it takes to
    look at a frame. piece: bytes that arrive together.
    """

    def __init__(self, folder, delay=0.0, rate=math.inf, burst=0.0, work=0.0, piece=64):
        self.now = 0.0
        self.piece = piece
        self.delay, self.rate, self.burst, self.work = delay, rate, burst, work
        self.turn = threading.Condition()
        self.blocked = False  # does the board wait, and until when?
        self.until = math.inf
        self.coming = []  # when, and what: to the board
        self.going = []  # and to the PC
        super().__init__(folder)

    def start(self):
        super().start()

    def run(self):
        answer = self.server._answer

        def slowly(*frame):
            self.sleep(self.work)
            answer(*frame)

        self.server._answer = slowly
        super().run()
        with self.turn:
            self.blocked, self.until = True, math.inf
            self.turn.notify_all()

    def clock(self):
        return self.now

    # The board's end, in its thread

    def wait(self, limit):
        with self.turn:
            until = self.now + limit if limit is not None else math.inf
            while not self.has_input() and self.now < until:
                self.block(until)
            return self.has_input()

    def sleep(self, seconds):
        with self.turn:
            until = self.now + seconds
            while self.now < until and not self.to_board.closed:
                self.block(until, asleep=True)

    def has_input(self):
        return self.to_board.closed or len(self.to_board.bytes) > 0

    def block(self, until, asleep=False):
        self.blocked, self.until, self.asleep = True, until, asleep
        self.turn.notify_all()
        self.turn.wait_for(lambda: not self.blocked)

    def say(self, data):
        with self.turn:
            self.to_pc.write(data)
            self.send(self.going, self.to_pc.read(1 << 20), self.burst)
        return len(data)

    def send(self, queue, data, burst=0.0):
        """Put bytes on their way."""
        for i in range(0, len(data), self.piece):
            piece = data[i : i + self.piece]
            last = queue[-1][0] if queue else 0.0
            at = max(last, self.now + self.delay) + len(piece) / self.rate
            if burst:
                at = max(last, math.ceil(at / burst) * burst)
            queue.append((at, piece))

    # The PC's

    def write(self, data):
        with self.turn:
            self.send(self.coming, bytes(data))

    def read(self, limit):
        with self.turn:
            deadline = self.now + limit
            while True:
                assert self.turn.wait_for(lambda: self.blocked, 10), "the board's thread hangs"
                data = b""
                while self.going and self.going[0][0] <= self.now:
                    data += self.going.pop(0)[1]
                if data:
                    return data
                if self.wakes():
                    self.blocked = False
                    self.turn.notify_all()
                    continue
                times = [queue[0][0] for queue in (self.coming, self.going) if queue]
                times.append(self.until)
                if min(times) > deadline:
                    self.now = max(self.now, deadline)
                    return b""
                self.now = max(self.now, min(times))
                while self.coming and self.coming[0][0] <= self.now:
                    self.to_board.write(self.coming.pop(0)[1])

    def wakes(self):
        """Whether the board has something to do."""
        if not self.thread.is_alive():
            return False
        return self.now >= self.until or self.to_board.closed or (
            not self.asleep and self.has_input()
        )

    def close(self):
        with self.turn:
            self.to_board.close()
            self.blocked = False
            self.turn.notify_all()
        super().close()
